"""The balanced tree over a file's leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pinformers.ipfs.cid import CID, DAG_PB, SHA2_256, Block
from pinformers.ipfs.dagpb import encode_link, encode_node, file_message


class Profile(NamedTuple):
    """Say how a file becomes a DAG (IPIP-499): the same bytes under another profile have another CID."""

    chunk: int = 1 << 20
    width: int = 1024
    raw_leaves: bool = True
    cid_version: int = 1

    def node(self, block: bytes) -> Block:
        """Name a dag-pb block in this profile's CID version."""
        return Block(CID(self.cid_version, DAG_PB, SHA2_256, hashlib.sha256(block).digest()), block)


UNIXFS_V1_2025 = Profile()
# What Kubo did by default until 0.39: most CIDs of models that people published before us.
V0_2015 = Profile(chunk=1 << 18, width=174, raw_leaves=False, cid_version=0)


class Part(NamedTuple):
    """Stand for a finished subtree: ``size`` bytes of the file in ``dag_size`` bytes of blocks."""

    cid: CID
    size: int
    dag_size: int


_ANY = CID.raw(bytes(32))


class Balanced:
    """Build the inner nodes while leaves arrive, holding one open node a level."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._levels: list[list[Part]] = [[]]
        self._nodes: list[Block] = []

    def add(self, part: Part, level: int = 0) -> None:
        """Append a leaf (or, within, a finished node of the level below)."""
        if level == len(self._levels):
            self._levels.append([])
        # A full node is closed only by its successor: a file of exactly one full node has no second level.
        if len(self._levels[level]) == self._profile.width:
            self._close(level)
        self._levels[level].append(part)

    def finish(self) -> tuple[Part, tuple[Block, ...]]:
        """Return the root and the inner nodes, parents before children; at least one leaf was added."""
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._close(level)
            level += 1
        return self._levels[level][0], tuple(reversed(self._nodes))

    def _close(self, level: int) -> None:
        parts, self._levels[level] = self._levels[level], []
        node, part = _joined(parts, self._profile)
        self._nodes.append(node)
        self.add(part, level + 1)


def dag_size(size: int, profile: Profile = UNIXFS_V1_2025) -> int:
    """Compute how many bytes the blocks of a file of ``size`` bytes take together, in a profile with raw leaves."""
    # Only the last part of a level is not full, so of the full ones a single one is built.
    alike, rest = divmod(size, profile.chunk)
    full = Part(_ANY, profile.chunk, profile.chunk)
    last = Part(_ANY, rest, rest) if rest or not alike else None
    while alike + (last is not None) > 1:
        alike, left = divmod(alike, profile.width)
        tail = [full] * left + ([last] if last is not None else [])
        last = _joined(tail, profile)[1] if tail else None
        full = _joined([full] * profile.width, profile)[1] if alike else full
    return (last or full).dag_size


def _joined(parts: Sequence[Part], profile: Profile) -> tuple[Block, Part]:
    links = (encode_link(part.cid, b"", part.dag_size) for part in parts)
    node = profile.node(encode_node(links, file_message(part.size for part in parts)))
    dag_size = len(node.data) + sum(part.dag_size for part in parts)
    return node, Part(node.cid, sum(part.size for part in parts), dag_size)
