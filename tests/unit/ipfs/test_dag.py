from __future__ import annotations

import hashlib
import io
from pathlib import Path

import aleph_cid
import pytest

from ipfs_data import MemoryStore, write_folder
from pinformers._errors import BadBlock, BlockMismatch
from pinformers.ipfs import (
    CID,
    IDENTITY,
    MAX_BLOCK,
    RAW,
    V0_2015,
    Leaf,
    Profile,
    dag,
    leaves,
    list_directory,
    read_block,
    read_car,
    read_file,
    read_leaf,
    walk_directory,
)
from pinformers.ipfs.dag import known_leaves
from pinformers.ipfs.dagpb import encode_leaf, encode_link, encode_node, file_message, shard_message
from pinformers.ipfs.layout import UNIXFS_V1_2025

SMALL = Profile(chunk=4, width=2)
CONTENT = b"abcdefghijklmnopqrs"
LEAF = CID.raw(hashlib.sha256(b"x").digest())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def put(store: MemoryStore, links: list[tuple[CID, str]], message: bytes) -> CID:
    node = UNIXFS_V1_2025.node(encode_node([encode_link(cid, name.encode(), 1) for cid, name in links], message))
    store.put(node.data)
    return node.cid


def test_leaves_do_not_fetch_raw_blocks(store: MemoryStore) -> None:
    root = store.add_file(CONTENT, SMALL).cid
    found = list(leaves(root, store, size=len(CONTENT)))
    assert [(leaf.offset, leaf.size, leaf.wrapped) for leaf in found] == [
        (0, 4, False), (4, 4, False), (8, 4, False), (12, 4, False), (16, 3, False)
    ]  # fmt: skip
    assert all(cid.codec != RAW for cid in store.asked)
    assert b"".join(read_leaf(leaf, store) for leaf in found) == CONTENT


@pytest.mark.parametrize("start", range(len(CONTENT) + 2))
def test_leaves_from_an_offset_skip_what_lies_before(store: MemoryStore, start: int) -> None:
    root = store.add_file(CONTENT, SMALL).cid
    found = [leaf.offset for leaf in leaves(root, store, start=start)]
    assert found == [offset for offset in range(0, len(CONTENT), 4) if offset + 4 > start and start < len(CONTENT)]
    # Six inner nodes: one over four leaves (two below it), one over one (one below it), and the root.
    assert len(store.asked) == (6 if start < 8 else 5 if start < 16 else 3 if start < 19 else 1)


def test_a_single_raw_block_of_known_size_needs_no_fetch(store: MemoryStore) -> None:
    root = store.add_file(b"abc").cid
    assert list(leaves(root, store, size=3)) == [Leaf(root, 0, 3)]
    assert list(leaves(root, store, size=3, start=3)) == [] == store.asked
    assert list(leaves(root, store)) == [Leaf(root, 0, 3)]
    assert list(leaves(store.add_file(b"").cid, store)) == []


def test_wrapped_leaves_say_so_and_are_read_once(store: MemoryStore) -> None:
    root = store.add_file(CONTENT, Profile(chunk=4, width=2, raw_leaves=False, cid_version=0)).cid
    found = list(leaves(root, store))
    assert all(leaf.wrapped for leaf in found)
    assert b"".join(read_leaf(leaf, store) for leaf in found) == CONTENT
    store.asked.clear()
    assert b"".join(read_file(root, store)) == CONTENT
    assert len(store.asked) == len(set(store.asked))


def test_bytes_in_inner_nodes_come_first(store: MemoryStore) -> None:
    store.put(b"x")
    root = put(store, [(LEAF, "")], b"\x08\x02\x12\x02ab\x18\x03\x20\x01")
    assert b"".join(read_file(root, store)) == b"abx"
    assert [(leaf.offset, leaf.wrapped) for leaf in leaves(root, store)] == [(0, True), (2, False)]


def test_identity_blocks_are_not_fetched(store: MemoryStore) -> None:
    assert read_block(CID(1, RAW, IDENTITY, b"hi"), store) == b"hi" and not store.asked


@pytest.mark.parametrize("lie", [b"y", b"", b"xx"])
def test_a_false_block_is_refused(lie: bytes) -> None:
    with pytest.raises(BlockMismatch):
        list(read_file(LEAF, lambda _: lie))


def test_a_big_block_is_refused() -> None:
    block = bytes(MAX_BLOCK + 1)
    with pytest.raises(BadBlock, match="2097153 bytes"):
        read_block(CID.raw(hashlib.sha256(block).digest()), lambda _: block)


def test_a_wrong_total(store: MemoryStore) -> None:
    root = store.add_file(CONTENT, SMALL).cid
    with pytest.raises(BadBlock, match="19 bytes instead of 20"):
        list(leaves(root, store, size=20))


def test_a_leaf_of_another_length(store: MemoryStore) -> None:
    store.put(b"x")
    root = put(store, [(LEAF, "")], file_message([2]))
    with pytest.raises(BadBlock, match="holds 1 bytes and the node above it says 2"):
        list(read_file(root, store))


def test_a_subtree_of_another_length(store: MemoryStore) -> None:
    inner = put(store, [(LEAF, "")], file_message([1]))
    root = put(store, [(inner, ""), (inner, "")], file_message([1, 2]))
    with pytest.raises(BadBlock, match="holds 1 bytes and the node above it says 2"):
        list(leaves(root, store))


def test_a_folder_in_a_file(store: MemoryStore) -> None:
    inner = put(store, [], b"\x08\x01")
    with pytest.raises(BadBlock, match="a folder stands"):
        list(read_file(inner, store))
    root = put(store, [(inner, "")], b"\x08\x02\x18\x00\x20\x00")
    assert list(read_file(root, store)) == []
    with pytest.raises(BadBlock, match="it holds 0 bytes"):
        list(read_file(put(store, [(inner, "")], file_message([1])), store))
    folder = put(store, [(LEAF, "a")], b"\x08\x01")
    above = put(store, [(folder, "")], file_message([5]))
    kept = {cid: store(cid) for cid in (folder, above)}
    for cid in kept:
        with pytest.raises(BadBlock, match="a folder stands"):
            list(known_leaves(cid, 5, kept))


def test_a_tower_of_nodes(store: MemoryStore) -> None:
    store.put(b"x")
    root = LEAF
    for _ in range(64):
        root = put(store, [(root, "")], file_message([1]))
    assert list(read_file(root, store)) == [b"x"]
    with pytest.raises(BadBlock, match="deeper than 64"):
        list(leaves(put(store, [(root, "")], file_message([1])), store))


def test_a_tower_that_holds_nothing_is_not_climbed(store: MemoryStore) -> None:
    root = put(store, [], file_message([]))
    for _ in range(30):
        root = put(store, [(root, "")] * 10, file_message([0] * 10))
    assert list(leaves(root, store)) == [] and len(store.asked) == 1


def test_folders(store: MemoryStore) -> None:
    files = {"a/b/c": b"1", "a/d": b"22", "é": bytes(MAX_BLOCK), "empty": b""}
    root = store.add_folder(files).cid
    assert set(list_directory(root, store)) == {"a", "é", "empty"}
    assert list_directory(root, store)["empty"].dag_size == 0
    found = {path: (cid, size) for path, cid, size in walk_directory(root, store)}
    assert {path: size for path, (_, size) in found.items()} == {path: len(files[path]) for path in files}
    assert {path: b"".join(read_file(cid, store)) for path, (cid, _) in found.items()} == files


@pytest.mark.parametrize("read", [list_directory, lambda root, fetch: list(walk_directory(root, fetch))])
def test_a_file_is_no_folder(store: MemoryStore, read: object) -> None:
    assert callable(read)
    with pytest.raises(BadBlock, match="not a folder"):
        read(store.add_file(b"x").cid, store)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "nul\0"])
def test_unsafe_names(store: MemoryStore, name: str) -> None:
    with pytest.raises(BadBlock, match="unsafe name"):
        list_directory(put(store, [(LEAF, name)], b"\x08\x01"), store)


def test_doubled_names(store: MemoryStore) -> None:
    with pytest.raises(BadBlock, match="twice"):
        list_directory(put(store, [(LEAF, "a"), (LEAF, "a")], b"\x08\x01"), store)


def test_folders_deeper_than_paths_may_be(store: MemoryStore) -> None:
    root = put(store, [(LEAF, "x")], b"\x08\x01")
    for _ in range(63):
        root = put(store, [(root, "d")], b"\x08\x01")
    assert [path for path, _, _ in walk_directory(root, store)] == ["d/" * 63 + "x"]
    with pytest.raises(BadBlock, match="deeper than 64"):
        list(walk_directory(put(store, [(root, "d")], b"\x08\x01"), store))


def test_a_folder_bomb(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "MAX_ENTRIES", 1000)
    root = put(store, [], b"\x08\x01")
    for _ in range(60):
        root = put(store, [(root, "a"), (root, "b")], b"\x08\x01")
    with pytest.raises(BadBlock, match="more than 1000 entries"):
        list(walk_directory(root, store))


def test_a_shard_bomb(store: MemoryStore) -> None:
    empty = put(store, [], shard_message(0, 256))
    assert list_directory(empty, store) == {}
    slots = [f"{slot:02X}" for slot in range(256)]
    with pytest.raises(BadBlock, match="empty or too deep"):
        list_directory(put(store, [(empty, slot) for slot in slots], shard_message(1, 256)), store)
    root = put(store, [(LEAF, "00x")], shard_message(1, 256))
    for _ in range(20):
        root = put(store, [(root, slot) for slot in slots], shard_message(1, 256))
    with pytest.raises(BadBlock, match="'x' twice"):
        list_directory(root, store)


def test_malformed_shards(store: MemoryStore) -> None:
    basic = put(store, [(LEAF, "a")], b"\x08\x01")
    narrow = put(store, [(LEAF, "0a")], shard_message(1, 8))
    assert set(list_directory(narrow, store)) == {"a"}
    for child, name in ((basic, "00"), (narrow, "00"), (narrow, "0")):
        with pytest.raises(BadBlock, match="malformed"):
            list_directory(put(store, [(child, name)], shard_message(1, 256)), store)


def test_what_aleph_wrote_under_kubos_old_profile(tmp_path: Path) -> None:
    files = {f"{n}-{'name' * 20}": b"%d" % n for n in range(3000)} | {"sub/weights": bytes(range(256)) * 3000}
    write_folder(tmp_path / "in", files)
    for version in (0, 1):
        root = CID.parse(aleph_cid.write_folder_car(tmp_path / "in", tmp_path / "car", cid_version=version))
        store = MemoryStore()
        roots, blocks = read_car(io.BytesIO((tmp_path / "car").read_bytes()))
        for block in blocks:
            store.put(block.data)
        assert roots == (root,)
        assert {p: b"".join(read_file(cid, store)) for p, cid, _ in walk_directory(root, store)} == files


def test_aleph_agrees_on_files_of_the_old_profile(store: MemoryStore) -> None:
    content = bytes(range(251)) * 3000
    assert str(store.add_file(content, V0_2015).cid) == aleph_cid.compute_cid(content)
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(content)
    assert str(store.add_file(content, Profile(chunk=1 << 18, width=174)).cid) == hasher.finalize()


def test_an_empty_wrapped_leaf(store: MemoryStore) -> None:
    store.put(encode_leaf(b""))
    assert list(read_file(CID.dag_pb(hashlib.sha256(encode_leaf(b"")).digest()), store)) == []
