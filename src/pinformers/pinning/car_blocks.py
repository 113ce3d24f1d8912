"""The blocks of one CAR file that is being imported: as they came, and cut anew where others cut them otherwise."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BlockNotFound
from pinformers.ipfs.car import read_car
from pinformers.ipfs.cid import CID, IDENTITY
from pinformers.ipfs.dag import Leaf, known_leaves, read_file, read_parts
from pinformers.ipfs.tensors import Chunking, leaf_sizes
from pinformers.ipfs.unixfs import FileDag, FileHasher
from pinformers.pinning.archive import Progress


class CarBlocks:
    """A source of the blocks of one CAR, all verified when it was read; they lie in ``spool``, or in the CAR itself."""

    name = "car"
    local = True

    def __init__(self, stream: BinaryIO, spool: BinaryIO | None, progress: Progress) -> None:
        self._file, self._lock = spool or stream, threading.Lock()
        self._spans: dict[bytes, tuple[int, int]] = {}
        self.roots, blocks = read_car(stream)
        for block in blocks:
            if spool is not None and block.cid.multihash not in self._spans:
                spool.write(block.data)
            # Behind a frame that was read, as well as behind a block that was written, stands the block's end.
            span = self._file.tell() - len(block.data), len(block.data)
            self._spans.setdefault(block.cid.multihash, span)
            progress(len(block.data))

    def size(self, cid: CID) -> int:
        """Return a block's size; raises BlockNotFound."""
        if cid.hash_code == IDENTITY:
            return len(cid.digest)
        if cid.multihash not in self._spans:
            raise BlockNotFound(self.name, f"it is incomplete, the block {cid} is missing")
        return self._spans[cid.multihash][1]

    def block(self, cid: CID) -> bytes:
        """Return the block; raises BlockNotFound."""
        size = self.size(cid)
        if cid.hash_code == IDENTITY:
            return cid.digest
        with self._lock:
            self._file.seek(self._spans[cid.multihash][0])
            return self._file.read(size)


def spool(stream: BinaryIO, folder: Path) -> AbstractContextManager[BinaryIO | None]:
    """Return a nameless file for the blocks of a pipe; a file on a disk needs none.

    Without a name nothing of it can stay, however the process ends.
    """
    try:
        in_place = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except io.UnsupportedOperation:
        in_place = False
    if in_place:
        return nullcontext(None)
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


class Recut:
    """Files of others in blocks of ours, read out of theirs where they lie; where both are the same, the blocks."""

    name = "car"
    local = True

    def __init__(self, blocks: CarBlocks, progress: Progress, chunking: Chunking = "fixed") -> None:
        self._blocks, self._progress, self._chunking = blocks, progress, chunking
        self._nodes: dict[CID, bytes] = {}
        self._leaves: dict[CID, tuple[CID, Leaf]] = {}

    def add(self, cid: CID, size: int) -> FileDag:
        """Hash a file, and learn where in it our leaves lie."""
        tensors = self._chunking == "tensors"
        sizes = leaf_sizes(read_file(cid, self._blocks.block), size) if tensors else None
        hasher = FileHasher(size, git=True, sizes=sizes)
        for piece in read_file(cid, self._blocks.block):
            hasher.update(piece)
            self._progress(len(piece))
        dag = hasher.finish()
        inner = {node.cid: node.data for node in dag.nodes}
        self._nodes.update(inner)
        if dag.cid != cid:
            for leaf in known_leaves(dag.cid, dag.size, inner):
                self._leaves.setdefault(leaf.cid, (cid, leaf))
        return dag

    def block(self, cid: CID) -> bytes:
        """Return one of our blocks."""
        if cid in self._nodes:
            return self._nodes[cid]
        if cid not in self._leaves:
            return self._blocks.block(cid)
        file, leaf = self._leaves[cid]
        block = bytearray()
        for part, piece in read_parts(file, self._blocks.block, start=leaf.offset):
            block += piece[max(0, leaf.offset - part.offset) :]
            if len(block) >= leaf.size:
                break
        return bytes(block[: leaf.size])
