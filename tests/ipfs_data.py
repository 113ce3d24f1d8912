"""Bytes, blocks and folders for the tests of content addressing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pinformers.ipfs import (
    CID,
    UNIXFS_V1_2025,
    Block,
    Directory,
    Entry,
    FileDag,
    FileHasher,
    Profile,
    build_directory,
    hash_file,
)

_MIB = 1 << 20


def keystream(seed: str, size: int) -> Iterator[bytes]:
    """The ChaCha20 keystream of Kubo's test vectors, a MiB at a time."""
    key = np.frombuffer(hashlib.sha256(seed.encode()).digest(), dtype="<u4")
    for start in range(0, size, _MIB):
        count = min(_MIB, size - start)
        yield _chacha20(key, start // 64, -(-count // 64))[:count]


def _chacha20(key: np.ndarray, counter: int, blocks: int) -> bytes:
    state = np.zeros((16, blocks), dtype="<u4")
    state[:4] = np.frombuffer(b"expand 32-byte k", dtype="<u4")[:, None]
    state[4:12] = key[:, None]
    state[12] = np.arange(counter, counter + blocks, dtype=np.uint64).astype("<u4")
    work = state.copy()
    # The four quarter rounds of a half touch different words: rows of words are turned at once.
    rows = np.arange(4)
    for _ in range(10):
        for shift in (0, 1):
            a, b, c, d = (4 * row + (rows + shift * row) % 4 for row in range(4))
            for turn, target, source in ((16, d, b), (12, b, d), (8, d, b), (7, b, d)):
                onto = a if target is d else c
                work[onto] += work[source if target is d else d]
                mixed = work[target] ^ work[onto]
                work[target] = (mixed << np.uint32(turn)) | (mixed >> np.uint32(32 - turn))
    return (work + state).T.astype("<u4").tobytes()


@dataclass
class MemoryStore:
    """Blocks by multihash; a call gives the bytes of a CID and remembers that it was asked."""

    blocks: dict[bytes, bytes] = field(default_factory=dict)
    asked: list[CID] = field(default_factory=list)

    def __call__(self, cid: CID) -> bytes:
        self.asked.append(cid)
        return self.blocks[cid.multihash]

    def put(self, block: bytes | memoryview) -> None:
        self.blocks[b"\x12\x20" + hashlib.sha256(block).digest()] = bytes(block)

    def add_file(self, content: bytes, profile: Profile = UNIXFS_V1_2025) -> FileDag:
        """Store a file's blocks, leaves included."""
        hasher = FileHasher(len(content), self.put, git=True, profile=profile)
        hasher.update(content)
        dag = hasher.finish()
        for node in dag.nodes:
            self.put(node.data)
        return dag

    def add_folder(self, files: Mapping[str, bytes], profile: Profile = UNIXFS_V1_2025) -> Directory:
        """Store a folder's blocks, files included."""
        dags = {path: self.add_file(content, profile) for path, content in files.items()}
        folder = build_directory({path: entry_of(dag) for path, dag in dags.items()})
        for node in folder.nodes:
            self.put(node.data)
        return folder

    def everything(self) -> Iterator[Block]:
        """Every block under a raw CID, as a CAR may name them."""
        for block in self.blocks.values():
            yield Block(CID.raw(hashlib.sha256(block).digest()), block)


def entry_of(dag: FileDag) -> Entry:
    return Entry(dag.cid, dag.size, dag.dag_size)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def hash_folder(folder: Path) -> Directory:
    """What pinformers says of a folder on disk."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return build_directory({path.relative_to(folder).as_posix(): entry_of(hash_file(path)) for path in files})
