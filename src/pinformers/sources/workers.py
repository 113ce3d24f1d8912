"""Threads for requests that whoever waits for them may give up: none of them keeps the interpreter from its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

# Seconds after which a thread without work ends.
_IDLE = 10.0
T = TypeVar("T")


class Workers:
    """Daemon threads that wait for the next request: to start one for each costs a tenth of a fast block's time.

    A ThreadPoolExecutor has the interpreter wait at its end for what is under way, by gateways that may be silent.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        # Threads that wait, less the jobs that wait for them.
        self._free = 0
        self._closed = False

    def run(self, job: Callable[[], None]) -> None:
        """Run a job beside the caller; in its place where no thread starts: at the exit, or at a system limit."""
        with self._lock:
            new = self._free <= 0
            self._free -= not new
        try:
            if new:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            job()
        else:
            self._jobs.put(job)

    def submit(self, call: Callable[[], T], future: Future[T] | None = None) -> Future[T]:
        """Run a call likewise; the future has what it returns or raises, unless it is cancelled before it begins."""
        future = Future() if future is None else future

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as exc:
                # Whoever waits raises it.
                future.set_exception(exc)

        self.run(job)
        return future

    def close(self) -> None:
        """Let the threads that wait end now, and those that work after it."""
        with self._lock:
            self._closed, waiting, self._free = True, self._free, 0
        for _ in range(waiting):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._free > 0 or self._closed:
                        self._free = max(self._free - 1, 0)
                        return
                continue
            if job is None:
                return
            job()
            del job
            with self._lock:
                if self._closed:
                    return
                self._free += 1
