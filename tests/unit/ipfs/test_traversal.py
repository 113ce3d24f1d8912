from __future__ import annotations

from collections.abc import Sequence

import pytest

from dag_rooms import TINY, Room, named
from ipfs_data import MemoryStore
from pinformers._errors import BadBlock, BlockNotFound
from pinformers.ipfs import CID, DAG_PB, IDENTITY, RAW, Block, hamt, parse_node, read_file, walk_directory
from pinformers.ipfs.dagpb import encode_link, encode_node, file_message
from pinformers.ipfs.traversal import ByteRange, Scope, resolve, select

FILES = {"a.txt": b"first", "sub/b.txt": b"second file of four blocks", "sub/c.txt": b"first"}
MANY = {f"{number:05}-{'n' * 90}.bin": b"%d" % number for number in range(2500)}


def chosen(
    room: Room, root: CID, path: str = "", scope: Scope = "all", span: ByteRange | None = None, dups: bool = False
) -> list[CID]:
    found = resolve(root, [name for name in path.split("/") if name], room)
    return [block.cid for block in select(found, scope, span, room, dups=dups)]


def as_store(blocks: Sequence[CID], room: Room) -> MemoryStore:
    return MemoryStore({cid.multihash: room.store.blocks[cid.multihash] for cid in blocks})


# -- paths ----------------------------------------------------------------------------------------------------


def test_a_path_passes_its_folders() -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    found = resolve(root, ["sub", "b.txt"], room)
    assert found.roots[0] == root and found.missing is None
    assert [block.cid for block in found.passed] == list(found.roots[:2])
    assert found.end.cid == found.roots[2] == room.store.add_file(FILES["sub/b.txt"]).cid
    assert resolve(root, [], room).end.cid == root


@pytest.mark.parametrize(("path", "missing", "passed"), [("no", "no", 0), ("sub/no", "no", 1), ("a.txt/x/y", "x", 1)])
def test_a_path_to_nothing_ends_with_the_proof(path: str, missing: str, passed: int) -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    found = resolve(root, path.split("/"), room)
    assert (found.missing, len(found.passed)) == (missing, passed)
    blocks = [block.cid for block in select(found, "all", None, room, dups=False)]
    assert blocks == [*(block.cid for block in found.passed), found.end.cid]


def test_a_sharded_folder_is_passed_by_the_shards_of_one_name() -> None:
    room = Room()
    folder = room.store.add_folder({f"big/{name}": content for name, content in MANY.items()})
    for name in list(MANY)[::250]:
        room.store.asked.clear()
        found = resolve(folder.cid, ["big", name], room)
        assert found.end.data == MANY[name]
        assert len(found.roots) == 3
        kinds = [parse_node(block.cid, block.data).kind for block in found.passed]
        assert kinds[:2] == ["directory", "shard"] and len(kinds) <= 5
        assert len(room.store.asked) == len(found.passed) + 1
    absent = resolve(folder.cid, ["big", "absent"], room)
    assert absent.missing == "absent" and parse_node(absent.end.cid, absent.end.data).kind == "shard"


def test_a_shard_that_holds_something_else_is_refused() -> None:
    room = Room()
    dag = room.store.add_file(b"no shard at all", TINY)
    name = "name"
    shards = hamt.build_shards([hamt.Child(name.encode(), dag.cid, 1)])
    node = parse_node(shards.nodes[0].cid, shards.nodes[0].data)
    prefix = node.links[0].name[:2].encode()
    message = shards.nodes[0].data[shards.nodes[0].data.index(b"\x0a", 2 + shards.nodes[0].data[1]) :]
    forged = encode_link(dag.cid, prefix, 1) + message
    room.store.put(forged)
    with pytest.raises(BadBlock, match="where a shard"):
        resolve(named(DAG_PB, forged), [name], room)


def test_dag_cbor_is_passed_by_keys_and_indices() -> None:
    room = Room()
    folder = room.store.add_folder(FILES).cid
    root = room.add_cbor({"files": [1, {"here": folder}], "n": 5})
    found = resolve(root, ["files", "1", "here", "a.txt"], room)
    assert found.end.data == b"first" and len(found.roots) == 3
    assert found.roots[:2] == (root, folder)
    inside = resolve(root, ["files", "1"], room)
    assert (inside.end.cid, inside.missing, inside.passed) == (root, None, ())
    assert resolve(root, ["files", "2"], room).missing == "2"


def test_a_block_that_is_not_there_ends_the_path() -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    room.gone.add(resolve(root, ["sub"], room).end.cid)
    with pytest.raises(BlockNotFound):
        resolve(root, ["sub", "b.txt"], room)


# -- scopes ---------------------------------------------------------------------------------------------------


def test_scopes_of_a_folder() -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    sub = resolve(root, ["sub"], room).end.cid
    assert chosen(room, root, scope="block") == chosen(room, root, scope="entity") == [root]
    assert chosen(room, root, "sub", "block") == [root, sub]
    everything = chosen(room, root)
    assert everything[0] == root and len(everything) == len(set(everything)) == len(room.store.blocks)
    fetch = as_store(everything, room)
    read = {path: b"".join(read_file(cid, fetch)) for path, cid, _ in walk_directory(root, fetch)}
    assert read == FILES


def test_everything_is_in_depth_first_order_and_doubled_on_request() -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    first, second = (room.store.add_file(FILES[name]).cid for name in ("a.txt", "sub/b.txt"))
    sub = resolve(root, ["sub"], room).end.cid
    assert chosen(room, root) == [root, first, sub, second]
    assert chosen(room, root, dups=True) == [root, first, sub, second, first]


def test_the_entity_of_a_file_are_all_its_blocks() -> None:
    room = Room()
    dag = room.store.add_file(bytes(range(40)), TINY)
    blocks = chosen(room, dag.cid, scope="entity")
    assert blocks == chosen(room, dag.cid)
    assert b"".join(read_file(dag.cid, as_store(blocks, room))) == bytes(range(40))


def test_the_entity_of_a_sharded_folder_are_its_shards() -> None:
    room = Room()
    folder = room.store.add_folder(MANY)
    blocks = chosen(room, folder.cid, scope="entity")
    assert sorted(map(str, blocks)) == sorted(str(node.cid) for node in folder.nodes)
    assert blocks[0] == folder.cid


def test_the_entity_of_dag_cbor_is_its_block() -> None:
    room = Room()
    root = room.add_cbor({"links": [room.store.add_file(b"x").cid]})
    assert chosen(room, root, scope="entity") == [root]
    assert len(chosen(room, root)) == 2


def test_what_an_identity_cid_holds_is_sent_with_the_block_that_names_it() -> None:
    room = Room()
    inline = CID(1, RAW, IDENTITY, b"inline")
    assert chosen(room, inline) == []
    root = room.add_cbor([inline, room.store.add_file(b"x").cid])
    assert chosen(room, root, dups=True) == [root, room.store.add_file(b"x").cid]


def test_a_link_of_unixfs_is_part_of_the_dag_and_leads_nowhere() -> None:
    room = Room()
    symlink = encode_node((), b"\x08\x04\x12\x01x")
    room.store.put(symlink)
    link = named(DAG_PB, symlink)
    folder = encode_node([encode_link(link, b"link", 1)], b"\x08\x01")
    room.store.put(folder)
    root = named(DAG_PB, folder)
    assert chosen(room, root) == [root, link]
    assert chosen(room, root, "link", "entity") == [root, link]
    assert resolve(root, ["link", "x"], room).missing == "x"


def test_links_of_an_unknown_codec_are_refused_before_the_first_block() -> None:
    room = Room()
    room.store.put(b"{}")
    root = named(0x0129, b"{}")
    assert chosen(room, root, scope="block") == [root]
    with pytest.raises(BadBlock, match="ask for single blocks"):
        select(resolve(root, [], room), "all", None, room, dups=False)


def test_a_chain_of_any_length_is_followed() -> None:
    room = Room()
    cid = room.add_cbor(0)
    for number in range(3000):
        cid = room.add_cbor([number, cid])
    assert len(chosen(room, cid)) == 3001


def test_a_small_dag_with_endless_paths_is_sent_once() -> None:
    room = Room()
    cid = room.add_cbor(0)
    for _ in range(64):
        cid = room.add_cbor([cid, cid])
    assert len(chosen(room, cid)) == 65


def test_the_same_bytes_as_a_leaf_and_as_a_node_hide_no_blocks() -> None:
    room = Room()
    inner = room.store.add_file(b"12345678", TINY)
    root = room.add_cbor([CID.raw(inner.cid.digest), inner.cid])
    blocks = chosen(room, root)
    # The node's bytes went out under their raw CID; its leaves follow all the same.
    assert blocks[:2] == [root, CID.raw(inner.cid.digest)] and len(blocks) == 4


# -- ranges ---------------------------------------------------------------------------------------------------

CONTENT = bytes(range(40))


@pytest.mark.parametrize(
    ("first", "last"), [(0, None), (0, 0), (4, 7), (3, 4), (39, 39), (-1, None), (-4, -1), (5, -6), (-99, 2), (30, 999)]
)
@pytest.mark.parametrize("dups", [False, True])
def test_a_range_has_the_fewest_blocks_that_prove_it(first: int, last: int | None, dups: bool) -> None:
    room = Room()
    dag = room.store.add_file(CONTENT, TINY)
    blocks = chosen(room, dag.cid, scope="entity", span=ByteRange(first, last), dups=dups)
    start, end = ByteRange(first, last).within(40)
    leaves = {cid for cid in blocks if cid.codec == RAW}
    assert leaves == {CID.raw(named(RAW, CONTENT[at : at + 4]).digest) for at in range(start - start % 4, end, 4)}
    assert blocks[0] == dag.cid and len(blocks) == len(set(blocks))
    # Every node on the way to a leaf is there, and no other.
    fetch = as_store(blocks, room)
    for cid in blocks:
        if cid.codec == DAG_PB:
            assert any(link.cid in blocks for link in parse_node(cid, fetch(cid)).links)


@pytest.mark.parametrize(("first", "last"), [(40, None), (99, 120), (30, -20), (-3, 5)])
def test_a_range_of_nothing_is_the_block(first: int, last: int | None) -> None:
    room = Room()
    dag = room.store.add_file(CONTENT, TINY)
    assert chosen(room, dag.cid, scope="entity", span=ByteRange(first, last)) == [dag.cid]


def test_a_range_asks_for_no_block_outside_of_it() -> None:
    room = Room()
    dag = room.store.add_file(CONTENT, TINY)
    room.gone |= {CID.raw(named(RAW, CONTENT[at : at + 4]).digest) for at in (0, 36)}
    assert chosen(room, dag.cid, scope="entity", span=ByteRange(4, 35))


def test_a_range_of_a_folder_is_ignored() -> None:
    room = Room()
    root = room.store.add_folder(FILES).cid
    assert chosen(room, root, scope="entity", span=ByteRange(0, 3)) == [root]


def test_repeated_chunks_are_sent_once_and_the_repeated_node_is_searched_again() -> None:
    room = Room()
    dag = room.store.add_file(b"abcdabcdabcd" * 3, TINY)
    assert len(chosen(room, dag.cid, scope="entity")) == 3
    assert len(chosen(room, dag.cid, scope="entity", dups=True)) == 1 + 3 + 9
    mixed = room.store.add_file(b"aaaabbbbcccc" * 2, TINY)
    # The end of the first part and the start of the second, which is the same node.
    blocks = chosen(room, mixed.cid, scope="entity", span=ByteRange(8, 15))
    assert [cid for cid in blocks if cid.codec == RAW] == [named(RAW, b"cccc"), named(RAW, b"aaaa")]


def test_a_file_deeper_than_any_is_refused() -> None:
    room = Room()
    block = room.store.add_file(b"x").cid
    for _ in range(70):
        node = encode_node([encode_link(block, b"", 1)], file_message([1]))
        room.store.put(node)
        block = named(DAG_PB, node)
    with pytest.raises(BadBlock, match="deeper"):
        chosen(room, block, scope="entity")
    assert len(chosen(room, block)) == 71


def test_a_folder_within_a_file_is_refused() -> None:
    room = Room()
    folder = room.store.add_folder(FILES).cid
    node = encode_node([encode_link(folder, b"", 1)], file_message([1]))
    root = Block(named(DAG_PB, node), node)
    room.store.put(node)
    with pytest.raises(BadBlock, match="a folder stands where"):
        chosen(room, root.cid, scope="entity")
