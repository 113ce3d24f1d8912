from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipfs_data import MemoryStore, entry_of, keystream
from pinformers._errors import PinError
from pinformers.ipfs import (
    CHUNK,
    CID,
    UNIXFS_V1_2025,
    V0_2015,
    Entry,
    FileHasher,
    Profile,
    build_directory,
    hash_file,
    parse_node,
    unixfs,
)

KIB, MIB = 1 << 10, 1 << 20
big = pytest.mark.skipif("PINFORMERS_TEST_BIG" not in os.environ, reason="hashes a gigabyte")
# Kubo's own test lists: seed of the ChaCha20 keystream, size, CID.
V0_VECTORS = [
    ("chunk-v0-seed", 0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    ("chunk-v0-seed", 262144, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
    ("chunk-v0-seed", 262145, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
    ("v0-seed", 174 * 256 * KIB, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
    ("v0-seed", 174 * 256 * KIB + 1, "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
]
V1_VECTORS = [
    ("chunk-v1-seed", 0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    ("chunk-v1-seed", MIB, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
    ("chunk-v1-seed", MIB + 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
]
V1_BIG_VECTORS = [
    ("v1-2025-seed", 1024 * MIB, "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"),
    ("v1-2025-seed", 1024 * MIB + 1, "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"),
]
VECTORS = [
    *[(V0_2015, *vector) for vector in V0_VECTORS],
    *[(UNIXFS_V1_2025, *vector) for vector in V1_VECTORS],
    *[pytest.param(UNIXFS_V1_2025, *vector, marks=big) for vector in V1_BIG_VECTORS],
]


@pytest.mark.parametrize(("profile", "seed", "size", "cid"), VECTORS)
def test_vectors(profile: Profile, seed: str, size: int, cid: str) -> None:
    hasher = FileHasher(profile=profile)
    for piece in keystream(seed, size):
        hasher.update(piece)
    assert str(hasher.finish().cid) == cid


@pytest.mark.parametrize(
    ("profile", "content", "cid"),
    [
        (V0_2015, b"hello world", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (UNIXFS_V1_2025, b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (UNIXFS_V1_2025, bytes(MIB + 1), "bafybeihd4yzq7n5umhjngdum4r6k2to7egxfkf2jz6thvwzf6djus22cmq"),
    ],
)
def test_vectors_of_plain_text(profile: Profile, content: bytes, cid: str) -> None:
    assert str(MemoryStore().add_file(content, profile).cid) == cid


def test_one_leaf_has_no_nodes_and_is_the_files_sha256() -> None:
    dag = MemoryStore().add_file(b"hello world")
    assert dag.nodes == () and dag.dag_size == dag.size == 11
    assert dag.cid.digest.hex() == dag.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert dag.git_blob == "95d09f2b10159347eece71399a7e2e907ea3df4f"


def test_nodes_come_root_first() -> None:
    dag = MemoryStore().add_file(bytes(100), Profile(chunk=10, width=3))
    assert dag.nodes[0].cid == dag.cid
    assert dag.dag_size == 100 + sum(len(node.data) for node in dag.nodes)
    seen = {dag.cid}
    for node in dag.nodes:
        assert node.cid in seen
        seen |= {link.cid for link in parse_node(node.cid, node.data).links}


def test_leaf_sees_every_block_of_an_unaligned_stream() -> None:
    blocks: list[bytes] = []
    hasher = FileHasher(leaf=lambda block: blocks.append(bytes(block)), profile=Profile(chunk=4))
    buffer = bytearray(3)
    for piece in (b"abc", b"def", b"ghi", b"jkl", b"m  "):
        buffer[:] = piece
        hasher.update(memoryview(buffer)[: len(piece.strip())])
    hasher.finish()
    assert blocks == [b"abcd", b"efgh", b"ijkl", b"m"]


def test_git_needs_the_size() -> None:
    with pytest.raises(ValueError, match="needs the size"):
        FileHasher(git=True)


def test_a_wrong_size_is_no_dag() -> None:
    hasher = FileHasher(3, git=True)
    hasher.update(b"four")
    with pytest.raises(PinError, match="4 bytes: 3 were announced"):
        hasher.finish()


def test_two_threads_agree_with_one() -> None:
    content = os.urandom(5 * CHUNK + 77)
    with ThreadPoolExecutor(1) as pool:
        hasher = FileHasher(len(content), git=True, pool=pool)
        hasher.update(content[:100])
        hasher.update(memoryview(content)[100 : 4 * CHUNK])
        hasher.update(content[4 * CHUNK :])
        assert hasher.finish() == MemoryStore().add_file(content)


def test_a_leaf_that_fails_stops_the_update() -> None:
    def full(block: bytes | memoryview) -> None:
        raise OSError("disk full")

    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="disk full"):
        FileHasher(leaf=full, pool=pool).update(bytes(3 * CHUNK))


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 9 * CHUNK + 5])
def test_hash_file(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "POOL_FROM", 6 * CHUNK)
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    counts: list[int] = []
    assert hash_file(path, git=True, progress=counts.append) == MemoryStore().add_file(content)
    assert sum(counts) == size
    assert hash_file(str(path)).git_blob == ""


def test_hash_file_stops(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(9 * CHUNK))
    counts: list[int] = []
    with pytest.raises(InterruptedError, match="file was stopped"):
        hash_file(path, progress=counts.append, stop=lambda: True)
    assert sum(counts) < 9 * CHUNK


def test_hash_file_notices_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)

    def grow(_: int) -> None:
        if path.stat().st_size == 10:
            with path.open("ab") as file:
                file.write(b"y")

    with pytest.raises(PinError, match="hash it again"):
        hash_file(path, progress=grow)


LEAF = Entry(CID.raw(hashlib.sha256(b"x").digest()), 1, 1)


def test_the_empty_folder() -> None:
    folder = build_directory({})
    assert str(folder.cid) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    assert folder.dag_size == 4


def test_order_does_not_matter_and_equal_folders_are_one_block() -> None:
    files = {f"{folder}/sub/{name}": LEAF for folder in "ab" for name in ("x", "é", "Z")}
    folder = build_directory(files)
    assert folder == build_directory(dict(reversed(files.items())))
    root = parse_node(folder.cid, folder.nodes[0].data)
    assert [link.name for link in root.links] == ["a", "b"]
    assert len(folder.nodes) == 3
    # Kubo counts a block as often as it is linked.
    assert folder.dag_size == len(folder.nodes[0].data) + 2 * root.links[0].dag_size


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a\0b", "a/\ud800", "/".join("a" * 65)])
def test_paths_that_no_folder_holds(path: str) -> None:
    with pytest.raises(PinError):
        build_directory({path: LEAF})


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_a_file_is_no_folder(paths: tuple[str, str]) -> None:
    with pytest.raises(PinError, match="file as well as a folder"):
        build_directory(dict.fromkeys(paths, LEAF))


def test_entry_of_a_big_file() -> None:
    dag = MemoryStore().add_file(bytes(MIB + 1))
    folder = build_directory({"weights": entry_of(dag)})
    assert parse_node(folder.cid, folder.nodes[0].data).links[0].dag_size == dag.dag_size
