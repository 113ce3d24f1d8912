"""What a results file says: read with the standard library alone, so that the table needs no pyperf."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Measure = Literal["ratio", "difference", "count"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: the series ``ours`` against ``theirs``, pair by pair.

    A ratio is ours by theirs, a difference ours less theirs in seconds or bytes; a count is ``count`` itself.
    ``at_most`` is the target; None where the line only shows where the limit lies.
    """

    row: int
    what: str
    against: str
    ours: str
    theirs: str
    at_most: float | None
    measure: Measure = "ratio"
    count: int = 0
    order: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one side in the order in which they were taken."""

    values: tuple[float, ...]
    about: Mapping[str, Any]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def unit(self) -> str:
        return str(self.about.get("unit", "second"))


@dataclass(frozen=True, slots=True)
class Found:
    """What a line came to: the median, the quartiles and whether the target holds (None: there is no target)."""

    line: Line
    median: float
    low: float
    high: float
    unit: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Results:
    """One results file."""

    series: Mapping[str, Series]

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file of pyperf's: what all runs of a benchmark share, or all benchmarks, stands there only once."""
        suite = json.loads(path.read_text(encoding="utf-8"))
        found = {}
        for benchmark in suite["benchmarks"]:
            about = {**suite.get("metadata", {}), **benchmark.get("metadata", {})}
            dates = [run.get("metadata", {}).get("date", about.get("date", "")) for run in benchmark["runs"]]
            values = tuple(value for run in benchmark["runs"] for value in run["values"])
            found[about["name"]] = Series(values, {**about, "dates": dates})
        return cls(found)

    @property
    def lines(self) -> list[Found]:
        """Every line, by its row and in the order in which they were given."""
        lines = [Line(**line) for one in self.series.values() for line in json.loads(one.about.get("lines", "[]"))]
        return [self._judge(line) for line in sorted(lines, key=lambda line: (line.row, line.order))]

    def points(self, curve: str) -> dict[str, list[tuple[float, float]]]:
        """Return the points of a curve by the label of their line, each as x and the median."""
        found: dict[str, list[tuple[float, float]]] = {}
        for one in self.series.values():
            if one.about.get("curve") == curve:
                found.setdefault(str(one.about["label"]), []).append((float(one.about["x"]), one.median))
        return {label: sorted(points) for label, points in found.items()}

    def _judge(self, line: Line) -> Found:
        ours, theirs = self.series[line.ours], self.series[line.theirs]
        pairs = list(zip(ours.values, theirs.values, strict=True))
        if line.measure == "count":
            taken = [float(line.count)]
        elif line.measure == "difference":
            taken = [one - other for one, other in pairs]
        else:
            taken = [one / other for one, other in pairs]
        low, median, high = statistics.quantiles(taken, n=4, method="inclusive") if len(taken) > 1 else taken * 3
        holds = None if line.at_most is None else median <= line.at_most
        return Found(line, median, low, high, ours.unit, holds)
