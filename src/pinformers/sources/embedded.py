"""The embedded store: any block of any pin, read out of the cached files themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pinformers._errors import BadContent, BlockMismatch, BlockNotFound
from pinformers.ipfs.cid import CID, IDENTITY, RAW, Block
from pinformers.ipfs.dag import leaves


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this disk that is known to be ``cid``; ``nodes`` loads the inner blocks of its DAG."""

    path: Path
    cid: CID
    size: int
    nodes: Callable[[], tuple[Block, ...]]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a leaf's bytes lie."""

    path: Path
    offset: int
    size: int


@dataclass(slots=True)
class Index:
    """What the files hold: ``closed`` files by their root, and the blocks of those that were opened."""

    closed: dict[bytes, list[LocalFile]] = field(default_factory=dict)
    spans: dict[bytes, list[Span]] = field(default_factory=dict)
    nodes: dict[bytes, bytes] = field(default_factory=dict)

    def open(self, digest: bytes) -> bool:
        """Take in the blocks of the files whose root this is; says whether there were any."""
        files = self.closed.pop(digest, [])
        for file in files:
            self._take(file)
        return bool(files)

    def _take(self, file: LocalFile) -> None:
        if file.cid.codec == RAW:
            self.spans.setdefault(file.cid.digest, []).append(Span(file.path, 0, file.size))
            return
        inner = {block.cid: block.data for block in file.nodes()}
        try:
            found = list(leaves(file.cid, inner.__getitem__, size=file.size))
        except (BadContent, KeyError):
            # The kept nodes are not those of this file: `pinformers verify` writes them again.
            return
        self.nodes.update((cid.digest, block) for cid, block in inner.items())
        for leaf in found:
            self.spans.setdefault(leaf.cid.digest, []).append(Span(file.path, leaf.offset, leaf.size))


class EmbeddedSource:
    """Serve blocks from ``files()``; ``loose()`` are blocks that lie in no file, the nodes of folders.

    A file is opened when its root is asked for, as whoever fetches it does first; all are when a block is not found
    otherwise. The index is built at the first question and again when something is missing and ``version()`` changed.
    """

    local = True

    def __init__(
        self,
        files: Callable[[], Iterable[LocalFile]],
        loose: Callable[[], Iterable[Block]] = tuple,
        version: Callable[[], object] = object,
        name: str = "embedded",
    ) -> None:
        self.name = name
        self._files, self._loose, self._version = files, loose, version
        self._lock = threading.Lock()
        self._index = Index()
        self._indexed: object = None

    def block(self, cid: CID) -> bytes:
        """Return the block; raise BlockNotFound when no file here holds it unchanged."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        with self._lock:
            found = self._look(cid)
            if found is None and self._refresh():
                found = self._look(cid)
        if found is None:
            raise BlockNotFound(self.name, f"no cached file holds the block {cid}")
        return found

    def _look(self, cid: CID) -> bytes | None:
        self._index.open(cid.digest)
        found = self._read(cid)
        if found is None and self._index.closed:
            for digest in list(self._index.closed):
                self._index.open(digest)
            found = self._read(cid)
        return found

    def _read(self, cid: CID) -> bytes | None:
        node = self._index.nodes.get(cid.digest)
        if node is not None:
            return node
        for span in self._index.spans.get(cid.digest, ()):
            block = _read_span(span)
            if block is not None and _matches(cid, block):
                return block
        return None

    def _refresh(self) -> bool:
        version = self._version()
        if self._indexed is not None and version == self._indexed:
            return False
        self._indexed = version
        self._index = Index(nodes={block.cid.digest: block.data for block in self._loose()})
        for file in self._files():
            self._index.closed.setdefault(file.cid.digest, []).append(file)
        return True


def _read_span(span: Span) -> bytes | None:
    try:
        with open(span.path, "rb", buffering=0) as stream:
            stream.seek(span.offset)
            block = stream.read(span.size)
    except OSError:
        return None
    return block if len(block) == span.size else None


def _matches(cid: CID, block: bytes) -> bool:
    try:
        cid.verify(block)
    except BlockMismatch:
        # The file changed under its name; another file may still hold the block.
        return False
    return True
