"""Measure sides in turn, with pyperf, and keep the values in pyperf's own file format.

pyperf's Runner finishes one benchmark before it begins the next. Here a machine that gets busier must hit all sides
alike, so one Runner, told to be a worker that takes one value, is asked for one value of each side after the other.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import itertools
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pyperf

from benchmarks.results import Line

INSIDE = Path(__file__).with_name("inside.py")
ROOT = Path(__file__).parent.parent
Values = Mapping[str, float]
"""What one turn of a side gave, by the name of the series, which begins with the side's own name."""


@dataclass(frozen=True, slots=True)
class Child:
    """What a process measured of itself, and its whole time from start to end."""

    values: Sequence[float]
    whole: float


class Taker:
    """Take single values with pyperf's worker."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._numbers = scratch, itertools.count()
        self._runner = pyperf.Runner()
        self._runner.parse_args(["--worker", "--loops=1", "--warmups=0", "--values=1", "--quiet"])

    def call(self, work: Callable[[], object]) -> float:
        """Return the seconds of a call in this process."""
        return self._one(self._runner.bench_func, work)

    def timed(self, work: Callable[[], float]) -> float:
        """Return the seconds that ``work`` says, for what begins with a preparation that must not count."""
        return self._one(self._runner.bench_time_func, lambda _: work())

    def command(self, command: Sequence[str | Path], env: Mapping[str, str]) -> float:
        """Return the seconds of a process from start to end."""
        with environment(env):
            return self._one(self._runner.bench_command, [str(part) for part in command])

    def inside(self, work: str, *args: str | Path, env: Mapping[str, str], values: int = 1, loops: int = 1) -> Child:
        """Let a process measure a piece of work of `inside.py`; each of the ``values`` is the mean of ``loops``."""
        out = self._scratch / f"inside-{next(self._numbers)}.json"
        complaint = out.with_suffix(".txt")
        try:
            whole = self.command([sys.executable, INSIDE, out, str(values), str(loops), work, *args], env)
            return Child(pyperf.Benchmark.load(str(out)).get_values(), whole)
        except Exception as exc:
            said = complaint.read_text(encoding="utf-8") if complaint.exists() else "it said nothing"
            raise RuntimeError(f"{work} {args}: {said}") from exc
        finally:
            out.unlink(missing_ok=True)

    def _one(self, bench: Callable[..., pyperf.Benchmark], work: object) -> float:
        # A worker prints each value, and refuses to measure two things of one name.
        with contextlib.redirect_stdout(io.StringIO()):
            (value,) = bench(f"value {next(self._numbers)}", work).get_values()
        return float(value)


@dataclass(slots=True)
class Book:
    """The values of all series so far, and the lines that compare them."""

    taker: Taker
    _runs: dict[str, list[pyperf.Run]] = field(default_factory=dict)
    _about: dict[str, dict[str, str | int | float]] = field(default_factory=dict)
    _lines: list[Line] = field(default_factory=list)
    _commit: str = field(default_factory=lambda: commit())

    def turns(self, rounds: int, *sides: Callable[[], Values], warm: bool = True) -> None:
        """Ask each side for its values, ``rounds`` times in turn; the first round is not counted."""
        for number in range(-1 if warm else 0, rounds):
            # A side finds the pages and writes of the one before, which is another each time; and in each run alike.
            for side in random.Random(number).sample(sides, len(sides)):
                values = side()
                if number >= 0:
                    for series, value in values.items():
                        self.keep(series, value)

    def keep(self, series: str, value: float, unit: str = "second") -> None:
        """Add one value to a series; ``unit`` is pyperf's second, byte or integer."""
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        run = pyperf.Run(
            [value],
            metadata={"name": series, "unit": unit, "loops": 1, "date": now, "load_avg_1min": os.getloadavg()[0]},
            collect_metadata=False,
        )
        self._runs.setdefault(series, []).append(run)

    def line(self, line: Line) -> None:
        """Have the table compare two series."""
        self._lines.append(replace(line, order=len(self._lines)))
        print(line.what, "against", line.against, flush=True)

    def point(self, series: str, *, curve: str, label: str, x: float) -> None:
        """Have the plot ``curve`` show a series at ``x``, as part of the line called ``label``."""
        self._about.setdefault(series, {}).update(curve=curve, label=label, x=x)

    def suite(self, *, full: bool) -> pyperf.BenchmarkSuite:
        """Return everything in pyperf's format."""
        benchmarks = []
        for name, runs in self._runs.items():
            # A series is called by its row first; those of the curves have none.
            row = int(name.split()[0]) if name[0].isdigit() else 0
            about = {**machine(), **self._about.get(name, {}), "full": int(full), "row": row, "commit": self._commit}
            lines = [asdict(line) for line in self._lines if line.theirs == name]
            if lines:
                about["lines"] = json.dumps(lines)
            benchmark = pyperf.Benchmark(runs)
            benchmark.update_metadata(about)
            benchmarks.append(benchmark)
        return pyperf.BenchmarkSuite(benchmarks)


def machine() -> dict[str, str | int | float]:
    """Say what the figures depend on, and no more of the machine than that."""
    import huggingface_hub
    import torch
    import transformers

    found: dict[str, str | int | float] = {
        "python_version": platform.python_version(),
        "cpu_count": os.cpu_count() or 0,
        "platform": f"{platform.system()} {platform.machine()}",
        "transformers_version": transformers.__version__,
        "huggingface_hub_version": huggingface_hub.__version__,
        "torch_version": torch.__version__,
        "perf_version": pyperf.__version__,
    }
    return found


def commit() -> str:
    """Say which code is measured, with a plus where ``src`` has changes that are in no commit; empty without git."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)

    try:
        changed = git("diff", "--quiet", "HEAD", "--", "src").returncode
        return git("rev-parse", "--short", "HEAD").stdout.strip() + "+" * changed if changed < 2 else ""
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def environment(env: Mapping[str, str]) -> Iterator[None]:
    """Give what is started meanwhile exactly ``env``: pyperf hands its own environment on."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
