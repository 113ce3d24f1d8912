"""Settings of the interpreter that are changed while somebody asks for that, and as they were once nobody does."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Borrowed(Generic[T]):
    """One setting: ``read`` and ``put`` it, and what to ``change`` it to. Threads share it, and it nests."""

    def __init__(self, read: Callable[[], T], put: Callable[[T], object], change: Callable[[T], T]) -> None:
        self._read, self._put, self._change = read, put, change
        # Reentrant: the collector may run, and with it anybody's finalizer, wherever an object is made.
        self._lock, self._asking = threading.RLock(), 0
        self._before = self._ours = read()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def take(self) -> None:
        """Change it, unless somebody has asked for that already."""
        with self._lock:
            if self._asking:
                self._asking += 1
                return
            self._before = self._read()
            try:
                self._put(self._change(self._before))
                self._ours, self._asking = self._read(), 1
            except BaseException:
                # Ctrl-C: whoever asked does not know that it was done.
                self._put(self._before)
                raise

    def give_back(self) -> None:
        """Put it back as it was, unless somebody else asks for the change, or has set another value meanwhile."""
        with self._lock:
            # None where a child was forked since: it began with nobody asking.
            self._asking -= bool(self._asking)
            if not self._asking:
                self._put_back()

    def __enter__(self) -> None:
        self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()

    def _put_back(self) -> None:
        if self._read() == self._ours:
            self._put(self._before)

    def _forked(self) -> None:
        self._lock = threading.RLock()
        if self._asking:
            self._asking = 0
            self._put_back()


# Modules make objects by the hundred thousand and next to no garbage, for which Python looks again and again.
COLLECTOR = Borrowed(gc.isenabled, lambda on: gc.enable() if on else gc.disable(), lambda _: False)
"""Python's garbage collector, which stands still while a module runs."""
