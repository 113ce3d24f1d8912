"""The table of docs/benchmarks.md, out of a results file and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.results import Found, Line, Results

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def write(results: Results) -> None:
    """Put the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_BETWEEN.sub(lambda _: render(results), page), encoding="utf-8")


def render(results: Results) -> str:
    """Return what stands between the page's marks, the marks with it."""
    return "\n".join([BEGIN, "", *_head(results), "", *measured(results), "", END])


def measured(results: Results) -> list[str]:
    """Return the table of what was compared, and that of the sides."""
    return [*rows(results), "", *_medians(results)]


def rows(results: Results) -> list[str]:
    """Return the table of what was compared."""
    found = ["| # | what | against | ratio | spread | target | holds? |", "|---:|---|---|---:|---:|---:|---|"]
    return found + [_row(one) for one in results.lines]


def _row(found: Found) -> str:
    line = found.line
    spread = "" if line.measure == "count" else f"{_said(found, found.low)} to {_said(found, found.high)}"
    holds = {None: "", True: "yes", False: "**no**"}[found.holds]
    if line.measure != "count" and line.at_most is not None and found.low <= line.at_most <= found.high:
        holds += " (just)"
    median = _said(found, found.median)
    return f"| {line.row} | {line.what} | {line.against} | {median} | {spread} | {_target(found)} | {holds} |"


def _said(found: Found, value: float) -> str:
    if found.line.measure == "count":
        return f"{value:.0f}"
    if found.line.measure == "difference":
        return f"{value / (1 << 20):+.0f} MiB" if found.unit == "byte" else f"{value * 1e3:+.2f} ms"
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.3f}x"


def _target(found: Found) -> str:
    most = found.line.at_most
    if most is None:
        return ""
    if found.line.measure == "count":
        return f"{most:.0f}"
    return f"{_said(found, most)} at most"


def _head(results: Results) -> list[str]:
    about = [one.about for one in results.series.values()]
    dates = sorted(date[:10] for one in about for date in one["dates"])
    first = about[0]
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    kinds = {int(one["full"]) for one in about}
    kind = "rows of both suites" if len(kinds) > 1 else "the full suite" if 1 in kinds else "the quick suite"
    judged = [one.holds for one in results.lines if one.holds is not None]
    versions = f"Python {first['python_version']}, transformers {first['transformers_version']}"
    versions += f", huggingface_hub {first['huggingface_hub_version']}, torch {first['torch_version']}"
    machine = f"{first['cpu_count']} cores, {first['platform']}"
    held = f"Of {len(judged)} targets, {sum(judged)} hold; what stops the others stands below the table."
    return [f"Measured {when}, row by row, by {kind}: {versions}; {machine}.", "", held]


def _medians(results: Results) -> list[str]:
    """Return the table of the series that lines compare."""
    lines = [found.line for found in results.lines]
    named = dict.fromkeys(name for line in lines for name in _sides(line))
    found = ["| series | median | values | measured | suite | commit |", "|---|---:|---:|---|---|---|"]
    for name in named:
        one = results.series[name]
        suite = "full" if int(one.about["full"]) else "quick"
        when, code = max(one.about["dates"])[:10], one.about.get("commit", "")
        found.append(f"| {name} | {_absolute(one.median, one.unit)} | {len(one.values)} | {when} | {suite} | {code} |")
    return found


def _sides(line: Line) -> tuple[str, ...]:
    return (line.ours, line.theirs)


def _absolute(value: float, unit: str) -> str:
    if unit == "byte":
        return f"{value / (1 << 20):.1f} MiB"
    if unit == "integer":
        return f"{value:.0f}"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.2f} ms"
