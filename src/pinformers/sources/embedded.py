"""The embedded store: any block of any pin, read out of the cached files themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pinformers._errors import BlockMismatch, BlockNotFound
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


class EmbeddedSource:
    """Serve blocks from ``files()``; ``loose()`` are blocks that lie in no file, the nodes of folders.

    The index is built at the first question and again when a block is missing and ``version()`` has changed since.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[LocalFile]],
        loose: Callable[[], Iterable[Block]] = tuple,
        version: Callable[[], object] = object,
        name: str = "embedded",
    ) -> None:
        self.name = name
        self._files, self._loose, self._version = files, loose, version
        self._spans: dict[bytes, list[Span]] = {}
        self._nodes: dict[bytes, bytes] = {}
        self._indexed: object = None

    def block(self, cid: CID) -> bytes:
        """Return the block; raise BlockNotFound when no file here holds it unchanged."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        found = self._read(cid)
        if found is None and self._refresh():
            found = self._read(cid)
        if found is None:
            raise BlockNotFound(self.name, f"no cached file holds the block {cid}")
        return found

    def _read(self, cid: CID) -> bytes | None:
        node = self._nodes.get(cid.digest)
        if node is not None:
            return node
        for span in self._spans.get(cid.digest, ()):
            block = _read_span(span)
            if block is not None and _matches(cid, block):
                return block
        return None

    def _refresh(self) -> bool:
        version = self._version()
        if self._indexed is not None and version == self._indexed:
            return False
        self._indexed = version
        self._spans.clear()
        self._nodes = {block.cid.digest: block.data for block in self._loose()}
        for file in self._files():
            self._index(file)
        return True

    def _index(self, file: LocalFile) -> None:
        inner = {block.cid: block.data for block in file.nodes()}
        self._nodes.update((cid.digest, block) for cid, block in inner.items())
        if file.cid.codec == RAW:
            self._spans.setdefault(file.cid.digest, []).append(Span(file.path, 0, file.size))
        elif file.cid in inner:
            for leaf in leaves(file.cid, inner.__getitem__, size=file.size):
                self._spans.setdefault(leaf.cid.digest, []).append(Span(file.path, leaf.offset, leaf.size))


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
