from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipfs_data import MemoryStore
from pinformers._errors import BadBlock, BadCID, BlockNotFound
from pinformers.ipfs import CID, V0_2015, Block, Profile, hash_file, leaves
from pinformers.ipfs.dagpb import parse_node
from pinformers.sources.embedded import EmbeddedSource, LocalFile

MIB = 1 << 20


def local(path: Path) -> LocalFile:
    dag = hash_file(path)
    return LocalFile(path, dag.cid, dag.size, lambda: dag.nodes)


def leaf(content: bytes) -> CID:
    return CID.raw(hashlib.sha256(content).digest())


@pytest.mark.parametrize("remember", [False, True])
def test_threads_read_at_the_same_time(tmp_path: Path, remember: bool) -> None:
    parts = [bytes([number]) * MIB for number in range(8)]
    path = tmp_path / "weights"
    path.write_bytes(b"".join(parts))
    source = EmbeddedSource(lambda: [local(path)], remember=remember)
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(source.block, [leaf(part) for part in parts * 4]))
    assert blocks == parts * 4


def test_a_file_that_does_not_answer_holds_up_nobody_else(tmp_path: Path) -> None:
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    plain.write_bytes(b"plain")
    os.mkfifo(fifo)
    stuck = LocalFile(fifo, leaf(b"never"), 5, tuple)
    source = EmbeddedSource(lambda: [stuck, local(plain)])
    assert source.block(leaf(b"plain")) == b"plain"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.block, leaf(b"never"))
        assert source.block(leaf(b"plain")) == b"plain"
        assert not waiting.done()
        # Opened and closed at the other end: what waits goes on, and cannot seek there.
        os.close(os.open(fifo, os.O_WRONLY))
        with pytest.raises(BlockNotFound):
            waiting.result(20)


def test_what_was_read_once_and_then_changed_is_not_served(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_bytes(b"content")
    source = EmbeddedSource(lambda: [local(one), local(two)])
    cid = leaf(b"content")
    assert source.block(cid) == source.block(cid) == b"content"
    one.write_bytes(b"CONTENT")
    assert source.block(cid) == b"content"
    two.write_bytes(b"CONTENT")
    with pytest.raises(BlockNotFound):
        source.block(cid)
    two.write_bytes(b"content")
    assert source.block(cid) == b"content"


@pytest.mark.parametrize("remember", [False, True])
def test_the_digest_of_a_block_is_not_its_name_under_another_hash(tmp_path: Path, remember: bool) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a" * MIB + b"b")
    dag = hash_file(path)
    source = EmbeddedSource(lambda: [local(path)], lambda: [loose], remember=remember)
    loose = Block(CID.dag_pb(hashlib.sha256(b"folder").digest()), b"folder")
    for cid in (dag.cid, loose.cid, leaf(b"b")):
        assert source.block(cid)
        with pytest.raises((BlockNotFound, BadCID)):
            source.block(CID(1, cid.codec, 0xB220, cid.digest))


def test_only_who_serves_others_remembers_what_was_hashed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    files = [local(tmp_path / "file")]
    sources = [EmbeddedSource(lambda: files, remember=remember) for remember in (False, True)]
    assert [source.block(leaf(b"content")) for source in sources] == [b"content"] * 2
    assert [len(source._proved) for source in sources] == [0, 1]


@pytest.mark.parametrize("remember", [False, True])
def test_leaves_of_any_size_are_served(tmp_path: Path, remember: bool) -> None:
    contents = [b"", b"x", b"y" * MIB, b"", b"z"]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    source = EmbeddedSource(lambda: [local(path) for path in sorted(tmp_path.iterdir())], remember=remember)
    assert [source.block(leaf(content)) for content in contents * 2] == contents * 2


@pytest.mark.parametrize("remember", [False, True])
def test_a_leaf_that_is_asked_for_as_a_node_can_be_parsed(tmp_path: Path, remember: bool) -> None:
    """Whoever serves it parses it to see what lies below."""
    path, content = tmp_path / "weights", [b"x" * MIB, b"y" * MIB]
    path.write_bytes(b"".join(content))
    source = EmbeddedSource(lambda: [local(path)], remember=remember)
    assert source.block(leaf(content[0])) == content[0]
    node = CID.dag_pb(leaf(content[0]).digest)
    with pytest.raises(BadBlock):
        parse_node(node, source.block(node))


def test_what_is_new_is_seen_when_the_version_says_so(tmp_path: Path) -> None:
    files: list[LocalFile] = []
    versions = iter((1, 1, 2))
    source = EmbeddedSource(lambda: list(files), version=lambda: next(versions))
    (tmp_path / "file").write_bytes(b"content")
    for _ in range(2):
        with pytest.raises(BlockNotFound):
            source.block(leaf(b"content"))
        files = [local(tmp_path / "file")]
    assert source.block(leaf(b"content")) == b"content"


def test_a_leaf_is_found_in_each_file_that_holds_it_and_others_stay_closed(tmp_path: Path) -> None:
    shared, opened = os.urandom(MIB), list[str]()

    def watched(name: str, content: bytes) -> LocalFile:
        (tmp_path / name).write_bytes(content)
        dag = hash_file(tmp_path / name)

        def nodes() -> tuple[Block, ...]:
            opened.append(name)
            return dag.nodes

        return LocalFile(tmp_path / name, dag.cid, dag.size, nodes)

    files = [
        watched("one", shared + bytes(5)),
        watched("two", os.urandom(MIB) + shared),
        *(watched(f"other-{number}", os.urandom(MIB) + bytes(number)) for number in range(1, 9)),
    ]
    source = EmbeddedSource(lambda: files, version=lambda: 1)
    assert source.block(leaf(shared)) == shared
    (tmp_path / "one").write_bytes(bytes(MIB + 5))
    assert source.block(leaf(shared)) == shared
    # Each was looked into once, and only two were read as a whole.
    assert sorted(opened) == sorted([*(file.path.name for file in files), "one", "two"])
    (tmp_path / "two").unlink()
    with pytest.raises(BlockNotFound):
        source.block(leaf(shared))


@pytest.mark.parametrize("profile", [V0_2015, Profile(chunk=50_000, width=3, cid_version=1, raw_leaves=False)])
def test_leaves_of_any_kind_are_found_without_their_root(profile: Profile, tmp_path: Path) -> None:
    store, content = MemoryStore(), os.urandom(600_000)
    dag = store.add_file(content, profile)
    (tmp_path / "file").write_bytes(content)
    file = LocalFile(tmp_path / "file", dag.cid, dag.size, lambda: dag.nodes)
    for found in leaves(dag.cid, store):
        source = EmbeddedSource(lambda: [file], version=lambda: 1)
        assert source.block(found.cid) == store(found.cid)
    for node in dag.nodes:
        assert EmbeddedSource(lambda: [file]).block(node.cid) == node.data
