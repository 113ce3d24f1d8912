from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub_stub import HubStub
from ipfs_folder import add_folder
from pin_rooms import FILES, REPO, fill_cache, make_resolver, write_folder
from pinformers._errors import PinError, PinformersError, SourceError
from pinformers.ipfs import CID, UNIXFS_V1_2025, V0_2015, Block, Profile, read_car, write_car
from pinformers.ipfs.dagpb import DIRECTORY_MESSAGE, encode_link, encode_node
from pinformers.pinning.archive import export_model
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.checking import check
from pinformers.pinning.fetching import _FileFetch
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.hub_pins import Wanted, pin_model
from pinformers.pinning.pin import Pin
from pinformers.pinning.references import Reference
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.unpacking import Parcel, import_model

COMMIT = "c" * 40
EVIL = {**FILES, "config.json": b'{"model_type": "evil"}'}
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return car_of_folder(tmp_path_factory.mktemp("car"), FILES)


def car_of_folder(home: Path, files: Mapping[str, bytes]) -> bytes:
    """What a machine exports that pinned ``files`` as REPO."""
    resolver, out = make_resolver(home), io.BytesIO()
    export_model(resolver.catalog, pin_folder(resolver, write_folder(home / "folder", files), REPO), out)
    return out.getvalue()


def as_car(roots: Sequence[CID], blocks: Sequence[Block]) -> bytes:
    out = io.BytesIO()
    write_car(out, roots, blocks)
    return out.getvalue()


def raw(content: bytes) -> Block:
    return Block(CID.raw(hashlib.sha256(content).digest()), content)


def folder_of(entries: Mapping[bytes, Block]) -> Block:
    links = [encode_link(block.cid, name, len(block.data)) for name, block in entries.items()]
    return UNIXFS_V1_2025.node(encode_node(links, DIRECTORY_MESSAGE))


def with_record(car: bytes, change: Change) -> bytes:
    """The CAR with another record."""
    roots, read = read_car(io.BytesIO(car))
    *blocks, record = read
    value = json.loads(record.data)
    change(value)
    new = raw(json.dumps(value).encode())
    return as_car([roots[0], new.cid], [*blocks, new])


def of_hub(commit: str = COMMIT, **more: object) -> Change:
    """Say that the model is a commit of the hub."""
    return lambda value: value.update(origin="hub", commit=commit, **more)


def file(**fields: object) -> Change:
    return lambda value: value["files"]["config.json"].update(fields)


def content(home: Path) -> dict[str, object]:
    """Every file and link below, but for lock files."""
    found = (path for path in home.rglob("*") if path.is_file() or path.is_symlink())
    kept = (path for path in found if path.suffix != ".lock")
    return {str(path): os.readlink(path) if path.is_symlink() else path.read_bytes() for path in kept}


def refuse(home: Path, car: bytes, name: str | None = None) -> str:
    """Import what must be refused in one sentence, and leave all as it is; from a pipe and from a file."""
    resolver, before = make_resolver(home), content(home)
    path = home.parent / f"{home.name}.car"
    path.write_bytes(car)
    with open(path, "rb") as stream:
        for given in (stream, io.BytesIO(car)):
            with pytest.raises((PinformersError, OSError)) as caught:
                import_model(resolver, Parcel("model.car", given, name))
            assert content(home) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def take(home: Path, car: bytes, name: str | None = None) -> Resolver:
    resolver = make_resolver(home)
    import_model(resolver, Parcel("model.car", io.BytesIO(car), name))
    return resolver


def test_a_car_does_not_say_that_a_private_model_is_open_to_all(tmp_path: Path, car: bytes) -> None:
    told = {"private": False, "gated": False, "createdAt": "never"}
    resolver = make_resolver(tmp_path)
    resolver.catalog.add(Pin(REPO, COMMIT, info={"private": True, "gated": "auto"}))
    import_model(resolver, Parcel("model.car", io.BytesIO(with_record(car, of_hub(info=told)))))
    pin = resolver.catalog.pin(REPO, COMMIT)
    assert pin is not None
    assert pin.files.keys() == FILES.keys()
    assert pin.info == {"private": True, "gated": "auto"}


def test_a_card_with_words_of_another_type_makes_no_pin_that_nobody_can_read(tmp_path: Path) -> None:
    car = car_of_folder(tmp_path / "here", {**FILES, "README.md": b"---\ntags: 1\n---\n"})
    assert list(take(tmp_path / "there", car).catalog.pins())


# -- records that lie -----------------------------------------------------------------------------------------

LIES: dict[str, Change] = {
    "a size of nothing": file(size=0, sha256="", hub={}),
    "a negative size": file(size=-1, sha256="", hub={}),
    "another size": file(size=5),
    "a size that no DAG has": file(dag_size=-5),
    "another sha256": file(sha256="0" * 64, hub={}),
    "a blob id that looks like a sha256": file(hub={"blob_id": "0" * 64}),
    "another blob id": file(hub={"blob_id": "0" * 40}),
    "no file": lambda value: value.update(files={}),
    "words of another type": lambda value: value.update(info={"tags": 1}),
    "a file less": lambda value: value["files"].pop("config.json"),
    "a file more": lambda value: value["files"].update(other=value["files"]["config.json"]),
    "a path that leads out": lambda value: value["files"].update({"../evil": value["files"]["config.json"]}),
    "another root": lambda value: value.update(root="bafkqaaa"),
    "a format to come": lambda value: value.update(format=2),
    "a name that is a path": lambda value: value.update(repo="../../x"),
    "a name by content": lambda value: value.update(repo=f"ipfs/{value['root']}"),
    "an origin that its name has not": lambda value: value.update(origin="ipfs"),
    "files that are none": lambda value: value.update(files=[1]),
}


@pytest.mark.parametrize("hub", [False, True], ids=["folder", "hub"])
@pytest.mark.parametrize("lie", LIES)
def test_a_record_is_believed_what_the_blocks_confirm(car: bytes, tmp_path: Path, lie: str, hub: bool) -> None:
    told = with_record(car, of_hub()) if hub else car
    refuse(tmp_path / "home", with_record(told, LIES[lie]))


def test_a_folder_has_the_commit_of_its_root(car: bytes, tmp_path: Path) -> None:
    assert "commit" in refuse(tmp_path / "home", with_record(car, lambda value: value.update(commit=COMMIT)))


# -- what is known already ------------------------------------------------------------------------------------


def test_a_file_that_the_hubs_client_wrote_is_not_replaced(hub: HubStub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    commit = fill_cache(hub, home / "hub")
    evil = with_record(car_of_folder(tmp_path / "evil", EVIL), of_hub(commit))
    assert "config.json" in refuse(home, evil)


@pytest.mark.parametrize("noted_by", ["the hub's client", "a pin"])
def test_what_the_hub_said_of_a_file_goes_before_the_record(tmp_path: Path, noted_by: str) -> None:
    home, resolver = tmp_path / "home", make_resolver(tmp_path / "home")
    listing = make_resolver(tmp_path / "sender")
    said = pin_folder(listing, write_folder(tmp_path / "good"), REPO).pin.listing
    assert said is not None
    if noted_by == "a pin":
        resolver.catalog.add(Pin(REPO, COMMIT, others=said))
    else:
        assert RepoCache(resolver.default_cache, REPO).add_tree(COMMIT, said)
    evil = with_record(car_of_folder(tmp_path / "evil", EVIL), file(hub={}))
    assert "config.json" in refuse(home, with_record(evil, of_hub()))
    big = car_of_folder(tmp_path / "big", {**FILES, "model.safetensors": b"other"})
    assert "model.safetensors" in refuse(home, with_record(big, of_hub()))


def test_what_the_hubs_client_wrote_is_adopted_where_it_is_right(hub: HubStub, car: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    commit = fill_cache(hub, home / "hub")
    before = content(home / "hub")
    resolver = take(home, with_record(car, of_hub(commit)))
    # Before 2.4 huggingface_hub kept no listing: that is then all that comes with the record.
    assert {path: found for path, found in content(home / "hub").items() if "/trees/" not in path} == {
        path: found for path, found in before.items() if "/trees/" not in path
    }
    pinned = resolver.find(REPO, "main")
    assert pinned is not None and all(pinned.state(path) == "here" for path in FILES)


def test_a_pin_of_other_bytes_and_a_listing_without_the_file_refuse(car: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(home, with_record(car, of_hub()))
    evil = with_record(car_of_folder(tmp_path / "evil", EVIL), of_hub())
    assert "config.json is pinned with other bytes" in refuse(home, evil)
    more = with_record(car_of_folder(tmp_path / "more", {**FILES, "more.json": b"{}"}), of_hub())
    assert "more.json" in refuse(home, more)


def test_a_spoiled_file_of_a_pin_is_mended(car: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    resolver = take(home, with_record(car, of_hub()))
    pinned = resolver.find(REPO, "main")
    assert pinned is not None
    pinned.cache.file(COMMIT, "config.json").write_bytes(b"spoiled")
    take(home, with_record(car, of_hub()))
    assert {finding.state for finding in check(resolver.catalog, pinned.pin)} == {"good"}


def test_a_pin_that_is_removed_while_it_is_imported_is_no_half_model(car: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    hasty = Catalog(home / "pinformers", lock_timeout=0)

    def progress(_: int) -> None:
        for pin in hasty.pins():
            remove_pin(hasty, pin, lock_timeout=0)

    resolver = make_resolver(home)
    with pytest.raises(PinError, match="it was removed while it was being pinned"):
        import_model(resolver, Parcel("model.car", io.BytesIO(car)), progress)
    assert not list(resolver.catalog.pins())
    assert not [path for path in (home / "hub").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_who_removes_a_pin_waits_until_it_is_imported(car: bytes, tmp_path: Path) -> None:
    home, held = tmp_path / "home", []
    other = Catalog(home / "pinformers", lock_timeout=0)

    def progress(_: int) -> None:
        for pin in other.pins():
            with other.alone(pin) as alone:
                held.append(alone)

    import_model(make_resolver(home), Parcel("model.car", io.BytesIO(car)), progress)
    assert held and not any(held)


def test_an_import_under_locked_asks_nobody_but_the_car(
    car: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("pinformers.pinning.resolver.download_file", lambda _, path, __: asked.append(path))
    monkeypatch.setattr(_FileFetch, "write", refuses_to_write)
    resolver = make_resolver(tmp_path / "home", locked=True)
    with pytest.raises(PinError, match="no source delivered it"):
        import_model(resolver, Parcel("model.car", io.BytesIO(with_record(car, of_hub()))))
    assert asked == []


def refuses_to_write(*_: object) -> None:
    raise SourceError("model.car", "it cannot be read")


def test_an_import_of_what_is_here_writes_nothing(car: bytes, tmp_path: Path) -> None:
    def looks() -> dict[Path, tuple[int, int]]:
        # filelock writes into a lock file, some versions at each turn.
        files = (path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in files}

    take(tmp_path, car)
    before = looks()
    take(tmp_path, car)
    assert looks() == before


def test_a_hub_pin_arrives_as_the_hubs_client_would_have_left_it(hub: HubStub, tmp_path: Path) -> None:
    sender, out = make_resolver(tmp_path / "sender"), io.BytesIO()
    fill_cache(hub, tmp_path / "sender" / "hub")
    pin_model(sender, Wanted(REPO), lambda _: lambda _: None)
    pinned = sender.find(REPO, "main")
    assert pinned is not None
    export_model(sender.catalog, pinned, out)
    receiver = take(tmp_path / "receiver", out.getvalue())
    assert receiver.catalog.pin(REPO, pinned.commit) == pinned.pin
    folder = "hub/models--org--model"
    found = [content(tmp_path / home / folder) for home in ("sender", "receiver")]
    assert {key.replace("sender", "receiver"): value for key, value in found[0].items()} == found[1]


def test_a_pin_by_content_travels_with_its_layout(tmp_path: Path) -> None:
    blocks: dict[CID, bytes] = {}
    root = add_folder(write_folder(tmp_path / "folder"), blocks, V0_2015)
    sender, out = make_resolver(tmp_path / "sender"), io.BytesIO()
    foreign = [Block(cid, block) for cid, block in blocks.items()]
    reference = Reference.parse(f"ipfs://{root}")
    assert reference is not None
    sender.references._sources = [Shelf(foreign)]
    pin = sender.references.pin(reference)
    pinned = sender.bind(pin, "main", [Shelf(foreign)])
    assert pinned.deliver([*FILES])
    export_model(sender.catalog, pinned, out)
    receiver = take(tmp_path / "receiver", out.getvalue())
    found = receiver.find(f"ipfs://{root}", None)
    assert found is not None and found.pin.root == str(root)
    assert {path: found.cache.file(found.commit, path).read_bytes() for path in FILES} == dict(FILES)
    again = io.BytesIO()
    export_model(receiver.catalog, found, again)
    assert [block.cid for block in read_car(io.BytesIO(again.getvalue()))[1]][:-1] == [
        block.cid for block in read_car(io.BytesIO(out.getvalue()))[1]
    ][:-1]


class Shelf:
    """A source out of blocks."""

    name, local = "shelf", True

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = {block.cid: block.data for block in blocks}

    def block(self, cid: CID) -> bytes:
        return self._blocks[cid]


# -- all or nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["new", "partly pinned"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=["ctrl-c", "full"])
@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "foreign"])
def test_a_failure_at_any_leaf_leaves_what_was_there(
    car: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, known: bool, foreign: bool
) -> None:
    home, name = tmp_path / "home", None
    told = with_record(car, of_hub())
    if known:
        part = car_of_folder(tmp_path / "part", {"config.json": FILES["config.json"]})
        take(home, with_record(part, of_hub(listed=False)))
    if foreign:
        blocks: dict[CID, bytes] = {}
        root = add_folder(write_folder(tmp_path / "folder"), blocks, Profile(chunk=1 << 18, width=8))
        told, name = as_car([root], [Block(cid, block) for cid, block in blocks.items()]), REPO
    before, write = content(home), _FileFetch._take
    # One leaf each of config.json and vocab.txt, three of the weights.
    for last in range(4):
        left = iter(range(last))

        def fails(self: _FileFetch, piece: bytes, left: Any = left) -> None:
            if next(left, None) is None:
                raise problem
            write(self, piece)

        with monkeypatch.context() as patch:
            patch.setattr(_FileFetch, "_take", fails)
            with pytest.raises((PinformersError, KeyboardInterrupt)):
                take(home, told, name)
        assert content(home) == before
    resolver = take(home, told, name)
    assert {finding.state for pin in resolver.catalog.pins() for finding in check(resolver.catalog, pin)} == {"good"}


def test_a_small_car_of_a_huge_file_is_refused_before_it_is_unfolded(tmp_path: Path) -> None:
    node, size = raw(bytes(1 << 20)), 1 << 20
    blocks = [node]
    for _ in range(4):
        parts = encode_node([encode_link(node.cid, b"", size)] * 1000, message([size] * 1000))
        node, size = UNIXFS_V1_2025.node(parts), size * 1000
        blocks.append(node)
    top = folder_of({b"config.json": node})
    assert "make room first" in refuse(tmp_path / "home", as_car([top.cid], [*blocks, top]), REPO)


def message(sizes: Sequence[int]) -> bytes:
    def varint(number: int) -> bytes:
        return bytes((number & 127 | 128,)) + varint(number >> 7) if number > 127 else bytes((number,))

    return b"\x08\x02\x18" + varint(sum(sizes)) + b"".join(b"\x20" + varint(size) for size in sizes)


# -- CARs of others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"../../x", b"a\\b", b"a\0b", b"x" * 300, b"\xff"])
def test_a_name_that_leads_out_or_that_no_file_can_have(tmp_path: Path, name: bytes) -> None:
    good, bad = raw(b"{}"), raw(b"bad")
    flat = folder_of({b"config.json": good, name: bad})
    refuse(tmp_path / "flat", as_car([flat.cid], [flat, good, bad]), REPO)
    below = folder_of({name: bad})
    deep = folder_of({b"config.json": good, b"sub": below})
    refuse(tmp_path / "deep", as_car([deep.cid], [deep, below, good, bad]), REPO)


def test_a_folder_without_files_is_no_model(tmp_path: Path) -> None:
    empty = folder_of({})
    top = folder_of({b"empty": empty})
    git = folder_of({b".git": folder_of({b"config": raw(b"x")})})
    cars = [[empty], [top, empty], [git, folder_of({b"config": raw(b"x")}), raw(b"x")]]
    for number, blocks in enumerate(cars):
        assert "holds no file" in refuse(tmp_path / str(number), as_car([blocks[0].cid], blocks), REPO)


def test_a_name_by_content_is_not_free_to_choose(car: bytes, tmp_path: Path) -> None:
    roots, blocks = read_car(io.BytesIO(car))
    refuse(tmp_path / "home", as_car(roots[:1], list(blocks)), f"ipfs/{roots[0]}")


@pytest.mark.parametrize(
    "profile", [UNIXFS_V1_2025, V0_2015, Profile(chunk=1000, width=5)], ids=["ours", "v0", "small blocks"]
)
def test_a_folder_of_others_is_pinned_as_if_from_a_disk(tmp_path: Path, profile: Profile) -> None:
    files = {
        **FILES,
        "README.md": b"---\nlibrary_name: transformers\n---\n",
        ".git/config": b"x",
        "twice.bin": b"a" * 9,
    }
    folder, blocks = write_folder(tmp_path / "folder", files), dict[CID, bytes]()
    root = add_folder(folder, blocks, profile)
    here = make_resolver(tmp_path / "here")
    pinned = pin_folder(here, folder, REPO)
    there = take(tmp_path / "there", as_car([root], [Block(cid, block) for cid, block in blocks.items()]), REPO)
    found = there.find(REPO, "main")
    assert found is not None
    assert (found.pin.files, found.commit, found.info) == (pinned.pin.files, pinned.commit, pinned.info)
    assert {finding.state for finding in check(there.catalog, found.pin)} == {"good"}
    out = [io.BytesIO(), io.BytesIO()]
    export_model(here.catalog, pinned, out[0])
    export_model(there.catalog, found, out[1])
    first, second = ([*read_car(io.BytesIO(stream.getvalue()))[1]][:-1] for stream in out)
    assert first == second


def test_a_car_of_version_2_is_read_and_one_that_is_cut_short_is_not(car: bytes, tmp_path: Path) -> None:
    start = 51 + 7
    head = b"\x0a\xa1\x67version\x02" + bytes(16) + start.to_bytes(8, "little") + len(car).to_bytes(8, "little")
    second = head + bytes(8) + bytes(7) + car + b"an index"
    assert take(tmp_path / "home", second).find(REPO, "main") is not None
    refuse(tmp_path / "cut", second[: start + len(car) - 3])
