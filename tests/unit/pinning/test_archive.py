from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipfs_data import MemoryStore
from pin_rooms import FILES, REPO, make_resolver, tree, write_folder
from pinformers._errors import PinError, PinformersError
from pinformers.ipfs import CID, V0_2015, Block, read_car, write_car
from pinformers.pinning import unpacking
from pinformers.pinning.archive import export_model, written_aside
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.records import aside
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.unpacking import Imported, Parcel, import_model

MODEL = {**FILES, "sub/ünïcode name.bin": random.Random(1).randbytes((2 << 20) + 9)}
SMALL = {"config.json": b"{}", "empty": b"", "sub/a.txt": b"abc" * 50}


class Sender:
    """A pinned model, and its CAR."""

    def __init__(self, home: Path, files: dict[str, bytes]) -> None:
        self.resolver: Resolver = make_resolver(home)
        self.pinned: PinnedRepo = pin_folder(self.resolver, write_folder(home / "folder", files), REPO)
        self.car = self.export()

    def export(self) -> bytes:
        out = io.BytesIO()
        assert export_model(self.resolver.catalog, self.pinned, out) == len(out.getvalue())
        return out.getvalue()


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Sender:
    return Sender(tmp_path_factory.mktemp("sender"), dict(MODEL))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sender:
    return Sender(tmp_path_factory.mktemp("small"), dict(SMALL))


def take(resolver: Resolver, car: bytes, name: str | None = None) -> Imported:
    return import_model(resolver, Parcel("model.car", io.BytesIO(car), name))


def kept(home: Path) -> set[str]:
    """What an import left: every file below, but for lock files and empty folders."""
    found = (path for path in home.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(home).as_posix() for path in found if "lock" not in path.as_posix()}


@pytest.mark.parametrize("piped", [False, True])
def test_there_and_back(sender: Sender, tmp_path: Path, piped: bool) -> None:
    resolver, car = make_resolver(tmp_path), tmp_path / "model.car"
    car.write_bytes(sender.car)
    with open(car, "rb") as stream:
        given = io.BytesIO(stream.read()) if piped else stream
        imported = import_model(resolver, Parcel("model.car", given))
    assert not imported.foreign
    assert imported.pinned.pin.files == sender.pinned.pin.files
    assert (imported.pinned.commit, str(imported.root)) == (sender.pinned.commit, sender.pinned.pin.root)
    ref = resolver.catalog.ref(REPO, "main")
    assert ref is not None and ref[0] == sender.pinned.commit
    for path, content in MODEL.items():
        assert imported.pinned.cache.file(imported.pinned.commit, path).read_bytes() == content
    assert all(imported.pinned.state(path) == "here" for path in MODEL)


def test_the_second_import_writes_nothing_twice(sender: Sender, tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    take(resolver, sender.car)
    before = tree(tmp_path / "hub" / "models--org--model" / "blobs")
    take(resolver, sender.car)
    assert tree(tmp_path / "hub" / "models--org--model" / "blobs") == before


def test_the_order_of_a_car(sender: Sender) -> None:
    roots, blocks = read_car(io.BytesIO(sender.car))
    cids = [block.cid for block in blocks]
    assert str(roots[0]) == sender.pinned.pin.root
    assert (cids[0], cids[-1]) == (roots[0], roots[1])
    assert len(cids) == len(set(cids))


def test_blocks_in_any_order_doubled_and_others_among_them(sender: Sender, tmp_path: Path) -> None:
    roots, read = read_car(io.BytesIO(sender.car))
    blocks = [*read]
    other = Block(CID.raw(hashlib.sha256(b"other").digest()), b"other")
    shuffled = [*blocks, other, *blocks[:3]]
    random.Random(2).shuffle(shuffled)
    out = io.BytesIO()
    write_car(out, roots, shuffled)
    assert take(make_resolver(tmp_path), out.getvalue()).pinned.pin.files == sender.pinned.pin.files


@pytest.mark.parametrize("profile", [V0_2015, None])
def test_a_car_of_others_wants_a_name_and_gets_our_cids(profile: object, tmp_path: Path) -> None:
    store = MemoryStore()
    folder = store.add_folder(MODEL, V0_2015) if profile else store.add_folder(MODEL)
    blocks = [Block(CID.dag_pb(block.cid.digest), block.data) for block in store.everything()]
    car = io.BytesIO()
    write_car(car, [folder.cid], blocks)
    resolver = make_resolver(tmp_path)
    with pytest.raises(PinError, match="--as org/model"):
        take(resolver, car.getvalue())
    assert not kept(tmp_path)
    imported = take(resolver, car.getvalue(), REPO)
    assert imported.foreign and imported.root == folder.cid
    assert {path: imported.pinned.cache.file(imported.pinned.commit, path).read_bytes() for path in MODEL} == MODEL
    assert (imported.pinned.pin.root == str(folder.cid)) == (profile is None)


def _bad(small: Sender) -> Iterator[tuple[str, bytes]]:
    roots, read = read_car(io.BytesIO(small.car))
    blocks = list(read)

    def car(roots: list[CID], blocks: list[Block]) -> bytes:
        out = io.BytesIO()
        write_car(out, roots, blocks)
        return out.getvalue()

    yield "nothing", b""
    yield "a zip", b"PK\x03\x04" + bytes(200)
    yield "a web page", b"<!doctype html><html></html>"
    yield "safetensors", (64).to_bytes(8, "little") + b'{"a":{}}' + bytes(56)
    yield "no root", car([], blocks)
    yield "three roots", car([roots[0]] * 3, blocks)
    yield "a file for a root", car([blocks[-2].cid], blocks)
    yield "two model roots", car([roots[0], roots[0]], blocks)
    yield "a record of another model", car([blocks[1].cid, roots[1]], blocks)
    for number, block in enumerate(blocks):
        if block.data:
            yield f"without block {number}", car(list(roots), [*blocks[:number], *blocks[number + 1 :]])


def test_what_is_no_model_is_refused_in_one_sentence_and_leaves_nothing(small: Sender, tmp_path: Path) -> None:
    for number, (what, car) in enumerate(_bad(small)):
        home = tmp_path / str(number)
        with pytest.raises(PinError) as caught:
            take(make_resolver(home), car, None if len(car) > 300 else REPO)
        assert "\n" not in str(caught.value), what
        assert not kept(home), what


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True), flip=st.booleans(), bit=st.integers(0, 7))
def test_a_car_that_is_cut_or_has_a_flipped_bit(
    small: Sender, tmp_path_factory: pytest.TempPathFactory, cut: float, flip: bool, bit: int
) -> None:
    at, home = int(cut * len(small.car)), tmp_path_factory.mktemp("cut")
    car = bytearray(small.car) if flip else small.car[:at]
    if flip:
        car[at] ^= 1 << bit  # type: ignore[index]
    try:
        take(make_resolver(home), bytes(car))
    except PinformersError as exc:
        assert "\n" not in str(exc)
        assert not kept(home)
    else:
        # A bit that nothing hangs on: the CID version of a root, say. Then the model is here, and right.
        assert flip


def test_a_full_disk_and_ctrl_c_leave_what_was_there(
    sender: Sender, small: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = make_resolver(tmp_path)
    take(resolver, small.car)
    before, place = kept(tmp_path), unpacking._place
    for problem in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        left = iter([True] * 3)

        def fails(*args: object, problem: BaseException = problem, left: Iterator[bool] = left) -> None:
            if not next(left, False):
                raise problem
            place(*args)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(unpacking, "_place", fails)
            with pytest.raises(type(problem)):
                take(resolver, sender.car)
        assert kept(tmp_path) == before
    assert take(resolver, sender.car).pinned.pin.files == sender.pinned.pin.files


def test_a_changed_or_missing_file_is_not_exported_and_nothing_is_left(tmp_path: Path) -> None:
    room = Sender(tmp_path, dict(SMALL))
    target = room.pinned.cache.file(room.pinned.commit, "sub/a.txt").resolve()
    out = tmp_path / "model.car"
    for spoil in (lambda: target.write_bytes(b"x" * 150), target.unlink):
        spoil()
        with (
            pytest.raises(PinError, match=r"verify --repair|pinformers pin org/model. brings it"),
            written_aside(out) as stream,
        ):
            export_model(room.resolver.catalog, room.pinned, stream)
        assert [path.name for path in tmp_path.iterdir() if "car" in path.name] == []


def test_an_export_replaces_a_file_when_it_is_complete(small: Sender, tmp_path: Path) -> None:
    out = tmp_path / "model.car"
    out.write_bytes(b"old")
    with pytest.raises(RuntimeError), written_aside(out) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert (out.read_bytes(), os.listdir(tmp_path)) == (b"old", ["model.car"])
    with written_aside(out) as stream:
        export_model(small.resolver.catalog, small.pinned, stream)
    assert out.read_bytes() == small.car


@pytest.mark.skipif(os.name == "nt", reason="needs pipes with names")
def test_into_what_is_no_file_it_is_written_as_it_is(small: Sender, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with written_aside(pipe) as stream:
        export_model(small.resolver.catalog, small.pinned, stream)
    reader.join(30)
    assert (got, os.listdir(tmp_path)) == ([small.car], ["pipe"])
    assert pipe.is_fifo()
    main, terminal = os.openpty()
    try:
        with pytest.raises(PinError, match="a terminal shows no CAR file"), written_aside(Path(os.ttyname(terminal))):
            pass
    finally:
        os.close(main)
        os.close(terminal)


def test_what_a_killed_export_left_goes_with_the_next_one_to_that_file(tmp_path: Path) -> None:
    out = tmp_path / "model.car"
    old, young, others = aside(out), aside(out), tmp_path / ".model.car.backup.staging"
    for path in (old, young, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (1, 1))
    with written_aside(out) as stream:
        stream.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {out.name, young.name, others.name}


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, written_aside(tmp_path / "model.car"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "model.car")
