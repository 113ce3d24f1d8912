"""What a source is, and how several are asked in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pinformers._errors import BlockMismatch, SourceError
from pinformers.ipfs.cid import CID


class Source(Protocol):
    """Anything that yields blocks by CID."""

    @property
    def name(self) -> str:
        """A short name for ``explain`` and log lines."""

    @property
    def local(self) -> bool:
        """Whether it answers from this machine alone: only such are asked under ``local_files_only``."""

    def block(self, cid: CID) -> bytes:
        """Return what it says is the block; raise SourceUnavailable or BlockNotFound when it has none."""


class Chain:
    """Ask sources in their order, block by block; the next one goes on where the last one failed.

    A source that sent a wrong block is not asked again by this chain. ``served`` counts blocks by source name.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self.failures: dict[str, str] = {}
        self.served: dict[str, int] = {}

    def fetch(self, cid: CID) -> bytes:
        """Return the verified block; raise SourceError naming what was tried when nobody has it."""
        for source in list(self._sources):
            try:
                block = source.block(cid)
                cid.verify(block)
            except SourceError as exc:
                self.failures[source.name] = exc.reason
            except BlockMismatch as exc:
                self.failures[source.name] = str(exc).rstrip(".")
                self._sources.remove(source)
            except Exception as exc:
                # A plug-in is code of others: whatever it raises is its failure, not the load's.
                self.failures[source.name] = f"{type(exc).__name__}: {exc}"
                self._sources.remove(source)
            else:
                self.served[source.name] = self.served.get(source.name, 0) + 1
                return block
        raise SourceError(", ".join(self.failures) or "(none configured)", self.tried)

    @property
    def tried(self) -> str:
        """What was tried and why it failed, for a person."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.failures.items()) or "no source was asked"
