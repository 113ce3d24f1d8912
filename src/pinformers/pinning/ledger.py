"""What this process was served, by whom and why, and what it was warned of."""

from __future__ import annotations

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

# The source of a file that no pin served.
PLAIN = "plain transformers"
# So many files, the last ones, are remembered one by one: a process may go through millions.
MOST = 1 << 16
K = TypeVar("K")
V = TypeVar("V")
_logger = logging.getLogger("pinformers")


class Served(NamedTuple):
    """Where a file came from, and why."""

    source: str
    why: str


class Ledger:
    """``counts`` has hits, misses and fallbacks, in files; the rest is file by file."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._served: OrderedDict[tuple[str, str, str], Served] = OrderedDict()
        self._warned: set[str] = set()
        self._owed: OrderedDict[str, Callable[[], None]] = OrderedDict()
        # By text: the hash of a Path is Python code, in which threads change, and an OrderedDict does not bear that.
        self._judged: OrderedDict[str, tuple[object, bool]] = OrderedDict()

    def note(self, repo: str, commit: str, path: str, served: Served) -> None:
        """Note from where a file was served; for a file that was served before, the latest counts."""
        _keep(self._served, (repo, commit, path), served)
        _logger.debug("%s/%s from %s: %s.", repo, path, served.source, served.why)

    def served(self, repo: str, commit: str, path: str) -> Served | None:
        """Return from where a file was served in this process, or None."""
        return self._served.get((repo, commit, path))

    def judge(self, file: Path, looks: object, good: bool) -> None:
        """Note whether a file that looks like this (size, mtime, inode) is what its pin says."""
        _keep(self._judged, os.fspath(file), (looks, good))

    def verdict(self, file: Path, looks: object) -> bool | None:
        """Return what was noted of a file that looks like this; a big one is not hashed for every question."""
        known = self._judged.get(os.fspath(file))
        return known[1] if known is not None and known[0] == looks else None

    def owe(self, file: Path, record: Callable[[], None]) -> None:
        """Note what is to be recorded of a file, until it is."""
        _keep(self._owed, os.fspath(file), record)

    @property
    def owes(self) -> bool:
        """Whether anything is owed: a hit asks."""
        return bool(self._owed)

    def pay(self, file: Path) -> None:
        """Record what is owed of a file; where that raises it is owed still."""
        record = self._owed.get(os.fspath(file))
        if record is not None:
            record()
            self._owed.pop(os.fspath(file), None)

    def warn_once(self, subject: str, message: str, *args: object) -> None:
        """Warn about ``subject`` the first time only."""
        if subject not in self._warned:
            self._warned.add(subject)
            _logger.warning(message, *args)


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > MOST:
        # Several threads may be at it.
        with suppress(KeyError):
            kept.popitem(last=False)
