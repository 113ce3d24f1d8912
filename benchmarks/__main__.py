"""Run the suite, or some rows of it; write the results file, and from it the table and the plots.

`python -m benchmarks` is the quick one, `--full` takes the sizes of the table. With `--row` nothing is written, unless
`--keep` says to put what was measured into the results file, in place of what stands there of those rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyperf

from benchmarks import catalogs, fetching, hashing, loading, plots, processes, scale, startup, table, tuning
from benchmarks.results import Results
from benchmarks.rooms import Shop

RESULTS = Path(__file__).with_name("results.json")
CURVES = 0
GROUPS: Sequence[tuple[tuple[int, ...], Callable[[Shop], None]]] = (
    ((1,), startup.switched_off),
    ((2,), startup.importing),
    ((3,), startup.attribute),
    ((4, 5), loading.warm),
    ((6,), fetching.from_kubo),
    ((7,), fetching.from_gateways),
    ((8,), hashing.hashing),
    ((9,), fetching.memory),
    ((10,), hashing.on_disk),
    ((11,), processes.together),
    ((12,), catalogs.resolving),
    ((13,), tuning.fine_tune),
    ((14,), loading.first),
    ((15,), fetching.shards),
    ((CURVES,), scale.curves),
)
"""Which rows each piece of work measures; the plots' curves go by the number 0."""


def main(arguments: Sequence[str]) -> None:
    asked = _parser().parse_args(arguments)
    if not asked.render:
        suite = _measure(set(asked.row), full=asked.full)
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder) / "results.json"
            suite.dump(str(scratch))
            print("\n".join(table.measured(Results.read(scratch))))
        if asked.row and not asked.keep:
            return
        _write(suite, set(asked.row))
    table.write(Results.read(RESULTS))
    plots.write(Results.read(RESULTS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of the table, and more rounds")
    rows = sorted(number for numbers, _ in GROUPS for number in numbers)
    about = "this row only; 0 is the plots' curves"
    parser.add_argument("--row", type=int, action="append", default=[], choices=rows, metavar="ROW", help=about)
    parser.add_argument("--keep", action="store_true", help="with --row: put it into the results file")
    parser.add_argument("--render", action="store_true", help="measure nothing; table and plots from the results file")
    return parser


def _measure(rows: set[int], *, full: bool) -> pyperf.BenchmarkSuite:
    with tempfile.TemporaryDirectory(prefix="pinformers-bench-") as name, ExitStack() as stack:
        shop = Shop(Path(os.path.realpath(name)), stack, full=full)
        # A folder called like a repo in the working directory would win over the hub.
        before = Path.cwd()
        os.chdir(name)
        stack.callback(os.chdir, before)
        for numbers, work in GROUPS:
            if not rows or rows.intersection(numbers):
                work(shop)
        return shop.book.suite(full=full)


def _write(suite: pyperf.BenchmarkSuite, rows: set[int]) -> None:
    """Write the results file, anew or with what it has of other rows."""
    kept = []
    if rows and RESULTS.exists():
        again = {number for numbers, _ in GROUPS if rows.intersection(numbers) for number in numbers}
        old = pyperf.BenchmarkSuite.load(str(RESULTS)).get_benchmarks()
        kept = [benchmark for benchmark in old if benchmark.get_metadata()["row"] not in again]
    pyperf.BenchmarkSuite([*kept, *suite.get_benchmarks()]).dump(str(RESULTS), compact=False, replace=True)


if __name__ == "__main__":
    main(sys.argv[1:])
