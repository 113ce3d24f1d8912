"""Two lists of outcomes of one suite, side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Outcomes = Sequence[tuple[str, str]]
NEEDS_NETWORK = "it asks a host beyond this machine"
# What is another on every run: addresses, names of temporary folders, ports, ids, times.
_PASSING = (
    (re.compile(r"0x[0-9a-f]+"), "0x"),
    (re.compile(r"\bid='\d+'"), "id=''"),
    (re.compile(r"PLACE/tmp/[\w.+-]+(/pytest-\d+)?"), "TMP"),
    (re.compile(r"127\.0\.0\.1:\d+"), "LOOPBACK"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\w.:+]*"), "TIME"),
)
# How pytest calls an outcome, the worst first, and what it counts as here.
_WORST = {
    "error": "error",
    "failed": "failed",
    "xpassed": "failed",
    "skipped": "skipped",
    "xfailed": "skipped",
}


def normal(message: str) -> str:
    """Return the first line of a message without what is another on every run."""
    line = message.strip().partition("\n")[0]
    for pattern, name in _PASSING:
        line = pattern.sub(name, line)
    return line


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a suite: what pytest told of each test, and how often the stub of the hub was asked meanwhile."""

    outcomes: Mapping[str, Outcomes]
    requests: int = 0

    @classmethod
    def read(cls, path: Path, place: Path, *, requests: int = 0) -> Run:
        """Read what the plug-in wrote; ``place`` is the folder that only this run used."""
        found = json.loads(path.read_text(encoding="utf-8").replace(str(place), "PLACE"))
        tests = found["outcomes"].items()
        return cls({test: tuple((kind, normal(said)) for kind, said in told) for test, told in tests}, requests)

    def counts(self) -> Counter[str]:
        """Count each test once, as the worst that was told of it."""
        return Counter(_worst({kind for kind, _ in told}) for told in self.outcomes.values())


def _worst(kinds: set[str]) -> str:
    return next((name for kind, name in _WORST.items() if kind in kinds), "passed")


@dataclass(frozen=True, slots=True)
class Difference:
    """One test of which something else was told."""

    test: str
    plain: Outcomes | None
    other: Outcomes | None

    def __str__(self) -> str:
        return f"{self.test}\n    without: {_told(self.plain)}\n    with:    {_told(self.other)}"


def _told(outcomes: Outcomes | None) -> str:
    return "did not run" if outcomes is None else "; ".join(f"{kind} {said}".strip() for kind, said in outcomes)


def differences(plain: Run, other: Run, *, without: frozenset[str] = frozenset()) -> list[Difference]:
    """Return every test whose outcomes are not the same, save those in ``without``."""
    tests = sorted({*plain.outcomes, *other.outcomes} - without)
    pairs = (Difference(test, plain.outcomes.get(test), other.outcomes.get(test)) for test in tests)
    return [pair for pair in pairs if pair.plain != pair.other]
