"""What this process was served, by whom and why, and what it was warned of."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_logger = logging.getLogger("pinformers")


@dataclass(frozen=True, slots=True)
class Served:
    """Where a file came from, and why."""

    source: str
    why: str


class Ledger:
    """``counts`` has hits, misses and fallbacks, in files; the rest is file by file."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._served: dict[tuple[str, str, str], Served] = {}
        self._warned: set[str] = set()
        self._refuted: dict[Path, object] = {}

    def note(self, repo: str, commit: str, path: str, served: Served) -> None:
        """Note from where a file was served; for a file that was served before, the latest counts."""
        self._served[repo, commit, path] = served

    def served(self, repo: str, commit: str, path: str) -> Served | None:
        """Return from where a file was served in this process, or None."""
        return self._served.get((repo, commit, path))

    def refute(self, file: Path, looks: object) -> None:
        """Note that a file that looks like this (size, mtime, inode) is not what its pin says."""
        self._refuted[file] = looks

    def refuted(self, file: Path, looks: object) -> bool:
        """Whether that is known, so that a big file is not hashed for every question."""
        return file in self._refuted and self._refuted[file] == looks

    def warn_once(self, subject: str, message: str, *args: object) -> None:
        """Warn about ``subject`` the first time only."""
        if subject not in self._warned:
            self._warned.add(subject)
            _logger.warning(message, *args)
