"""What a source is, and how several are asked in turn."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from pinformers._errors import BlockMismatch, SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import Run, Runs


class Source(Protocol):
    """Anything that yields blocks by CID. Several threads ask it at once."""

    @property
    def name(self) -> str:
        """A short name for ``explain`` and log lines."""

    @property
    def local(self) -> bool:
        """Whether it answers from this machine alone: only such are asked under ``local_files_only``."""

    def block(self, cid: CID) -> bytes:
        """Return what it says is the block, within a limit of time of its own.

        Raises BlockNotFound where it does not have this one, SourceUnavailable where asking for others is in vain too.
        """


_BUILDING = threading.RLock()


def _forked() -> None:
    # The thread that held it is not in the child.
    global _BUILDING
    _BUILDING = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Lazy:
    """A source that is built when it is first asked: a load that needs none imports no network client.

    One that nobody named, and that is looked for all the same, is not ``expected``: its absence is no news. Of one that
    ``proves``, the chain takes the word that it has verified a block already: our own, and never a plug-in.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Source],
        *,
        local: bool = False,
        expected: bool = True,
        proves: bool = False,
    ) -> None:
        self.name, self.local, self.expected, self.proves = name, local, expected, proves
        self._build = build
        self._built: Source | None = None

    def block(self, cid: CID) -> bytes:
        """Ask the source."""
        return self.built.block(cid)

    def run(self, run: Run) -> Iterator[tuple[CID, bytes]]:
        """Ask the source for those blocks of a run that it can deliver together."""
        return _together(self.built, run)

    @property
    def built(self) -> Source:
        """The source itself."""
        # One at a time, of all: two threads that import urllib3 by different doors each find half of it.
        with _BUILDING:
            if self._built is None:
                self._built = self._build()
            return self._built


class Chain:
    """Ask sources in their order, block by block; the next one goes on where the last one failed.

    A source that sent a wrong block, or is unavailable, is ``dropped``: not asked again by this chain. ``served``
    counts blocks by source name. Several threads may fetch at once.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._names = [source.name for source in sources]
        # Whoever has named one hears nothing of one that was looked for by itself and is not there.
        elsewhere = [source for source in sources if not getattr(source, "local", False)]
        self._named = any(getattr(source, "expected", True) for source in elsewhere)
        self._lock = threading.Lock()
        self.failures: dict[str, str] = {}
        self.dropped: list[str] = []
        self.served: dict[str, int] = {}

    def fetch(self, cid: CID) -> bytes:
        """Return the verified block; raise SourceError naming what was tried when nobody has it."""
        for source in list(self._sources):
            try:
                block = source.block(cid)
                if not getattr(source, "proves", False):
                    block = bytes(block)
                    cid.verify(block)
            except SourceUnavailable as exc:
                self._failed(source, exc.reason, drop=True)
            except SourceError as exc:
                self._failed(source, exc.reason, drop=False)
            except BlockMismatch as exc:
                self._failed(source, str(exc).rstrip("."), drop=True)
            except Exception as exc:
                # A plug-in is code of others: whatever it raises is its failure, not the load's.
                self._failed(source, f"{type(exc).__name__}: {exc}", drop=True)
            else:
                self._serves(source)
                return block
        raise SourceError(", ".join(self.failures) or "(none configured)", self.tried)

    def run(self, run: Run) -> Iterator[tuple[CID, bytes]]:
        """Yield the verified blocks of a run that come together; the others are for ``fetch``, and failures with them.

        Ours alone are asked: the store on this machine, and where it has none of them the next source.
        """
        for source in list(self._sources):
            if not getattr(source, "proves", False):
                return
            local, delivered = getattr(source, "local", False), False
            for cid, block in _held(source, run) if local else _together(source, run):
                delivered = True
                self._serves(source)
                yield cid, block
            if delivered or not local:
                return

    def _serves(self, source: Source) -> None:
        with self._lock:
            self.served[source.name] = self.served.get(source.name, 0) + 1

    def _failed(self, source: Source, reason: str, *, drop: bool) -> None:
        expected = getattr(source, "expected", True)
        with self._lock:
            if expected or not drop or not self._named:
                self.failures[source.name] = reason
            if drop and source in self._sources:
                self._sources.remove(source)
                if expected:
                    self.dropped.append(source.name)

    @property
    def delivered(self) -> str:
        """Who delivered, in the order of the sources."""
        return " + ".join(name for name in dict.fromkeys(self._names) if name in self.served)

    @property
    def tried(self) -> str:
        """What was tried and why it failed, for a person."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.failures.items()) or "no source was asked"


def _held(source: Source, run: Run) -> Iterator[tuple[CID, bytes]]:
    for leaf in run.leaves:
        # One that is not there is asked for by itself, and its failure is told then.
        with suppress(SourceError):
            yield leaf.cid, source.block(leaf.cid)


def _together(source: Source, run: Run) -> Iterator[tuple[CID, bytes]]:
    runs: Runs | None = getattr(source, "run", None)
    return iter(()) if runs is None else runs(run)
