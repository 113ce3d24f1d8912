"""Fetches that begin before their file is asked for: the next shards of a model, its weights while its config loads."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

from pinformers._errors import SourceError
from pinformers.ipfs.layout import UNIXFS_V1_2025
from pinformers.pinning.ahead import WINDOW
from pinformers.sources.workers import Workers

# Blocks of one process on their way at the same time. Two big files, and the one that the load waits for, keep a source
# busy; more would share the cores. Small ones do not send, they wait for answers, and more of them may do that at once.
BLOCKS = 2 * WINDOW
# What a file counts at least: its threads are no cheaper for being few.
_LEAST = 2
# The weights that a model is loaded from, the ones that transformers prefers first.
_WEIGHTS = (
    re.compile(r"model\.safetensors|model-\d{5}-of-\d{5}\.safetensors"),
    re.compile(r"pytorch_model\.bin|pytorch_model-\d{5}-of-\d{5}\.bin"),
)
# The classes whose from_pretrained loads weights; a tokenizer needs none.
_MODELS = re.compile(r"PreTrainedModel|_BaseAuto(?:Model|Backbone)Class|AutoModel.*|AutoBackbone")

# Seconds after which a thread that computes lets others go on. By CPython's own 5 ms, a fetch waits so long for each
# step of each block beside an import, which is no faster for it (https://github.com/python/cpython/issues/52194).
_SWITCH = 0.001

_logger = logging.getLogger("pinformers")
_EXPECTED: ContextVar[bool] = ContextVar("pinformers_weights", default=False)
T = TypeVar("T")
Key: TypeAlias = tuple[str, ...]
Asked = TypeVar("Asked")
Given = TypeVar("Given")


class _Turns:
    """The interpreter's switch interval, shorter while somebody asks for that and as it was once nobody does."""

    def __init__(self) -> None:
        self._lock, self._asking, self._before = threading.Lock(), 0, 0.0

    def shorten(self) -> None:
        with self._lock:
            if not self._asking:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, _SWITCH))
            self._asking += 1

    def restore(self) -> None:
        with self._lock:
            self._asking -= 1
            if not self._asking:
                self._put_back()

    def forked(self) -> None:
        if self._asking:
            self._put_back()
        self._lock, self._asking = threading.Lock(), 0

    def _put_back(self) -> None:
        # Not where somebody has set another meanwhile.
        if math.isclose(sys.getswitchinterval(), _SWITCH):
            sys.setswitchinterval(self._before)


_TURNS = _Turns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TURNS.forked)


class Guard(Protocol):
    """Makes of a fetch of blocks one that fails once its file is given up."""

    def __call__(self, fetch: Callable[[Asked], Given], /) -> Callable[[Asked], Given]: ...


@contextmanager
def expecting_weights(name: str) -> Iterator[None]:
    """Remember, while a ``from_pretrained`` of the class ``name`` runs, whether it is going to load weights."""
    token = _EXPECTED.set(_EXPECTED.get() or _MODELS.fullmatch(name) is not None)
    try:
        yield
    finally:
        _EXPECTED.reset(token)


def expected() -> bool:
    """Whether a load runs that is going to ask for weights."""
    return _EXPECTED.get()


def weights(paths: Iterable[str]) -> list[str]:
    """Return those of a repo's files that the load that runs is going to ask for; none where it loads no weights."""
    if not _EXPECTED.get():
        return []
    known = list(paths)
    found = ([path for path in known if pattern.fullmatch(path)] for pattern in _WEIGHTS)
    return next((sorted(chosen) for chosen in found if chosen), [])


class Early(Generic[T]):
    """What was begun, by a key each, at most BLOCKS of it at a time. Threads share it, and a fork begins anew."""

    def __init__(self) -> None:
        self._begun: _Begun[T] = _Begun()
        self._seen: set[Key] = set()

    def first(self, key: Key) -> bool:
        """Whether this was not asked about ``key`` before."""
        new = key not in self._seen
        self._seen.add(key)
        return new

    def begin(self, key: Key, size: int, job: Callable[[Guard], T]) -> None:
        """Run ``job``, which brings a file of ``size`` bytes, beside the caller, now or when another has ended."""
        self._here().add(key, _Job(size, job))

    def take(self, key: Key) -> T | None:
        """Return what was begun under ``key`` when it has ended, or raise what it raised.

        None for what is still to begin, which is left to the caller, and for what had failed before.
        """
        job = self._here().take(key)
        if job is None or (job.future.done() and job.future.exception() is not None):
            return None
        try:
            return job.future.result()
        except BaseException:
            # Ctrl-C: nobody else waits for it.
            job.given_up = True
            raise

    def give_up(self, model: Key = ()) -> None:
        """End what runs under keys that begin with ``model`` at its next block, and begin nothing of it that waits.

        What was taken goes on: a load that fails is not the failure of another one that waits for the same file.
        """
        self._here().give_up(model)

    def _here(self) -> _Begun[T]:
        if self._begun.pid != os.getpid():
            # Forked: the threads are the parent's, one of which may hold the lock.
            self._begun = _Begun()
        return self._begun


class _Job(Generic[T]):
    """One that runs, or that ran and was not taken."""

    def __init__(self, size: int, work: Callable[[Guard], T]) -> None:
        self.future: Future[T] = Future()
        self.given_up = self.counted = False
        self.blocks = max(_LEAST, min(WINDOW, math.ceil(size / UNIXFS_V1_2025.chunk)))
        self._work = work

    def run(self, key: Key) -> None:
        try:
            self.future.set_result(self._work(self._guarded))
        except BaseException as exc:
            # Whoever asks for the file raises it, or fetches anew; perhaps nobody asks.
            _logger.debug("%s was not fetched ahead: %s", "/".join(key), exc)
            self.future.set_exception(exc)

    def _guarded(self, fetch: Callable[[Asked], Given]) -> Callable[[Asked], Given]:
        def guarded(asked: Asked) -> Given:
            if self.given_up:
                raise SourceError("early", "it was given up")
            return fetch(asked)

        return guarded


class _Begun(Generic[T]):
    """The part of it that is one process's."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._workers, self._lock = Workers("pinformers-early"), threading.Lock()
        self._waiting: dict[Key, _Job[T]] = {}
        self._running: dict[Key, _Job[T]] = {}
        self._places = BLOCKS

    def add(self, key: Key, job: _Job[T]) -> None:
        with self._lock:
            if key not in self._running:
                self._waiting.setdefault(key, job)
        self._top_up()

    def take(self, key: Key) -> _Job[T] | None:
        with self._lock:
            self._waiting.pop(key, None)
            return self._running.pop(key, None)

    def give_up(self, model: Key) -> None:
        with self._lock:
            for key in [key for key in self._waiting if key[: len(model)] == model]:
                del self._waiting[key]
            for key, job in [(key, job) for key, job in self._running.items() if key[: len(model)] == model]:
                self._drop(key, job)
            # Its threads end, each when it has done what it is at.
            workers, self._workers = self._workers, Workers("pinformers-early")
        workers.close()

    def _top_up(self) -> None:
        while True:
            with self._lock:
                key = next(iter(self._waiting), None)
                if key is None or self._waiting[key].blocks > self._places:
                    return
                job = self._running[key] = self._waiting.pop(key)
                self._count(job)
                workers = self._workers
            try:
                workers.run(partial(self._run, key, job))
            except BaseException:
                # Ctrl-C, perhaps before it began: nobody may wait for it.
                with self._lock:
                    self._drop(key, job)
                raise

    def _run(self, key: Key, job: _Job[T]) -> None:
        try:
            job.run(key)
        finally:
            with self._lock:
                self._uncount(job)
            self._top_up()

    def _drop(self, key: Key, job: _Job[T]) -> None:
        self._running.pop(key, None)
        job.given_up = True
        self._uncount(job)

    def _count(self, job: _Job[T]) -> None:
        job.counted = True
        self._places -= job.blocks
        _TURNS.shorten()

    def _uncount(self, job: _Job[T]) -> None:
        """Give back what it counted for, once: who gave it up does not wait for a block that stalls."""
        if job.counted:
            job.counted = False
            self._places += job.blocks
            _TURNS.restore()
