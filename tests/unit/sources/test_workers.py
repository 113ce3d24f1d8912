from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from environment import clean_env
from pinformers.sources.workers import Workers

LEAVES = """
import threading
from pinformers.sources.workers import Workers
began = threading.Event()
def never():
    began.set()
    threading.Event().wait()
Workers("test").submit(never)
began.wait()
"""


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_calls_run_side_by_side_and_threads_are_used_again() -> None:
    workers, together = Workers("side by side"), threading.Barrier(3, timeout=20)
    for _ in range(50):
        futures = [workers.submit(together.wait) for _ in range(3)]
        assert sorted(future.result(20) for future in futures) == [0, 1, 2]
    assert 3 <= len(named("side by side")) < 150
    workers.close()
    for thread in named("side by side"):
        thread.join(5)
    assert not named("side by side"), "none of them waits for its ten seconds"


def test_a_thread_that_works_ends_after_it() -> None:
    workers, began, finish = Workers("at work"), threading.Event(), threading.Event()

    def work() -> str:
        began.set()
        finish.wait(20)
        return "done"

    future = workers.submit(work)
    assert began.wait(20)
    (thread,) = named("at work")
    workers.close()
    finish.set()
    assert future.result(20) == "done"
    thread.join(5)
    assert not thread.is_alive()


def test_whoever_waits_gets_what_is_raised() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Workers("test").submit(fail).result(20)


def test_a_call_that_never_ends_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES], env=clean_env(tmp_path), check=True, timeout=60)


def test_where_no_thread_can_be_started_the_caller_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", late)
    assert Workers("test").submit(threading.get_ident).result(0) == threading.get_ident()
