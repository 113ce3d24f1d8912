"""Follow a path through DAGs, and choose the blocks that a CAR of what lies at its end holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pinformers._errors import BadBlock
from pinformers.ipfs import dagcbor
from pinformers.ipfs.cid import CID, DAG_PB, IDENTITY, RAW, Block
from pinformers.ipfs.dagpb import MAX_DEPTH, Link, Node, _fields, _parse_link, parse_node

DAG_CBOR = 0x71
# Plain CBOR and JSON have no links.
_LEAVES = (RAW, 0x51, 0x0200)
_HASH_BITS = 64

Blocks = Callable[[CID], Block]
"""Delivers a verified block, or raises the source's own error."""

Scope = Literal["block", "entity", "all"]


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``first`` to ``last`` of a file, both included; negative ones count from its end, None is the end."""

    first: int
    last: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Return the half-open range in a file of ``size`` bytes; an empty one where nothing of it is meant."""
        start = max(0, self.first + size) if self.first < 0 else self.first
        if self.last is None:
            return start, size
        return start, min(size, (self.last + size if self.last < 0 else self.last) + 1)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a path leads: ``roots`` has the CID of each segment that was passed, ``end`` is the block at the end.

    ``passed`` are the blocks on the way. Where a segment does not exist, ``missing`` names it, and the blocks prove it.
    """

    roots: tuple[CID, ...]
    passed: tuple[Block, ...]
    end: Block
    missing: str | None = None


def resolve(root: CID, segments: Sequence[str], blocks: Blocks) -> Resolved:
    """Follow ``segments`` from ``root`` through folders, shards and dag-cbor.

    Raises what ``blocks`` raises for a block that is not there, and BadBlock for one that cannot be read.
    """
    roots, passed = [root], list[Block]()
    block, at = blocks(root), 0
    for segment in segments:
        cid: CID | None = None
        if block.cid.codec == DAG_CBOR:
            child = dagcbor.step(block.cid, block.data, at, segment)
            if child is not None:
                at, cid = child, dagcbor.link_at(block.cid, block.data, child)
                if cid is None:
                    continue
        elif block.cid.codec == DAG_PB:
            block, cid = _entry(block, segment, blocks, passed)
        if cid is None:
            return Resolved(tuple(roots), tuple(passed), block, segment)
        passed.append(block)
        roots.append(cid)
        block, at = blocks(cid), 0
    return Resolved(tuple(roots), tuple(passed), block)


def select(found: Resolved, scope: Scope, span: ByteRange | None, blocks: Blocks, *, dups: bool) -> Iterator[Block]:
    """Return a CAR's blocks, depth first; each once, or with ``dups`` as often as it occurs.

    A block with an identity CID is in the block that names it. Raises BadBlock where the links of the end are not
    known; the others are fetched while this is iterated, and what ``blocks`` raises comes then.
    """
    selection = _Selection(blocks, dups)
    below: Iterator[Block] = iter(())
    if found.missing is None and scope == "all":
        below = selection.everything(_links(found.end))
    elif found.missing is None and scope == "entity" and found.end.cid.codec == DAG_PB:
        below = selection.entity(found.end, span)
    return chain(chain.from_iterable(map(selection.once, (*found.passed, found.end))), below)


class _Selection:
    """What of one CAR was sent."""

    def __init__(self, blocks: Blocks, dups: bool) -> None:
        self._blocks, self._dups = blocks, dups
        self._sent: set[bytes] = set()
        # The nodes below which all was sent.
        self._whole: set[bytes] = set()

    def once(self, block: Block) -> Iterable[Block]:
        """Return the block unless it was sent, or must not be."""
        if block.cid.hash_code == IDENTITY or (not self._dups and block.cid.multihash in self._sent):
            return ()
        if not self._dups:
            self._sent.add(block.cid.multihash)
        return (block,)

    def everything(self, links: Iterator[CID]) -> Iterator[Block]:
        """Yield all blocks below some links; a list instead of recursion, because a chain may be of any length."""
        ahead = [links]
        while ahead:
            cid = next(ahead[-1], None)
            if cid is None:
                ahead.pop()
            elif not self._done(cid):
                inner = self._enter(cid)
                yield from self.once(inner)
                ahead.append(_links(inner))

    def entity(self, block: Block, span: ByteRange | None) -> Iterator[Block]:
        """Yield the other blocks of a file, or of a sharded folder; other nodes have none."""
        try:
            node = parse_node(block.cid, block.data)
        except BadBlock:
            # No UnixFS, or a kind that we do not know: the block is all that can be said of it.
            return
        if node.kind == "shard":
            yield from self._shards(block, node, MAX_DEPTH)
        elif node.kind == "file":
            reach = (0, node.file_size) if span is None else span.within(node.file_size)
            if span is None or reach[0] < reach[1]:
                yield from self._parts(block, node, reach, 0, MAX_DEPTH)

    def _shards(self, block: Block, node: Node, depth: int) -> Iterator[Block]:
        _check_depth(block, depth)
        for link in node.links:
            if len(link.name) == _width(node) and not self._done(link.cid):
                inner = self._enter(link.cid)
                yield from self.once(inner)
                yield from self._shards(inner, parse_node(inner.cid, inner.data), depth - 1)

    def _parts(self, block: Block, node: Node, reach: tuple[int, int], offset: int, depth: int) -> Iterator[Block]:
        _check_depth(block, depth)
        if node.kind not in ("file", "raw"):
            raise BadBlock(str(block.cid), "a folder stands where a part of a file should be")
        offset += len(node.data)
        for link, size in zip(node.links, node.block_sizes, strict=True):
            start, offset = offset, offset + size
            inside = reach[0] <= start and offset <= reach[1]
            if not inside and (offset <= reach[0] or reach[1] <= start):
                continue
            if self._done(link.cid):
                continue
            inner = self._enter(link.cid, whole=inside)
            yield from self.once(inner)
            if link.cid.codec == DAG_PB:
                yield from self._parts(inner, parse_node(inner.cid, inner.data), reach, start, depth - 1)

    def _done(self, cid: CID) -> bool:
        if self._dups:
            return False
        return cid.multihash in self._sent if cid.codec == RAW else cid.to_bytes() in self._whole

    def _enter(self, cid: CID, *, whole: bool = True) -> Block:
        if whole and not self._dups and cid.codec != RAW:
            self._whole.add(cid.to_bytes())
        return self._blocks(cid)


def _check_depth(block: Block, depth: int) -> None:
    if not depth:
        raise BadBlock(str(block.cid), f"it lies deeper than {MAX_DEPTH} levels")


def _entry(block: Block, name: str, blocks: Blocks, passed: list[Block]) -> tuple[Block, CID | None]:
    """Return the link of a folder's entry, and the block that has it, or proves that there is none."""
    try:
        node = parse_node(block.cid, block.data)
    except BadBlock:
        # A link of UnixFS, say: nothing lies below it.
        return block, None
    if node.kind == "shard":
        return _sharded(block, node, name, blocks, passed)
    links = node.links if node.kind == "directory" else ()
    return block, next((link.cid for link in links if link.name == name), None)


def _sharded(block: Block, node: Node, name: str, blocks: Blocks, passed: list[Block]) -> tuple[Block, CID | None]:
    # deferred: as in hamt.py.
    import mmh3

    hashed = mmh3.hash64(name.encode("utf-8", "replace"), seed=0, x64arch=True, signed=False)[0]
    left = _HASH_BITS
    while True:
        bits, width = node.fanout.bit_length() - 1, _width(node)
        left -= bits
        if left < 0:
            return block, None
        prefix = f"{hashed >> left & (node.fanout - 1):0{width}X}"
        link = _slot(node.links, prefix)
        if link is None or len(link.name) > width:
            return block, link.cid if link is not None and link.name[width:] == name else None
        passed.append(block)
        block = blocks(link.cid)
        node = parse_node(block.cid, block.data)
        if node.kind != "shard":
            raise BadBlock(str(block.cid), "it stands where a shard of a folder should be")


def _slot(links: Sequence[Link], prefix: str) -> Link | None:
    return next((link for link in links if link.name.startswith(prefix)), None)


def _width(node: Node) -> int:
    return len(f"{node.fanout - 1:X}")


def _links(block: Block) -> Iterator[CID]:
    cid = block.cid
    if cid.codec in _LEAVES:
        return iter(())
    if cid.codec == DAG_PB:
        return _dag_pb_links(block)
    if cid.codec == DAG_CBOR:
        return dagcbor.links(cid, block.data)
    raise BadBlock(str(cid), f"the links of the codec {cid.codec:#x} are not known here; ask for single blocks")


def _dag_pb_links(block: Block) -> Iterator[CID]:
    # Not by parse_node: whatever dag-pb it is, UnixFS or not, its links belong to the DAG.
    try:
        for number, content in _fields(block.data):
            if number == 2 and isinstance(content, bytes):
                yield _parse_link(content).cid
    except ValueError as exc:
        raise BadBlock(str(block.cid), str(exc)) from exc
