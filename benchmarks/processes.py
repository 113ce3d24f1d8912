"""Row 11: processes that want the same cold model at the same moment."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

import pyperf

from bad_gateway import BadGateway
from benchmarks.results import Line
from benchmarks.rooms import Env, Shop, counting, gateway

REPO = "org/shared"
MANY = 16
_WORKER = """
import sys
from transformers.utils.hub import cached_file
print("ready", flush=True)
for line in sys.stdin:
    for name in line.split():
        cached_file("{repo}", name)
    print("done", flush=True)
"""


class Crowd:
    """A model at a gateway that writes down what it is asked, and how long so many processes need for it."""

    def __init__(self, shop: Shop, server: BadGateway, lock: str, names: list[str]) -> None:
        self._shop, self._server, self._lock, self._names = shop, server, lock, names
        self.most: defaultdict[int, list[int]] = defaultdict(list)

    def turn(self, count: int, cold: str, warm: str | None = None) -> dict[str, float]:
        """Have ``count`` processes, which have imported all they need, load at once on a cold machine.

        ``warm`` asks for as many others, for which the model is there then.
        """
        # Without torch transformers is as good for this, and 16 of it fit two cores.
        extra = {"PINFORMERS": "1", "PINFORMERS_LOCKFILE": self._lock, "USE_TORCH": "0", **gateway(self._server.url)}
        env = self._shop.home(**extra)
        before = len(self._server.paths)
        found = {series: self._timed(env, count) for series in (cold, warm) if series is not None}
        self.most[count].append(max(Counter(self._server.paths[before:]).values()))
        self._shop.leave(env)
        return found

    def _timed(self, env: Env, count: int) -> float:
        # As many are there in each case: what they take of the memory is to be slow for nobody alone, since a virtual
        # machine has pages that it gave back to its host again at many times the cost.
        with crowd(env, MANY) as workers:
            return self._shop.book.taker.timed(partial(_release, workers[:count], " ".join(self._names)))


@contextlib.contextmanager
def crowd(env: Env, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the processes and wait until each is ready."""
    command = [sys.executable, "-c", _WORKER.format(repo=REPO)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, env=env, text=True, **pipes))  # type: ignore[call-overload]
            for _ in range(count)
        ]
        for worker in workers:
            # Before the processes are waited for, when the block ends.
            stack.callback(worker.kill)
        for worker in workers:
            _hear(worker, "ready\n")
        yield workers


def _release(workers: list[subprocess.Popen[str]], names: str) -> float:
    start = pyperf.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{names}\n")
        worker.stdin.flush()
    for worker in workers:
        _hear(worker, "done\n")
    return float(pyperf.perf_counter() - start)


def _hear(worker: subprocess.Popen[str], word: str) -> None:
    assert worker.stdout is not None
    said = worker.stdout.readline()
    assert said == word, f"a worker said {said!r}"


@contextlib.contextmanager
def cold_model(shop: Shop, mib: int) -> Iterator[Crowd]:
    """Yield a model in 4 shards that a lockfile names and a gateway of this process delivers."""
    folder = shop.weights(mib, 4)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    owner, lock = shop.home("row-11", PINFORMERS_LOG="warning"), shop.folder / "row-11.lock"
    root = shop.pin_folder(owner, folder, REPO)
    shop.cli(owner, "lock", REPO, "-o", lock)
    server, served = counting(files)
    assert served == root, (served, root)
    with server:
        yield Crowd(shop, server, str(lock), sorted(files))


def together(shop: Shop) -> None:
    """Row 11."""
    mib = shop.pick(128, 512)
    with cold_model(shop, mib) as found:
        one, many, here = "11 one process", f"11 {MANY} processes", f"11 {MANY} processes, it is here"
        shop.book.turns(shop.pick(3, 10), lambda: found.turn(MANY, many, here), lambda: found.turn(1, one))
    what = f"{MANY} processes that want one cold model of {mib} MiB, until all have it"
    shop.book.line(Line(11, what, "one process", many, one, 1.3))
    what = f"the part that is no fetch: {MANY} processes for which it is here"
    shop.book.line(Line(11, what, "one process that fetches it", here, one, None))
    for most in found.most[1]:
        shop.book.keep("11 one process, asked", most, "integer")
    what = f"how often {MANY} processes together ask for the same block, at most"
    asked = "11 one process, asked"
    shop.book.line(Line(11, what, "one process", asked, asked, 1, "count", max(found.most[MANY])))


def curve(shop: Shop) -> None:
    """Time until all processes have the model, by their number."""
    counts = (1, 2, 4, 8, MANY)
    names = {count: f"curve processes, {count}" for count in counts}
    with cold_model(shop, 64) as found:
        turns = [partial(found.turn, count, names[count]) for count in counts]
        shop.book.turns(shop.pick(1, 5), *turns, warm=False)
    for count, series in names.items():
        shop.book.point(series, curve="processes", label="until all have it, 64 MiB", x=count)
