"""docs/reference/peers.md, out of the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from peers.comparing import NEEDS_NETWORK, Difference, Run, differences
from peers.suites import Suite

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "peers.md"
COLUMNS = (
    "| suite | pinformers | tests | passed | failed | errors | skipped | for the network | requests | differences |"
)
TEMPLATE = Path(__file__).with_name("page.md")


@dataclass(frozen=True, slots=True)
class Result:
    """One suite on every side; the first two are plain."""

    suite: Suite
    runs: Mapping[str, Run]

    @property
    def unsteady(self) -> frozenset[str]:
        """The tests that differ between the two plain runs; they say nothing."""
        first, second, *_ = self.runs.values()
        return frozenset(difference.test for difference in differences(first, second))

    def compared(self, name: str) -> list[Difference]:
        plain = next(iter(self.runs.values()))
        return differences(plain, self.runs[name], without=self.unsteady)

    @property
    def differences(self) -> list[Difference]:
        return [difference for name in self.runs for difference in self.compared(name)]


def render(results: Sequence[Result], titles: Mapping[str, str]) -> str:
    """Return the page."""
    lines = [COLUMNS, "|---|---|" + "---:|" * 8]
    for result in results:
        suite = f"{result.suite.project} {version(result.suite.project)}, {result.suite.title}"
        for name, run in result.runs.items():
            numbers = (*_numbers(run), len(result.compared(name)))
            lines.append(f"| {suite} | {titles[name]} | {' | '.join(map(str, numbers))} |")
    text = TEMPLATE.read_text(encoding="utf-8").format(table="\n".join(lines))
    found = [difference for result in results for difference in result.differences]
    if found:
        text += "\nDifferences:\n\n```text\n" + "".join(f"{difference}\n" for difference in found) + "```\n"
    unsteady = sorted(test for result in results for test in result.unsteady)
    if unsteady:
        text += "\nNot compared, since the two plain runs differ:\n\n"
        text += "".join(f"- `{test}`\n" for test in unsteady)
    return text


def _numbers(run: Run) -> Iterator[int]:
    counts = run.counts()
    yield len(run.outcomes)
    yield counts["passed"]
    yield counts["failed"]
    yield counts["error"]
    yield counts["skipped"]
    yield sum(any(NEEDS_NETWORK in message for _, message in told) for told in run.outcomes.values())
    yield run.requests
