"""Walk DAGs that untrusted sources deliver; every block that is read here is verified here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pinformers._errors import BadBlock, BlockMismatch
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.cid import CID, IDENTITY, RAW
from pinformers.ipfs.dagpb import MAX_BLOCK, MAX_DEPTH, Link, Node, encode_leaf, parse_node

if TYPE_CHECKING:
    from pinformers.ipfs.buffers import Readable

Fetch = Callable[[CID], bytes]
"""Delivers a block's bytes, true or not, or raises the source's own error."""

# The entries of one walk. A folder that holds the same folder twice, and that 64 levels deep, is a few kilobytes
# of honest blocks and 2**64 paths.
MAX_ENTRIES = 1 << 20
# So many leaves that stand side by side are asked for together.
RUN = 8

_FOLDERS = ("directory", "shard")


class Leaf(NamedTuple):
    """Place ``size`` bytes of a file at ``offset``; a ``wrapped`` leaf's block holds them as ``parse_node().data``."""

    cid: CID
    offset: int
    size: int
    wrapped: bool = False


class Run(NamedTuple):
    """Raw leaves that stand side by side below ``node``, from whose first byte on their offsets count.

    Their bytes are read into ``buffers``.
    """

    node: CID
    leaves: tuple[Leaf, ...]
    buffers: Buffers

    @property
    def first(self) -> int:
        """The offset of their first byte."""
        return self.leaves[0].offset

    @property
    def last(self) -> int:
        """The offset of their last byte."""
        return self.leaves[-1].offset + self.leaves[-1].size - 1


Runs = Callable[[Run], Iterator[tuple[CID, bytes]]]
"""Delivers those leaves of a run, verified, that come together at less cost than one by one; perhaps none."""


def read_block(cid: CID, fetch: Fetch, *, verified: bool = False) -> bytes:
    """Fetch one block and verify it, unless ``fetch`` has; an identity CID holds its block itself."""
    if cid.hash_code == IDENTITY:
        return cid.digest
    block = fetch(cid)
    if len(block) > MAX_BLOCK:
        raise BadBlock(str(cid), f"it has {len(block)} bytes, and no block has more than {MAX_BLOCK}")
    if not verified:
        cid.verify(block)
    return block


def leaves(root: CID, fetch: Fetch, *, start: int = 0, size: int | None = None) -> Iterator[Leaf]:
    """Find the blocks that hold a file's bytes from ``start`` on, in order, without fetching the raw ones.

    ``size`` is the file's size where it is known: it is checked, and a file of a single raw block then needs no
    fetch. Raises BadBlock where a node contradicts the one above it.
    """
    if root.codec == RAW and size is not None:
        if start < size:
            yield Leaf(root, 0, size)
        return
    node = _read_root(root, fetch, size)
    for leaf, _ in _FileWalk(fetch, start).below(root, node, 0, MAX_DEPTH):
        yield leaf


def known_leaves(
    root: CID, size: int, inner: Mapping[CID, bytes], *, offset: int = 0, depth: int = MAX_DEPTH
) -> Iterator[Leaf]:
    """Find a file's leaves out of its ``inner`` blocks alone: what is not among them is a leaf, raw or wrapped.

    Nothing is verified. Raises BadBlock where a block is missing that is too big for a leaf.
    """
    if not depth:
        raise BadBlock(str(root), f"the file's tree is deeper than {MAX_DEPTH} levels")
    block = root.digest if root.hash_code == IDENTITY else inner.get(root)
    if root.codec == RAW or block is None:
        if size > MAX_BLOCK:
            raise BadBlock(str(root), f"of {size} bytes of the file the inner blocks are not here")
        yield Leaf(root, offset, size, root.codec != RAW)
        return
    node = _part_node(root, parse_node(root, block))
    if node.data:
        yield Leaf(root, offset, len(node.data), True)
    offset += len(node.data)
    for link, part in zip(node.links, node.block_sizes, strict=True):
        if part:
            yield from known_leaves(link.cid, part, inner, offset=offset, depth=depth - 1)
        offset += part


def leaf_block(leaf: Leaf, piece: bytes, inner: Mapping[CID, bytes]) -> bytes | None:
    """Return the block that a leaf's bytes make; None where they lie in one of the ``inner`` blocks, or in the CID.

    Raises BlockMismatch where they are other bytes.
    """
    node = leaf.cid.digest if leaf.cid.hash_code == IDENTITY else inner.get(leaf.cid)
    if node is not None:
        if parse_node(leaf.cid, node).data != piece:
            raise BlockMismatch(str(leaf.cid))
        return None
    block = encode_leaf(piece, leaf.cid) if leaf.wrapped else piece
    leaf.cid.verify(block)
    return block


def read_file(root: CID, fetch: Fetch) -> Iterator[bytes]:
    """Read a file's verified bytes in order, a leaf at a time."""
    for _, piece in read_parts(root, fetch):
        yield piece


def read_parts(
    root: CID, fetch: Fetch, *, start: int = 0, size: int | None = None, verified: bool = False
) -> Iterator[tuple[Leaf, bytes]]:
    """Read the leaves that end behind ``start``, in order, each with its verified bytes; ``size`` as in ``leaves``.

    Of a ``fetch`` that returns ``verified`` blocks alone, the leaves are not hashed again.
    """
    if root.codec == RAW and size is not None:
        parts: Iterator[tuple[Leaf, bytes | None]] = (
            (leaf, None) for leaf in leaves(root, fetch, start=start, size=size)
        )
    else:
        parts = _FileWalk(fetch, start).below(root, _read_root(root, fetch, size), 0, MAX_DEPTH)
    for leaf, piece in parts:
        yield leaf, read_leaf(leaf, fetch, verified=verified) if piece is None else piece


def read_leaf(leaf: Leaf, fetch: Fetch, *, verified: bool = False) -> bytes:
    """Read the bytes of one leaf; raises BadBlock when they are not as many as the node above says."""
    piece = parse_node(leaf.cid, read_block(leaf.cid, fetch, verified=verified)).data
    if len(piece) != leaf.size:
        raise BadBlock(str(leaf.cid), f"it holds {len(piece)} bytes and the node above it says {leaf.size}")
    return piece


def read_run(run: Run, stream: Readable) -> Iterator[tuple[CID, bytes]]:
    """Read the verified leaves of a run out of a stream of the file's bytes, and then its end.

    Raises BlockMismatch, or BadCID, for the first that is not what the stream has.
    """
    for leaf in run.leaves:
        piece = run.buffers.read(stream, leaf.size)
        leaf.cid.verify(piece)
        yield leaf.cid, piece
    # A connection whose answer was not read to its end is of no more use.
    stream.readinto(memoryview(bytearray(1)))


def list_directory(root: CID, fetch: Fetch) -> dict[str, Link]:
    """List one folder, basic or sharded; raises BadBlock for what is no folder or has an unsafe name."""
    return _list(root, _read_folder(root, fetch), fetch)


def walk_directory(root: CID, fetch: Fetch) -> Iterator[tuple[str, CID, int]]:
    """Find every file below a folder as its relative POSIX path, CID and size.

    The size of a file that is a single raw block is the publisher's word until its leaf is read.
    """
    yield from _FolderWalk(fetch).below("", root, _read_folder(root, fetch), MAX_DEPTH)


def _read_root(root: CID, fetch: Fetch, size: int | None) -> Node:
    node = _read_node(root, fetch)
    if size not in (None, node.file_size):
        raise BadBlock(str(root), f"the file has {node.file_size} bytes instead of {size}")
    return node


def _read_node(cid: CID, fetch: Fetch) -> Node:
    return parse_node(cid, read_block(cid, fetch))


def _read_folder(cid: CID, fetch: Fetch) -> Node:
    node = _read_node(cid, fetch)
    if node.kind not in _FOLDERS:
        raise BadBlock(str(cid), "it is a file, not a folder")
    return node


def _part_node(cid: CID, node: Node) -> Node:
    if node.kind in _FOLDERS:
        raise BadBlock(str(cid), "a folder stands where a part of a file should be")
    return node


class _FileWalk(NamedTuple):
    """Find the leaves that end behind ``start``; with their bytes where the walk had to read them."""

    fetch: Fetch
    start: int

    def below(self, cid: CID, node: Node, offset: int, depth: int) -> Iterator[tuple[Leaf, bytes | None]]:
        _part_node(cid, node)
        if not depth:
            raise BadBlock(str(cid), f"the file's tree is deeper than {MAX_DEPTH} levels")
        # Old trickle DAGs keep bytes in inner nodes as well, before those of the children.
        if node.data and offset + len(node.data) > self.start:
            yield Leaf(cid, offset, len(node.data), node.kind == "file"), node.data
        offset += len(node.data)
        for link, size in zip(node.links, node.block_sizes, strict=True):
            # Empty parts are skipped unread: a tower of nodes that hold nothing would be walked for ever.
            if size and offset + size > self.start:
                yield from self._part(link.cid, size, offset, depth - 1)
            offset += size

    def _part(self, cid: CID, size: int, offset: int, depth: int) -> Iterator[tuple[Leaf, bytes | None]]:
        if cid.codec == RAW:
            yield Leaf(cid, offset, size), None
            return
        node = _read_node(cid, self.fetch)
        if node.file_size != size:
            raise BadBlock(str(cid), f"it holds {node.file_size} bytes and the node above it says {size}")
        yield from self.below(cid, node, offset, depth)


def _list(cid: CID, node: Node, fetch: Fetch) -> dict[str, Link]:
    found: dict[str, Link] = {}
    links = node.links if node.kind == "directory" else _shard_links(cid, node, fetch, MAX_DEPTH)
    for link in links:
        if link.name in ("", ".", "..") or "/" in link.name or "\0" in link.name:
            raise BadBlock(str(cid), f"the folder holds the unsafe name {link.name!r}")
        if link.name in found:
            raise BadBlock(str(cid), f"the folder holds the name {link.name!r} twice")
        found[link.name] = link
    return found


def _shard_links(cid: CID, node: Node, fetch: Fetch, depth: int) -> Iterator[Link]:
    # An empty shard below the root could stand 256 times in each of 64 levels. With a name in each, the second
    # visit to the same shard shows as a doubled name.
    if not depth or (not node.links and depth < MAX_DEPTH):
        raise BadBlock(str(cid), "the shards of the folder are empty or too deep")
    width = len(f"{node.fanout - 1:X}")
    for link in node.links:
        if len(link.name) > width:
            yield Link(link.name[width:], link.cid, link.dag_size)
            continue
        inner = _read_node(link.cid, fetch)
        if len(link.name) < width or inner.kind != "shard" or inner.fanout != node.fanout:
            raise BadBlock(str(cid), f"the shard's link {link.name!r} is malformed")
        yield from _shard_links(link.cid, inner, fetch, depth - 1)


class _FolderWalk:
    """Find the files below a folder, within the budget of entries that one walk has."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch, self._left = fetch, MAX_ENTRIES

    def below(self, prefix: str, cid: CID, node: Node, depth: int) -> Iterator[tuple[str, CID, int]]:
        if not depth:
            raise BadBlock(str(cid), f"the folders lie deeper than {MAX_DEPTH} levels")
        found = _list(cid, node, self._fetch)
        self._left -= len(found)
        if self._left < 0:
            raise BadBlock(str(cid), f"the folder has more than {MAX_ENTRIES} entries")
        for name, link in found.items():
            if link.cid.codec == RAW:
                yield prefix + name, link.cid, link.dag_size
                continue
            inner = _read_node(link.cid, self._fetch)
            if inner.kind in _FOLDERS:
                yield from self.below(f"{prefix}{name}/", link.cid, inner, depth - 1)
            else:
                yield prefix + name, link.cid, inner.file_size
