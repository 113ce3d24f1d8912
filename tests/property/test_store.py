"""The embedded store, for any folder: every block of its pin is readable, and the folder comes back whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pin_rooms import REPO, make_resolver, write_folder
from pinformers._errors import BlockNotFound, PinError
from pinformers.ipfs import CHUNK, CID, leaves, read_file, walk_directory
from pinformers.pinning.folder import pin_folder

NAMES = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
CONTENTS = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7]).map(lambda size: (b"pinformers" * size)[:size]),
)


@st.composite
def folders(draw: st.DrawFn) -> dict[str, bytes]:
    kept = {".", "..", ".git", ".cache", "__pycache__"}
    names = NAMES.filter(lambda name: name not in kept and len(name.encode()) < 99)
    paths = draw(st.lists(st.lists(names, min_size=1, max_size=3).map(tuple), min_size=1, max_size=6, unique=True))
    inner = {path[:length] for path in paths for length in range(1, len(path))}
    return {"/".join(path): draw(CONTENTS) for path in paths if path not in inner}


@settings(max_examples=40, deadline=None)
@given(folders())
def test_any_block_of_any_pin_is_readable_and_the_folder_comes_back(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        resolver = make_resolver(Path(name))
        pinned = pin_folder(resolver, write_folder(Path(name) / "folder", files), REPO)
        (store,) = resolver.sources
        found = {path: cid for path, cid, _ in walk_directory(CID.parse(pinned.pin.root), store.block)}
        assert {path: b"".join(read_file(cid, store.block)) for path, cid in found.items()} == files
        for cid in found.values():
            for leaf in leaves(cid, store.block):
                leaf.cid.verify(store.block(leaf.cid))
        elsewhere = resolver.find(REPO, None, cache_dir=str(Path(name) / "elsewhere"))
        assert elsewhere is not None
        assert elsewhere.deliver(list(files))
        assert {path: elsewhere.cache.file(pinned.commit, path).read_bytes() for path in files} == files


@settings(max_examples=25, deadline=None)
@given(folders(), st.data())
def test_a_flipped_bit_is_never_served(files: dict[str, bytes], data: st.DataObject) -> None:
    files = {path: content for path, content in files.items() if content}
    if not files:
        return
    path = data.draw(st.sampled_from(sorted(files)))
    position = data.draw(st.integers(0, len(files[path]) - 1))
    with tempfile.TemporaryDirectory() as name:
        resolver = make_resolver(Path(name))
        pinned = pin_folder(resolver, write_folder(Path(name) / "folder", files), REPO)
        target = pinned.cache.file(pinned.commit, path).resolve()
        content = bytearray(target.read_bytes())
        content[position] ^= 1
        target.write_bytes(content)
        cid = CID.parse(pinned.pin.files[path].cid)
        (store,) = resolver.sources
        try:
            served = b"".join(read_file(cid, store.block))
        except BlockNotFound:
            served = files[path]
        # Another file of the folder may hold the same block, unharmed.
        assert served == files[path]
        assert not pinned.deliver([path])


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    resolver = make_resolver(tmp_path)
    for folder in (tmp_path / "empty", tmp_path / "nothing"):
        try:
            pin_folder(resolver, folder, REPO)
        except PinError as error:
            assert str(folder) in str(error)
        else:
            raise AssertionError("an empty folder was pinned")
