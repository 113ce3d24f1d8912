"""Laws of the gateway, for any folder: what is read out of the CARs that it sends is the folder."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from dag_rooms import Room, unpacked
from ipfs_data import MemoryStore
from pinformers.ipfs import CID, Profile, read_file, read_parts, walk_directory
from pinformers.ipfs.hamt import Child, build_shards
from pinformers.ipfs.traversal import ByteRange, resolve
from pinformers.serving.gateway import answer
from pinformers.serving.messages import Request

profiles = st.builds(Profile, st.integers(1, 9), st.integers(2, 4), st.booleans(), st.just(1))
names = st.text(min_size=1, max_size=9).filter(
    lambda name: name not in (".", "..") and not set("/\0") & set(name) and name.isprintable()
)
folders = st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "b/e/f"]), st.binary(max_size=60), min_size=1) | (
    st.dictionaries(names, st.binary(max_size=60), min_size=1, max_size=9)
)


def fetched(room: Room, root: CID, path: str, **query: str) -> tuple[CID, MemoryStore]:
    """Where a path leads, and a store of nothing but the blocks of one CAR."""
    parameters = (f"{key.replace('_', '-')}={value}" for key, value in query.items())
    response = answer(Request("GET", "&".join([f"/ipfs/{root}/{quote(path)}?format=car", *parameters])), room)
    assert response.status == 200
    roots, cids = unpacked(response.body)
    if query.get("car_dups") != "y":
        assert len(cids) == len(set(cids))
    return roots[0], MemoryStore({cid.multihash: room.store.blocks[cid.multihash] for cid in cids})


@given(folders, profiles, st.sampled_from("yn"))
def test_a_folder_comes_out_as_it_went_in(files: dict[str, bytes], profile: Profile, dups: str) -> None:
    room = Room()
    root = room.store.add_folder(files, profile).cid
    end, store = fetched(room, root, "", car_dups=dups)
    assert {path: b"".join(read_file(cid, store)) for path, cid, _ in walk_directory(end, store)} == files
    for path, content in files.items():
        end, store = fetched(room, root, path, dag_scope="entity", car_dups=dups)
        assert b"".join(read_file(end, store)) == content
        # The blocks on the way are there too: the path can be followed again.
        assert resolve(root, path.split("/"), Room(store)).end.cid == end


@given(st.binary(max_size=200), profiles, st.integers(-250, 250), st.none() | st.integers(-250, 250))
def test_a_range_can_be_read_out_of_its_car(content: bytes, profile: Profile, first: int, last: int | None) -> None:
    span = ByteRange(first, last)
    start, end = span.within(len(content))
    if last is not None and (first < 0) == (last < 0) and first > last:
        return
    room = Room()
    dag = room.store.add_file(content, profile)
    written = f"{first}:{'*' if last is None else last}"
    _, store = fetched(room, dag.cid, "", entity_bytes=written)
    read = bytearray()
    if start < end:
        for leaf, piece in read_parts(dag.cid, store, start=start):
            read += piece[max(0, start - leaf.offset) : end - leaf.offset]
            if leaf.offset + leaf.size >= end:
                break
    # As a slice of Python means it, one further at the end.
    assert bytes(read) == content[start:end]
    assert len(store.blocks) <= len(room.store.blocks)


@given(st.sets(names, min_size=1, max_size=60))
def test_every_name_of_a_sharded_folder_is_found_in_the_blocks_sent(entries: set[str]) -> None:
    room = Room()
    children = [Child(name.encode(), room.store.add_file(name.encode()).cid, 1) for name in entries]
    shards = build_shards(children)
    for node in shards.nodes:
        room.store.put(node.data)
    root = shards.nodes[0].cid
    for name in entries:
        end, store = fetched(room, root, name, dag_scope="block")
        assert b"".join(read_file(end, store)) == name.encode()
    _, store = fetched(room, root, "", dag_scope="entity")
    assert set(store.blocks) == {node.cid.multihash for node in shards.nodes}


@given(st.text(max_size=80), st.text(max_size=60), st.text(max_size=40))
def test_no_request_makes_it_raise(path: str, query: str, accept: str) -> None:
    for target in (path, f"/ipfs/bafkqaaa/{quote(path)}?format=car&{quote(query, safe='=&')}", f"/ipfs/{path}?{query}"):
        response = answer(Request("GET", target, {"accept": accept, "range": accept, "if-none-match": query}), Room())
        assert response.status in (200, 206, 304, 400, 404, 406, 416, 422)
        for value in response.headers.values():
            assert value.isascii() and value.isprintable()
