"""The embedded store: any block of any pin, read out of the cached files themselves."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from pinformers._errors import BadContent, BlockMismatch, BlockNotFound
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.cid import CID, IDENTITY, RAW, Block
from pinformers.ipfs.dag import known_leaves
from pinformers.ipfs.dagpb import encode_leaf

# The hash in each link of a node, behind the length of a CID of version 0, or of version 1 and its codec. 100 GiB of
# models are looked through in 0.1 s so; to read their nodes takes 1.4 s, and most hold nothing that is asked for.
_HASHES = re.compile(rb"\x0a[\x22\x24](?:\x01.)?\x12\x20(?=(.{32}))", re.DOTALL)


class LocalFile(NamedTuple):
    """A file on this disk that is known to be ``cid``; ``nodes`` loads the inner blocks of its DAG."""

    path: Path
    cid: CID
    size: int
    nodes: Callable[[], tuple[Block, ...]]


class Span(NamedTuple):
    """Where a leaf's bytes lie; the block of a ``wrapped`` one is a node around them."""

    path: Path
    offset: int
    size: int
    wrapped: bool = False


class Index:
    """What the files hold: ``closed`` files by their root, and the blocks of those that were opened.

    ``above`` names the roots of the closed files in which a block may lie, once it was asked for any. ``nodes`` go by
    their multihash: they are given as they are, and a digest of another hash is another block.
    """

    def __init__(self, nodes: dict[bytes, bytes] | None = None) -> None:
        self.closed: dict[bytes, list[LocalFile]] = {}
        self.above: dict[bytes, tuple[bytes, ...]] | None = None
        self.spans: dict[bytes, list[Span]] = {}
        self.nodes = nodes or {}

    def open(self, digest: bytes) -> bool:
        """Take in the blocks of the files whose root this is; says whether there were any."""
        files = self.closed.pop(digest, [])
        for file in files:
            self._take(file)
        return bool(files)

    def open_above(self, digest: bytes) -> None:
        """Take in the blocks of the files that seem to hold this one."""
        if self.above is None:
            self.above = {}
            for root in list(self.closed):
                self._look_into(root, self.above)
        for root in self.above.get(digest, ()):
            self.open(root)

    def _look_into(self, root: bytes, above: dict[bytes, tuple[bytes, ...]]) -> None:
        # Files with one root have one DAG. One tuple for all its blocks: there may be a million.
        file, alone = self.closed[root][0], (root,)
        for node in file.nodes() if file.cid.codec != RAW else ():
            for digest in _HASHES.findall(node.data):
                known = above.setdefault(digest, alone)
                if root not in known:
                    above[digest] = (*known, root)

    def _take(self, file: LocalFile) -> None:
        if file.cid.codec == RAW:
            self.spans.setdefault(file.cid.digest, []).append(Span(file.path, 0, file.size))
            return
        inner = {block.cid: block.data for block in file.nodes()}
        try:
            found = list(known_leaves(file.cid, file.size, inner))
        except BadContent:
            # The kept nodes are not those of this file: `pinformers verify` writes them again.
            return
        self.nodes.update((cid.multihash, block) for cid, block in inner.items())
        for leaf in found:
            span = Span(file.path, leaf.offset, leaf.size, leaf.wrapped)
            self.spans.setdefault(leaf.cid.digest, []).append(span)


Found = tuple[bytes | None, tuple[Span, ...]]
# Size, mtime and inode: while they stay, a file is what it was, as for any hit.
Stat = tuple[int, int, int]


class EmbeddedSource:
    """Serve blocks from ``files()``; ``loose()`` are blocks that lie in no file, the nodes of folders.

    A file is opened when its root is asked for, as whoever fetches it does first, or a block that seems to lie in it.
    The index is built at the first question and again when something is missing and ``version()`` changed. With
    ``remember``, a block that was hashed is not hashed again while its file's size, mtime and inode stay: for whoever
    serves others, who hash it themselves.
    """

    local = True
    proves = True

    def __init__(
        self,
        files: Callable[[], Iterable[LocalFile]],
        loose: Callable[[], Iterable[Block]] = tuple,
        version: Callable[[], object] = object,
        name: str = "embedded",
        *,
        remember: bool = False,
    ) -> None:
        self.name, self._remember, self._buffers = name, remember, Buffers() if remember else None
        self._files, self._loose, self._version = files, loose, version
        self._lock = threading.Lock()
        self._index = Index()
        self._indexed: object = None
        # What was hashed here, by the file as it was then.
        self._proved: dict[tuple[Path, Stat], set[tuple[bytes, int]]] = {}

    def block(self, cid: CID) -> bytes:
        """Return the block; raise BlockNotFound when no file here holds it unchanged."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        tried = set[Span]()
        for look in (self._opened, self._everywhere, self._anew, self._everywhere):
            # The lock is for the index alone: threads read at the same time.
            with self._lock:
                node, spans = look(cid)
            block = node if node is not None else self._read(cid, [span for span in spans if span not in tried])
            if block is not None:
                return block
            tried.update(spans)
        raise BlockNotFound(self.name, f"no cached file holds the block {cid}")

    def _opened(self, cid: CID) -> Found:
        self._index.open(cid.digest)
        return self._index.nodes.get(cid.multihash), tuple(self._index.spans.get(cid.digest, ()))

    def _everywhere(self, cid: CID) -> Found:
        self._index.open_above(cid.digest)
        return self._opened(cid)

    def _anew(self, cid: CID) -> Found:
        return self._opened(cid) if self._refresh() else (None, ())

    def _read(self, cid: CID, spans: Iterable[Span]) -> bytes | None:
        for span in spans:
            found = _read_span(span, cid, self._buffers)
            if found is None:
                continue
            block, stat = found
            # Whoever serves a fleet reads each block many times, and hashing costs more than all the rest together.
            proved = self._proved.setdefault((span.path, stat), set()) if self._remember else set()
            what = cid.multihash, span.offset
            if what in proved:
                return block
            try:
                cid.verify(block)
            except BlockMismatch:
                # The file changed under its name; another file may still hold the block.
                continue
            proved.add(what)
            return block
        return None

    def _refresh(self) -> bool:
        version = self._version()
        if self._indexed is not None and version == self._indexed:
            return False
        self._indexed = version
        self._index = Index(nodes={block.cid.multihash: block.data for block in self._loose()})
        for file in self._files():
            self._index.closed.setdefault(file.cid.digest, []).append(file)
        return True


def _read_span(span: Span, cid: CID, buffers: Buffers | None) -> tuple[bytes, Stat] | None:
    try:
        with open(span.path, "rb", buffering=0) as stream:
            before = _stat(stream)
            stream.seek(span.offset)
            # Asked for as a node, the same bytes are parsed, and what is parsed is remembered by them.
            lent = buffers if cid.codec == RAW else None
            block = stream.read(span.size) if lent is None else lent.read(stream, span.size)
            after = _stat(stream)
    except OSError:
        return None
    if len(block) != span.size or before != after:
        return None
    return encode_leaf(block, cid) if span.wrapped else block, after


def _stat(stream: FileIO) -> Stat:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ino
