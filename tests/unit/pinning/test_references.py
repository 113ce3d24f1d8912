"""References to what others added: every layout, sub-paths, single files, names by key, and what is refused."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipfs_folder import Blocks, add_file, add_folder
from pin_rooms import MemorySource, make_resolver, write_folder
from pinformers._errors import BlockNotFound, NotLocked, PinError, SourceUnavailable
from pinformers.ipfs import CID, UNIXFS_V1_2025, V0_2015, Profile, build_directory, hash_file
from pinformers.ipfs.dagpb import DIRECTORY_MESSAGE, encode_link, encode_node, file_message
from pinformers.ipfs.unixfs import Entry
from pinformers.pinning.adoption import folder_nodes
from pinformers.pinning.checking import check, repair
from pinformers.pinning.lockfile import Lock
from pinformers.pinning.lookup import Lookup
from pinformers.pinning.pin import Pin, commit_of
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.references import Reference, References, repo_name
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.reporting import explanation, summary
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.sweeping import find_garbage
from pinformers.sources.base import Source

FILES = {
    "README.md": b"---\npipeline_tag: fill-mask\n---\n# A model\n",
    "config.json": b'{"model_type": "bert"}',
    "empty.txt": b"",
    "model.safetensors": bytes(range(256)) * 9000,
    "onnx/model.onnx": bytes(reversed(range(256))) * 2000,
}
# Kubo's defaults before 0.40, ours, and what somebody chose.
PROFILES = {
    "v0": V0_2015,
    "v1": UNIXFS_V1_2025,
    "v1, small chunks": Profile(chunk=100_000, width=4),
    "v1, wrapped leaves": Profile(chunk=100_000, width=4, raw_leaves=False),
}
V0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
V1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"


class Room:
    """A resolver, the blocks of a folder that somebody added, and the one source that has them."""

    def __init__(self, folder: Path, profile: Profile = V0_2015) -> None:
        self.folder, self.blocks = folder, Blocks()
        self.root = add_folder(write_folder(folder / "model", FILES), self.blocks, profile)
        self.source = MemorySource(self.blocks)
        self.resolver = self.opened(self.source)

    def opened(self, *sources: MemorySource) -> Resolver:
        resolver = make_resolver(self.folder, sources=("embedded",))
        assert isinstance(resolver.sources, list)
        resolver.sources.extend(sources)
        return resolver

    def refer(self, text: str = "", paths: Sequence[str] = (), resolver: Resolver | None = None) -> PinnedRepo:
        found = (resolver or self.resolver).refer(text or f"ipfs://{self.root}", None, paths)
        assert found is not None
        return found


@pytest.fixture(params=PROFILES)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    return Room(tmp_path, PROFILES[request.param])


@pytest.fixture
def v0(tmp_path: Path) -> Room:
    return Room(tmp_path)


def bytes_of(pinned: PinnedRepo) -> dict[str, bytes]:
    assert pinned.deliver(sorted(pinned.pin.files))
    return {path: pinned.cache.file(pinned.commit, path).read_bytes() for path in pinned.pin.files}


# -- what a reference is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scheme", "name", "path"),
    [
        (f"ipfs://{V0}", "ipfs", V0, ""),
        (f"ipfs://{V1}/", "ipfs", V1, ""),
        (f"ipfs://{V1}/a/b", "ipfs", V1, "a/b"),
        (f"/ipfs/{V0}", "ipfs", V0, ""),
        (f"/ipfs/{V0}/sub", "ipfs", V0, "sub"),
        (f"ipfs/{V1}", "ipfs", V1, ""),
        (f"ipfs/{V1}/sub", "ipfs", V1, "sub"),
        ("ipns://k51qzi5uqu5d", "ipns", "k51qzi5uqu5d", ""),
        ("/ipns/k51qzi5uqu5d/sub", "ipns", "k51qzi5uqu5d", "sub"),
    ],
)
def test_the_ways_to_write_one(text: str, scheme: str, name: str, path: str) -> None:
    assert Reference.parse(text) == Reference(text, scheme, name, path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["org/model", "bert", "ipfs/model", "/ipfs/models/bert", "./ipfs", f"ipns/{V1}", V1, "", "https://a/b"]
)
def test_what_is_none(text: str) -> None:
    assert Reference.parse(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ipfs://nonsense", "'nonsense' is not a CID"),
        ("ipfs://", "is not a CID"),
        (f"ipfs://{V1}/../x", "not a relative path"),
        ("ipns://docs.ipfs.tech", "DNSLink"),
        ("/ipns/docs.ipfs.tech/a", "DNSLink"),
        ("ipns://", "no IPNS name"),
    ],
)
def test_what_was_meant_as_one_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(PinError, match=says) as caught:
        Reference.parse(text)
    assert isinstance(caught.value, OSError)
    assert "\n" not in str(caught.value)


# -- loading --------------------------------------------------------------------------------------------------


def test_a_folder_of_any_layout_arrives_byte_for_byte(room: Room) -> None:
    pinned = room.refer()
    assert bytes_of(pinned) == FILES
    assert pinned.repo == repo_name(room.root)
    assert pinned.commit == commit_of(room.root) == room.root.digest.hex()[:40]
    assert (pinned.pin.origin, pinned.pin.root) == ("ipfs", str(room.root))
    recorded = room.resolver.catalog.pin(pinned.repo, pinned.commit)
    assert recorded is not None
    assert {path: file.sha256 for path, file in recorded.files.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()
    }


def test_all_ways_to_write_it_are_one_pin(v0: Room) -> None:
    texts = [form.format(cid) for form in ("ipfs://{}", "/ipfs/{}", "ipfs/{}") for cid in (v0.root, _v1(v0.root))]
    assert len({v0.refer(text).repo for text in texts}) == 1
    assert len(list(v0.resolver.catalog.pins())) == 1


def test_it_holds_what_its_cid_holds_and_the_hub_is_never_asked(room: Room) -> None:
    pinned = room.refer()
    assert pinned.has("config.json") is True
    assert pinned.has("generation_config.json") is False
    assert pinned.deliver(["generation_config.json"])
    assert not pinned.hub_allowed
    assert sorted(pinned.listing or ()) == sorted(FILES)


def test_only_what_is_asked_for_is_fetched(v0: Room) -> None:
    v0.refer().deliver(["config.json"])
    model = hash_file(v0.folder / "model" / "model.safetensors").size
    fetched = sum(len(v0.blocks[cid]) for cid in set(v0.source.blocks) if _was_kept(v0, cid))
    assert fetched < model
    assert not v0.refer().cache.file(commit_of(v0.root), "model.safetensors").exists()


def test_a_second_process_asks_nobody(room: Room) -> None:
    assert bytes_of(room.refer()) == FILES
    again = room.opened()
    assert bytes_of(room.refer(resolver=again)) == FILES
    other = MemorySource({})
    bytes_of(room.refer(resolver=room.opened(other)))
    assert other.asked == 0


def test_the_embedded_store_serves_all_of_it_further(room: Room, tmp_path: Path) -> None:
    bytes_of(room.refer())
    store = room.resolver.sources[0]
    for cid, block in room.blocks.items():
        assert store.block(cid) == block
    receiver = make_resolver(tmp_path / "other", sources=("embedded",))
    assert isinstance(receiver.sources, list)
    receiver.sources.append(store)
    assert bytes_of(room.refer(resolver=receiver)) == FILES


def test_a_file_that_changed_is_not_served_to_anybody(room: Room) -> None:
    pinned = room.refer()
    bytes_of(pinned)
    blob = pinned.cache.file(pinned.commit, "model.safetensors").resolve()
    stat = blob.stat()
    with open(blob, "r+b") as out:
        out.seek(-4, os.SEEK_END)
        out.write(b"XXXX")
    os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    store = room.opened().sources[0]
    refused = {cid for cid in room.blocks if _served(store, cid) is None}
    assert len(refused) == 1
    assert all(_served(store, cid) == block for cid, block in room.blocks.items() if cid not in refused)


def test_threads_that_load_at_once_make_one_pin(v0: Room) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: bytes_of(v0.refer()), range(8)))
    assert found == [FILES] * 8
    assert len(list(v0.resolver.catalog.pins())) == 1


def test_a_folder_with_hundreds_of_entries_in_shards(tmp_path: Path) -> None:
    room = Room(tmp_path)
    dag = hash_file(tmp_path / "model" / "config.json")
    names = [f"a-file-with-quite-a-long-name-{number:05}" for number in range(5000)]
    folder = build_directory(dict.fromkeys(names, Entry(dag.cid, dag.size, dag.dag_size)))
    assert len(folder.nodes) > 1
    room.source.blocks |= {node.cid: node.data for node in folder.nodes}
    pinned = room.refer(f"ipfs://{folder.cid}")
    assert sorted(pinned.pin.files) == names
    assert {block.cid for block in folder_nodes(room.resolver.catalog, pinned.pin)} == {
        node.cid for node in folder.nodes
    }


def test_a_link_without_a_size_is_looked_up(v0: Room) -> None:
    content = b'{"model_type": "gpt2"}'
    leaf, _ = add_file(content, v0.source.blocks, UNIXFS_V1_2025)
    node = UNIXFS_V1_2025.node(encode_node([encode_link(leaf, b"config.json", 0)], DIRECTORY_MESSAGE))
    v0.source.blocks[node.cid] = node.data
    assert bytes_of(v0.refer(f"ipfs://{node.cid}")) == {"config.json": content}


def test_a_revision_beside_a_cid_is_refused(v0: Room) -> None:
    text = f"ipfs://{v0.root}"
    for revision in ("v1", "a" * 40):
        with pytest.raises(PinError, match=f"{text}: it has no revisions; leave out revision='{revision}'"):
            v0.resolver.refer(text, revision)
        # What no CID can be asked for is refused before anybody is asked.
        assert (v0.source.asked == 0) == (revision == "v1")
    for revision in (None, "main", commit_of(v0.root)):
        assert v0.resolver.refer(text, revision) is not None
    assert v0.resolver.refer("org/model", "v1") is None


def test_a_source_that_stalls_for_one_model_holds_up_no_other(v0: Room, tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()
    other = Room(tmp_path / "other", UNIXFS_V1_2025)

    class Stalls(MemorySource):
        def block(self, cid: CID) -> bytes:
            if cid == other.root:
                asked.set()
                release.wait(20)
            return super().block(cid)

    resolver = v0.opened(Stalls({**v0.blocks, **other.blocks}))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(resolver.refer, f"ipfs://{other.root}", None)
        assert asked.wait(20)
        assert resolver.refer(f"ipfs://{v0.root}", None) is not None
        assert not waiting.done()
        release.set()
        assert waiting.result(20) is not None


def test_folders_that_hold_the_same_folder_twice_are_asked_for_once(tmp_path: Path) -> None:
    blocks = Blocks()
    cid, size = add_file(b"x", blocks)
    for _ in range(10):
        node = UNIXFS_V1_2025.node(
            encode_node([encode_link(cid, name, size) for name in (b"a", b"b")], DIRECTORY_MESSAGE)
        )
        cid, size = node.cid, 2 * size + len(node.data)
        blocks[cid] = node.data
    source = MemorySource(blocks)
    resolver = make_resolver(tmp_path)
    resolver.references = References(resolver.catalog, [source], resolver.ledger)
    found = resolver.refer(f"ipfs://{cid}", None)
    assert found is not None and len(found.pin.files) == 1024
    assert source.asked == 10


def test_a_file_that_unfolds_to_more_than_the_disk_has_is_refused_before_a_byte(tmp_path: Path) -> None:
    blocks = Blocks()
    cid, size = add_file(bytes(1 << 20), blocks)
    whole = 1 << 20
    for _ in range(4):
        node = UNIXFS_V1_2025.node(encode_node([encode_link(cid, b"", size)] * 1000, file_message([whole] * 1000)))
        cid, whole = node.cid, 1000 * whole
        blocks[cid] = node.data
    folder = UNIXFS_V1_2025.node(encode_node([encode_link(cid, b"model.safetensors", size)], DIRECTORY_MESSAGE))
    blocks[folder.cid] = folder.data
    resolver = make_resolver(tmp_path)
    source = MemorySource(blocks)
    resolver.references, resolver.sources = References(resolver.catalog, [source], resolver.ledger), [source]
    found = resolver.refer(f"ipfs://{folder.cid}", None)
    assert found is not None
    with pytest.raises(PinError, match="make room first"):
        found.deliver(["model.safetensors"])
    assert source.asked < 10
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


def test_locked_refuses_it_unless_a_locked_model_has_every_file_of_it(v0: Room) -> None:
    here = v0.refer().pin
    whole = here._replace(repo="org/model")
    half = whole._replace(files=dict(list(here.files.items())[1:]))
    for locks, allowed in ((), False), ((half,), False), ((half, whole), True):
        lock = Lock({(pin.repo, str(number)): pin for number, pin in enumerate(locks)})
        for held in (lambda: None, lambda lock=lock: lock):  # type: ignore[misc]
            v0.resolver.lookup = Lookup(v0.resolver.catalog, held, locked=True)
            if allowed and held() is not None:
                assert v0.refer().pin == here
                continue
            with pytest.raises(NotLocked, match=r"holds files that are not in .*pin it under a model's name"):
                v0.refer()


@pytest.mark.parametrize("change", ["wrong block", "no block"])
def test_what_nobody_delivers_is_one_sentence_with_what_was_tried(change: str, v0: Room) -> None:
    text = f"ipfs://{v0.root}"
    if change == "wrong block":
        v0.source.blocks[v0.root] = b"something else"
    else:
        del v0.source.blocks[v0.root]
    with pytest.raises(PinError, match=f"{text}: no source delivers it .*memory: ") as caught:
        v0.refer()
    assert "\n" not in str(caught.value)
    assert list(v0.resolver.catalog.pins()) == []


def test_a_file_that_nobody_delivers_is_not_asked_of_plain_transformers(v0: Room) -> None:
    pinned = v0.refer()
    v0.source.blocks.clear()
    with pytest.raises(PinError, match=rf"ipfs://{v0.root}/config.json: it cannot be loaded: no source delivered it"):
        pinned.deliver(["config.json"])


def test_only_this_machine_is_asked_under_local_files_only(v0: Room) -> None:
    v0.source.local = False
    with pytest.raises(PinError, match="nothing on this machine has it"):
        v0.resolver.refer(f"ipfs://{v0.root}", None, local=True)
    assert v0.source.asked == 0
    v0.refer()
    assert v0.resolver.refer(f"ipfs://{v0.root}", None, local=True) is not None


@pytest.mark.parametrize(
    ("cid", "says"),
    [
        (CID(1, 0x71, 0x12, bytes(32)), "can be loaded by its CID"),
        (CID(1, 0x70, 0x13, bytes(64)), "can be loaded by its CID"),
        (CID(1, 0x55, 0x00, b"inline"), "can be loaded by its CID"),
    ],
)
def test_a_cid_of_another_kind_is_refused(cid: CID, says: str, v0: Room) -> None:
    with pytest.raises(PinError, match=says):
        v0.refer(f"ipfs://{cid}")


def test_a_record_folder_that_cannot_be_written_only_costs_the_memory(
    v0: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinformers.pinning.catalog.write_json", full)
    monkeypatch.setattr("pinformers.pinning.references.write_json", full)
    assert bytes_of(v0.refer()) == FILES
    assert bytes_of(v0.refer(f"ipfs://{v0.root}/onnx")) == {"model.onnx": FILES["onnx/model.onnx"]}
    assert "cannot be written" in caplog.text


# -- what others say ------------------------------------------------------------------------------------------


def test_what_a_shared_catalog_says_of_a_cid_is_not_believed(v0: Room) -> None:
    lie = _any_pin(v0)._replace(files={"config.json": _any_pin(v0).files["README.md"]}, learned="a catalog")
    v0.resolver.catalog.add(lie)
    assert bytes_of(v0.refer()) == FILES
    assert v0.resolver.catalog.pin(repo_name(v0.root), commit_of(v0.root)).learned == ""  # type: ignore[union-attr]


def _any_pin(room: Room) -> Pin:
    other = Room(room.folder / "other")
    return other.refer().pin


# -- sub-paths ------------------------------------------------------------------------------------------------


def test_a_sub_path_is_a_model_of_its_own(room: Room) -> None:
    text = f"ipfs://{room.root}/onnx"
    assert bytes_of(room.refer(text)) == {"model.onnx": FILES["onnx/model.onnx"]}
    again = MemorySource({})
    bytes_of(room.refer(text, resolver=room.opened(again)))
    assert again.asked == 0


def test_a_path_that_leads_nowhere_names_what_is_there(v0: Room) -> None:
    with pytest.raises(PinError, match=r"holds no 'missing'; it holds README.md, config.json, empty.txt"):
        v0.refer(f"ipfs://{v0.root}/missing")
    with pytest.raises(PinError, match="it is a file, not a folder"):
        v0.refer(f"ipfs://{v0.root}/config.json/deeper")


# -- single files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_a_file_alone_has_the_name_that_is_asked_for(profile: str, v0: Room) -> None:
    content = bytes(range(256)) * 5000
    cid, _ = add_file(content, v0.source.blocks, PROFILES[profile])
    text = f"ipfs://{cid}"
    nameless = v0.refer(text, ["config.json"])
    assert nameless.has("config.json") is False
    assert list(v0.resolver.catalog.pins()) == []
    pinned = v0.refer(text, ["tiny.gguf"])
    assert (pinned.has("tiny.gguf"), pinned.has("config.json"), pinned.has("other.gguf")) == (True, False, False)
    assert bytes_of(pinned) == {"tiny.gguf": content}
    assert folder_nodes(v0.resolver.catalog, pinned.pin) == ()
    again = MemorySource({})
    assert bytes_of(v0.refer(text, ["tiny.gguf"], v0.opened(again))) == {"tiny.gguf": content}
    assert again.asked == 0


# -- names by key ---------------------------------------------------------------------------------------------


class Names:
    """What IPNS names point to, until nobody answers."""

    def __init__(self, **names: CID) -> None:
        self.names, self.asked = names, 0

    def __call__(self, name: str) -> CID:
        self.asked += 1
        if name not in self.names:
            raise SourceUnavailable("ipns", "no gateway answers")
        return self.names[name]


def with_names(room: Room, names: Names) -> Resolver:
    found = room.opened(room.source)
    return Resolver(found.lookup, found.hub_cache, found.sources, found.policy, found.cache_dir, None, names)


def test_a_key_is_resolved_once_a_load_and_followed(v0: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(k51=v0.root)
    resolver = with_names(v0, names)
    assert bytes_of(v0.refer("ipns://k51", resolver=resolver)) == FILES
    assert bytes_of(v0.refer("/ipns/k51/onnx", resolver=resolver)) == {"model.onnx": FILES["onnx/model.onnx"]}
    assert names.asked == 1
    names.names["k51"] = add_folder(v0.folder / "model" / "onnx", v0.source.blocks)
    assert v0.refer("ipns://k51", resolver=resolver).commit == commit_of(v0.root)
    monkeypatch.setattr("pinformers.pinning.references.NAME_SECONDS", -1.0)
    assert sorted(v0.refer("ipns://k51", resolver=resolver).pin.files) == ["model.onnx"]


def test_a_load_from_this_machine_alone_keeps_no_later_one_from_asking(v0: Room) -> None:
    bytes_of(v0.refer("ipns://k51", resolver=with_names(v0, Names(k51=v0.root))))
    new = add_folder(v0.folder / "model" / "onnx", v0.source.blocks)
    resolver = with_names(v0, Names(k51=new))
    key = Reference.parse("ipns://k51")
    assert key is not None
    assert resolver.references.pin(key, local=True).commit == commit_of(v0.root)
    assert resolver.references.pin(key).commit == commit_of(new)


def test_where_nobody_resolves_a_key_it_is_what_it_was(v0: Room, caplog: pytest.LogCaptureFixture) -> None:
    bytes_of(v0.refer("ipns://k51", resolver=with_names(v0, Names(k51=v0.root))))
    assert bytes_of(v0.refer("ipns://k51", resolver=with_names(v0, Names()))) == FILES
    assert f"ipns/k51 is what it was when it was last resolved, {v0.root}" in caplog.text
    assert "no gateway answers" in caplog.text


def test_a_key_that_nobody_ever_resolved_is_one_sentence(v0: Room) -> None:
    with pytest.raises(PinError, match=r"ipns://k52: what it points to is not known: .*no gateway answers"):
        v0.refer("ipns://k52", resolver=with_names(v0, Names()))
    with pytest.raises(PinError, match="nobody delivers a valid record of it"):
        v0.refer("ipns://k52")


# -- what is done with pins -----------------------------------------------------------------------------------


def test_explain_and_ls_know_it_by_any_of_its_names(v0: Room) -> None:
    text = f"/ipfs/{v0.root}"
    before = explanation(v0.resolver, text, None)
    assert (before["pinned"], v0.source.asked) == (False, 0)
    assert "the hub is not asked" in before["why"]
    bytes_of(v0.refer())
    said = explanation(v0.resolver, text, None)
    assert (said["root"], said["complete"]) == (str(v0.root), True)
    assert "its CID says what it is" in said["why"]
    assert {file["path"] for file in said["files"]} == set(FILES)
    assert v0.resolver.name(text) == v0.resolver.name(repo_name(v0.root)) == repo_name(v0.root)
    assert v0.resolver.name("org/model") == "org/model"
    line = summary(v0.resolver, v0.refer().pin)
    assert (line["origin"], line["root"], line["revisions"]) == ("ipfs", str(v0.root), ["main"])


def test_verify_hashes_any_layout_and_repair_fetches_again(room: Room) -> None:
    pinned = room.refer()
    bytes_of(pinned)
    pin = room.refer().pin
    assert {finding.state for finding in check(room.resolver.catalog, pin)} == {"good"}
    target = pinned.cache.file(pinned.commit, "model.safetensors").resolve()
    target.write_bytes(FILES["model.safetensors"][:-1] + b"!")
    (bad,) = [finding for finding in check(room.resolver.catalog, pin) if finding.state != "good"]
    assert (bad.path, bad.state) == ("model.safetensors", "bad")
    # Of the blocks that are not in the bad file's place, some lie in it still.
    assert "memory" in repair(room.resolver, bad)
    assert {finding.state for finding in check(room.resolver.catalog, pin)} == {"good"}
    room.source.blocks.clear()
    pinned.cache.file(pinned.commit, "model.safetensors").resolve().unlink()
    (missing,) = [finding for finding in check(room.resolver.catalog, pin) if finding.state != "good"]
    with pytest.raises(PinError, match="the hub has no such file"):
        repair(room.resolver, missing)


def test_a_file_that_looks_new_is_confirmed_in_any_layout(room: Room) -> None:
    pinned = room.refer()
    bytes_of(pinned)
    blob = pinned.cache.file(pinned.commit, "model.safetensors").resolve()
    os.utime(blob, ns=(1, 1))
    assert bytes_of(room.refer(resolver=room.opened())) == FILES
    blob.write_bytes(FILES["model.safetensors"].replace(b"\x01", b"\x02"))
    with pytest.raises(PinError, match="not what the pin says"):
        room.refer(resolver=room.opened()).deliver(["model.safetensors"])


def test_a_file_that_another_process_placed_first_is_confirmed_before_its_sha256_is_recorded(room: Room) -> None:
    pinned = room.refer()
    bytes_of(pinned)
    unrecorded = Room.opened(room, room.source)
    state = room.resolver.catalog.state_dir
    for record in [*state.glob("pins/**/*.json"), *state.glob("places/**/*.json")]:
        record.unlink()
    assert bytes_of(room.refer(resolver=unrecorded)) == FILES


def test_removal_takes_the_blocks_of_its_folders_too(room: Room) -> None:
    pinned = room.refer()
    bytes_of(pinned)
    catalog = room.resolver.catalog
    assert list(find_garbage(catalog, room.resolver.default_cache)) == []
    assert folder_nodes(catalog, pinned.pin)
    remove_pin(catalog, room.refer().pin)
    assert not list(catalog.state_dir.glob("dags/*/*.car"))
    assert not pinned.cache.file(pinned.commit, "config.json").exists()


def test_what_comes_after_a_removal_is_the_cids_and_goes_with_the_next(v0: Room) -> None:
    pinned = v0.refer()
    catalog = v0.resolver.catalog
    remove_pin(catalog, pinned.pin)
    assert pinned.deliver(["config.json"])
    left = catalog.pin(pinned.repo, pinned.commit)
    assert left is not None and (left.origin, left.root_cid, left.listed) == ("ipfs", pinned.pin.root_cid, False)
    again = v0.refer(resolver=v0.opened(v0.source))
    assert bytes_of(again) == FILES
    removal = remove_pin(catalog, again.pin)
    assert removal.kept == {} and not again.cache.folder.exists()


def test_the_model_card_says_what_the_hub_would(v0: Room) -> None:
    config = {"library_name": "transformers", "config": {"model_type": "bert"}}
    assert v0.refer().info == {"pipeline_tag": "fill-mask", **config}
    assert v0.refer(f"ipfs://{v0.root}/onnx").info == {}


def test_a_broken_model_card_counts_as_none(v0: Room, caplog: pytest.LogCaptureFixture) -> None:
    (v0.folder / "model" / "README.md").write_text("---\n- a\n- list: [\n---\n")
    root = add_folder(v0.folder / "model", v0.source.blocks)
    assert v0.refer(f"ipfs://{root}").info == {"library_name": "transformers", "config": {"model_type": "bert"}}
    assert "counts as none" in caplog.text


def test_a_pin_record_says_its_root_again(v0: Room) -> None:
    pin = v0.refer().pin
    assert Pin.from_json(pin.to_json()) == pin
    with pytest.raises(PinError):
        Pin.from_json({**pin.to_json(), "root": "nonsense"})


def _v1(cid: CID) -> CID:
    return CID(1, cid.codec, cid.hash_code, cid.digest)


def _served(store: Source, cid: CID) -> bytes | None:
    try:
        return store.block(cid)
    except BlockNotFound:
        return None


def _was_kept(room: Room, cid: CID) -> bool:
    return any(
        block.cid == cid for pin in room.resolver.catalog.pins() for block in folder_nodes(room.resolver.catalog, pin)
    )


def test_a_path_of_which_only_the_name_is_known_has_no_cid(v0: Room) -> None:
    pinned = v0.refer()
    pinned.pin = pinned.pin._replace(others={"notes.md": {"size": 1}})
    assert pinned.entry("notes.md") == {"size": 1} and pinned.entry("nothing") is None
    found = pinned.entry("config.json")
    assert found is not None and found["blob_id"] == pinned.pin.files["config.json"].cid
