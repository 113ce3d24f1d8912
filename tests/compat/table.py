"""Run every case and write the table of docs/reference/compatibility.md: `tox -e table`.

With names (`frameworks/ranks`) it runs these and leaves the other rows as they are.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from compat.running import Case, Comparison, cases, compare  # noqa: E402
from environment import clean_env  # noqa: E402

PAGE = TESTS.parent / "docs" / "reference" / "compatibility.md"
BEGIN, END = "<!-- written by tests/compat/table.py: begin -->\n", "<!-- written by tests/compat/table.py: end -->\n"
SHOWN = ("pinformers", "transformers", "huggingface_hub", "torch")


def row(case: Case, found: Comparison) -> str:
    """Return the line of one case; what differs is shown in the place of what does not."""
    pinned, alone = (_shown(case, found, ways) for ways in (found.pinned, found.unreachable))
    same = "**different**" if found.different else "same"
    return f"| {case.name} | {found.plain} | {pinned} | {alone} | {same} |\n"


def _shown(case: Case, found: Comparison, ways: object) -> str:
    outcomes = dict(ways) if isinstance(ways, dict) else {}
    worst = [str(outcome) for way, outcome in outcomes.items() if way in found.different]
    return (worst or [str(found.plain)] * bool(outcomes) or ["-"])[0]


def table(folder: Path, chosen: list[str], known: str) -> tuple[str, list[str]]:
    """Run the ``chosen`` cases, or all, below ``folder``; return the table, and what differed in it."""
    checkpoints, all_cases = folder / "checkpoints", [case for case in cases() if case.identity in chosen or not chosen]
    missing = {name for case in all_cases for name in case.missing}
    if missing:
        sys.exit(f"Install {', '.join(sorted(missing))} first, or run `tox -e table`.")
    build = [sys.executable, "-m", "families", str(checkpoints)]
    subprocess.run(build, cwd=TESTS, env=clean_env(folder / "builder"), check=True)

    def run(case: Case) -> Comparison:
        own = folder / case.identity.replace("/", "-")
        own.mkdir()
        found = compare(case, checkpoints, own)
        print(case.identity, "DIFFERENT" if found.different else "same", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, all_cases))
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
    head = f"Python {platform.python_version()}, {versions}.\n\n"
    head += "| case | plain | pinned | hub unreachable | same? |\n|---|---|---|---|---|\n"
    rows = {line.split(" | ")[0]: f"{line}\n" for line in known.splitlines() if line.startswith("| ")}
    rows |= {line.split(" | ")[0]: line for line in (row(*pair) for pair in zip(all_cases, found, strict=True))}
    kept = [rows[f"| {case.name}"] for case in cases()]
    return head + "".join(kept), [line.split(" | ")[0][2:] for line in kept if "**different**" in line]


def main() -> None:
    """Write the page; end with 1 where anything differs."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    known, _, after = rest.partition(END)
    with tempfile.TemporaryDirectory() as folder:
        text, different = table(Path(folder), sys.argv[1:], known)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    sys.exit(f"different: {', '.join(different)}" if different else 0)


if __name__ == "__main__":
    main()
