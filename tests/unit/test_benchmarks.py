"""The page of benchmarks says what the results file says, and nothing holds that was not measured so."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results.json"
LINE = {"row": 4, "what": "a load", "against": "plain", "ours": "4 ours", "theirs": "4 plain", "at_most": 1.03}


@pytest.fixture(scope="module")
def suite() -> Iterator[dict[str, ModuleType]]:
    """The modules that need neither pyperf nor matplotlib."""
    sys.path.insert(0, str(ROOT))
    try:
        yield {name: importlib.import_module(f"benchmarks.{name}") for name in ("results", "table")}
    finally:
        sys.path.remove(str(ROOT))


def benchmark(name: str, values: Sequence[float], **metadata: Any) -> dict[str, Any]:
    """A series as pyperf writes it."""
    runs = [{"metadata": {"date": "2026-11-24 12:00:00"}, "values": [value]} for value in values]
    return {"metadata": {"name": name, "unit": "second", **metadata}, "runs": runs}


def rows(
    suite: dict[str, ModuleType], folder: Path, ours: Sequence[float], theirs: Sequence[float], **line: Any
) -> str:
    """The table of one line."""
    told = json.dumps([LINE | line])
    written = {"benchmarks": [benchmark("4 plain", theirs, lines=told), benchmark("4 ours", ours)], "version": "1.0"}
    (folder / "results.json").write_text(json.dumps(written), encoding="utf-8")
    return "\n".join(suite["table"].rows(suite["results"].Results.read(folder / "results.json")))


def test_the_page_has_the_table_of_the_results(suite: dict[str, ModuleType]) -> None:
    page = suite["table"].PAGE.read_text(encoding="utf-8")
    assert suite["table"].render(suite["results"].Results.read(RESULTS)) in page


def test_every_line_of_the_results_stands_under_its_row(suite: dict[str, ModuleType]) -> None:
    found = suite["results"].Results.read(RESULTS).lines
    assert {one.line.row for one in found} == set(range(1, 16))


def test_every_plot_of_the_page_is_there_and_small(suite: dict[str, ModuleType]) -> None:
    page = suite["table"].PAGE.read_text(encoding="utf-8")
    plots = sorted((ROOT / "docs" / "plots").iterdir())
    assert [plot.stem for plot in plots] == ["catalog", "files", "processes", "size"]
    for plot in plots:
        assert f"](plots/{plot.name})" in page
        assert plot.stat().st_size < 60_000


@pytest.mark.parametrize(
    ("ours", "most", "said"),
    [
        ([1.0, 1.02, 1.03], 1.03, "| 1.02x | 1.01x to 1.02x | 1.03x at most | yes |"),
        ([1.0, 1.04, 9.0], 1.03, "| 1.04x | 1.02x to 5.02x | 1.03x at most | **no** (just) |"),
        ([1.0, 1.04, 9.0], None, "| 1.04x | 1.02x to 5.02x |  |  |"),
        # Rounded it would look as if it held.
        ([1.0, 1.0301, 2.0], 1.03, "| 1.03x | 1.02x to 1.52x | 1.03x at most | **no** (just) |"),
        ([1.1, 1.2, 1.3], 1.03, "| 1.20x | 1.15x to 1.25x | 1.03x at most | **no** |"),
        ([0.9, 1.0, 1.2], 1.03, "| 1.00x | 0.95x to 1.10x | 1.03x at most | yes (just) |"),
    ],
)
def test_the_median_of_the_ratios_decides(
    suite: dict[str, ModuleType], tmp_path: Path, ours: list[float], most: float | None, said: str
) -> None:
    assert said in rows(suite, tmp_path, ours, [1.0, 1.0, 1.0], at_most=most)


def test_ratios_are_taken_pair_by_pair(suite: dict[str, ModuleType], tmp_path: Path) -> None:
    # The medians of both sides are equal.
    assert "| 2.00x |" in rows(suite, tmp_path, [2.0, 4.0, 1.0], [1.0, 2.0, 4.0])


def test_a_side_that_lacks_a_value_is_no_pair(suite: dict[str, ModuleType], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        rows(suite, tmp_path, [1.0, 1.0], [1.0, 1.0, 1.0])


def test_a_date_that_all_values_share_is_read(suite: dict[str, ModuleType], tmp_path: Path) -> None:
    shared = {"metadata": {"name": "1 ours", "date": "2026-11-24 12:00:00"}, "runs": [{"values": [1.0]}]}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"benchmarks": [shared], "version": "1.0"}), encoding="utf-8")
    assert suite["results"].Results.read(path).series["1 ours"].about["dates"] == ["2026-11-24 12:00:00"]


def test_differences_and_counts(suite: dict[str, ModuleType], tmp_path: Path) -> None:
    ours, theirs = [0.0108, 0.0109, 0.0109], [0.0104, 0.0104, 0.0104]
    table = rows(suite, tmp_path, ours, theirs, at_most=0.0003, measure="difference")
    assert "| +0.50 ms | +0.45 ms to +0.50 ms | +0.30 ms at most | **no** |" in table
    for count, holds in ((0, "yes"), (2, "**no**")):
        table = rows(suite, tmp_path, [4.0], [4.0], at_most=0, measure="count", count=count)
        assert f"| {count} |  | 0 | {holds} |" in table
