"""Recording beside the load: what plain transformers brought is hashed and pinned by one background thread.

Every job has a small journal file until it is done, so that what a process did not finish the next one takes up.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from pinformers._errors import PinError, PinformersError
from pinformers.ipfs.tensors import Chunking
from pinformers.pinning.adoption import Adoption, Facts, Watch
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog, OneWork, key
from pinformers.pinning.offering import Offers, Pace, Publish
from pinformers.pinning.pin import Pin, check_commit, check_path, check_revision, repo_folder
from pinformers.pinning.records import MALFORMED, lock, make_folder, only_while, read_json, reason, write_json

# At exit the rest is finished when it takes well under half a second (hashing makes over 1 GB/s), else left.
EXIT_BYTES = 256 << 20
EXIT_SECONDS = 5.0
QUIET = 0.05
# A shard of a big model takes minutes to hash: wait longer for a peer than for a small file's lock.
_PATIENCE = 60

_logger = logging.getLogger("pinformers")


class Job(NamedTuple):
    """One commit in one hub cache that is to be recorded; ``revisions`` say when (ns) each was last seen there."""

    repo: str
    repo_type: str
    commit: str
    cache_dir: str
    revisions: Mapping[str, int] = {}
    facts: Facts = Facts()

    @property
    def name(self) -> str:
        return f"{repo_folder(self.repo, self.repo_type)}-{self.commit}-{key(self.cache_dir)}"

    def joined(self, other: Job) -> Job:
        facts = self.facts.joined(other.facts)
        revisions = {**self.revisions, **other.revisions}
        return Job(self.repo, self.repo_type, self.commit, self.cache_dir, revisions, facts)

    def to_json(self) -> dict[str, Any]:
        return {
            "repo": self.repo,
            "repo_type": self.repo_type,
            "commit": self.commit,
            "cache_dir": self.cache_dir,
            "revisions": dict(self.revisions),
            "listing": self.facts.listing,
            "info": self.facts.info,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        """Read a journal; raises PinError, TypeError, AttributeError, KeyError or ValueError for what is none."""
        listing, info = value["listing"], value["info"]
        facts = Facts(
            None if listing is None else {check_path(path): dict(entry) for path, entry in listing.items()},
            None if info is None else dict(info),
        )
        revisions = {check_revision(name): int(seen) for name, seen in value["revisions"].items()}
        repo_folder(value["repo"], value["repo_type"])
        commit, cache_dir = check_commit(value["commit"]), os.fspath(value["cache_dir"])
        return cls(value["repo"], value["repo_type"], commit, cache_dir, revisions, facts)


class Recorder:
    """A queue of jobs, one a commit and cache, and the thread that works it off while nothing is being loaded."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        lock_timeout: float = 60.0,
        publish: Publish | None = None,
        chunking: Chunking = "fixed",
    ) -> None:
        self._catalog, self._lock_timeout, self._chunking = catalog, lock_timeout, chunking
        self._folder, self._to_offer = catalog.state_dir / "pending", catalog.state_dir / "offers"
        self._jobs: dict[str, Job] = {}
        self._told: Counter[str] = Counter()
        self._here: set[str] = set()
        self._failed: set[str] = set()
        self._pace = Pace()
        self._offers = Offers(catalog, publish, self._pace, self._offered)
        self._thread: threading.Thread | None = None
        self._registered = False
        _RECORDERS.add(self)

    @property
    def publishes(self) -> bool:
        """Whether what is recorded is offered to others."""
        return self._offers.wanted

    # -- told by the resolver ---------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Queue a job, joined with what is queued for the same commit and cache."""
        with self._pace.wake:
            known = self._jobs.get(job.name)
            joined = known.joined(job) if known is not None else job
            # A file may have come after the running job looked: the count makes it look once more.
            self._told[job.name] += 1
            self._jobs[job.name] = joined
            if _snapshot(job).is_dir():
                self._here.add(job.name)
            if joined != known:
                write_json(self._journal(job.name), joined.to_json())
            self._start()

    def take_up(self) -> None:
        """Queue what earlier processes did not finish."""
        for path in sorted(self._folder.glob("*.json")):
            job = _read_job(path)
            if job is not None:
                with self._pace.wake:
                    self._jobs.setdefault(job.name, job)
                    self._start()
        for path in sorted(self._to_offer.glob("*.json")) if self.publishes else ():
            job = _read_job(path)
            if job is not None:
                self._offers.add(Pin(repo=job.repo, commit=job.commit, repo_type=job.repo_type), job.name)
                self._register()

    def loaded(self, pin: Pin) -> None:
        """Have a pin that was loaded offered, once in a process, where it is not published yet."""
        if self._offers.met(pin):
            self._register()

    def loading(self) -> AbstractContextManager[None]:
        """Hold the work back while a load runs: a first load is not slower than plain."""
        return self._pace.loading()

    def flush(self, timeout: float | None = None) -> bool:
        """Work everything off now, also what others left; False when ``timeout`` (s) runs out or a job fails."""
        self._offers.again()
        self.take_up()
        with self._pace.wake:
            self._failed.clear()
            if self._jobs:
                self._start()
        offers = self._offers
        done = self._drain(timeout, lambda: not self._jobs and not (offers.pending and offers.running))
        return done and not self._failed and not offers.failed and not offers.pending

    def close(self) -> None:
        """Stop between two chunks; finish first what is quickly done.

        What is being offered is not waited for: a daemon may be silent. The next process offers it.
        """
        thread = self._thread
        try:
            with self._pace.wake:
                quick = self._running and self._left() <= EXIT_BYTES
            if quick:
                self._drain(EXIT_SECONDS, lambda: not self._jobs)
        finally:
            # Also after a Ctrl-C: nobody closes it once more.
            with self._pace.wake:
                self._pace.stopped = True
                self._pace.wake.notify_all()
        if thread is not None:
            thread.join(EXIT_SECONDS)
        atexit.unregister(self._at_exit)
        self._registered = False

    def _at_exit(self) -> None:
        # Whoever presses Ctrl-C once more waits no longer: the journal is written, the next process goes on.
        with contextlib.suppress(KeyboardInterrupt):
            self.close()

    # -- the thread -------------------------------------------------------------------------------------------

    def _drain(self, timeout: float | None, done: Callable[[], bool]) -> bool:
        try:
            with self._pace.wake:
                self._pace.urgent = True
                self._pace.wake.notify_all()
            self._work_here(timeout)
            with self._pace.wake:
                self._pace.wake.wait_for(lambda: self._pace.stopped or done(), timeout)
                return done()
        finally:
            # Also after a Ctrl-C: later loads are not to be slower for it.
            self._pace.urgent = False

    def forked(self) -> None:
        """Start afresh in a forked child."""
        # The parent's thread is not here; the parent does what is queued.
        self._thread, self._jobs, self._here = None, {}, set()
        self._pace.forked()
        self._offers.forked()

    def _start(self) -> None:
        self._pace.wake.notify_all()
        if self._pace.stopped or self._running:
            return
        self._register()
        thread = threading.Thread(target=self._work, name="pinformers-recorder", daemon=True)
        # While the interpreter exits no thread can be started; the journal is written, the next process goes on.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    @property
    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            atexit.register(self._at_exit)

    def _work(self) -> None:
        pace = self._pace
        while True:
            with pace.wake:
                pace.wake.wait_for(lambda: pace.stopped or (self._jobs and pace.may_run()))
                if pace.stopped:
                    return
            # The files of one load arrive in bursts: one job for all of them instead of one for each.
            if not pace.urgent:
                time.sleep(QUIET)
            with pace.wake:
                if not pace.may_run() or not self._jobs:
                    continue
                name, job = next(iter(self._jobs.items()))
                told = self._told[name]
            self._run(job, told, pace.interrupted)

    def _work_here(self, timeout: float | None) -> None:
        """Work off what is queued where no thread started: somebody flushes while the interpreter exits."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout

        def stop() -> bool:
            return self._pace.interrupted() or time.monotonic() > deadline

        while True:
            with self._pace.wake:
                if not self._jobs or self._running or stop():
                    return
                name, job = next(iter(self._jobs.items()))
                told = self._told[name]
            # Not under the lock: a load that has something to record does not wait for it.
            self._run(job, told, stop)

    def _run(self, job: Job, told: int, stop: Callable[[], bool]) -> None:
        needed = self._needed(job)
        try:
            with only_while(*needed), self._turn(job, stop):
                if self._removed(job):
                    self._done(job, told)
                    return
                pin = record(self._catalog, job, Watch(stop=stop), self._chunking)
        except InterruptedError:
            return
        except (OSError, PinformersError) as exc:
            # Deleted meanwhile, as by a test suite that had it in a temporary folder: that is no trouble of theirs.
            gone = isinstance(exc, FileNotFoundError) and (self._removed(job) or not all(map(Path.is_dir, needed)))
            if gone:
                _logger.debug("%s is not pinned: %s.", job.repo, exc)
            else:
                _logger.warning("%s is not pinned yet: %s; the next process tries again.", job.repo, exc)
            self._done(job, told, failed=not gone)
        except Exception:
            # A fault of ours ends this job, not the thread: close() and flush() wait for it.
            _logger.exception("%s is not pinned yet; the next process tries again.", job.repo)
            self._done(job, told, failed=True)
        else:
            self._done(job, told, pin=pin if self.publishes and pin.files else None)

    def _needed(self, job: Job) -> list[Path]:
        """Return the folders without which a job is none any more; what the hub said may be of files elsewhere."""
        return [self._catalog.state_dir, *([_snapshot(job)] if job.name in self._here else [])]

    def _offered(self, name: str, done: bool) -> None:
        if done:
            _drop(self._to_offer / f"{name}.json")

    def _removed(self, job: Job) -> bool:
        """Whether the job went with its pin, by `rm`: another process that does the job leaves a pin."""
        return not self._journal(job.name).exists() and self._catalog.pin(job.repo, job.commit, job.repo_type) is None

    @contextlib.contextmanager
    def _turn(self, job: Job, stop: Callable[[], bool]) -> Iterator[None]:
        """Wait while another process works on the same commit: what it hashes need not be hashed again."""
        deadline = time.monotonic() + _PATIENCE * self._lock_timeout
        path = self._catalog.state_dir / "locks" / f"{job.name}.lock"
        wait = min(0.2, self._lock_timeout)
        while True:
            began = time.monotonic()
            with lock(path, wait) as held:
                now = time.monotonic()
                # Refused before its time: nobody has it, it cannot be had here.
                if held or now > deadline or now - began < wait / 2 or not path.exists():
                    yield
                    return
            if stop():
                raise InterruptedError(f"Recording {job.repo} was stopped.")

    def _done(self, job: Job, told: int, *, failed: bool = False, pin: Pin | None = None) -> None:
        """Take a job off the queue; its journal stays while it is to be tried again, or goes on with its ``pin``."""
        with self._pace.wake:
            if self._told[job.name] == told:
                self._jobs.pop(job.name, None)
                self._here.discard(job.name)
                if failed:
                    self._failed.add(job.name)
                elif pin is not None:
                    # Where it cannot be moved, the next process records it once more and offers it then.
                    with contextlib.suppress(OSError), only_while(self._catalog.state_dir):
                        make_folder(self._to_offer)
                        os.replace(self._journal(job.name), self._to_offer / f"{job.name}.json")
                    self._offers.add(pin, job.name)
                else:
                    _drop(self._journal(job.name))
            self._pace.wake.notify_all()

    def _journal(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _left(self) -> int:
        try:
            return sum(size for job in self._jobs.values() for _, size in _adoption(self._catalog, job).pending())
        except OSError as exc:
            _logger.warning("What is left to record cannot be looked at (%s); the next process tries again.", exc)
            return EXIT_BYTES + 1


_RECORDERS: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _forked() -> None:
    for recorder in list(_RECORDERS):
        recorder.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def record(catalog: Catalog, job: Job, watch: Watch, chunking: Chunking = "fixed") -> Pin:
    """Do a job now; returns the pin as it then stands."""
    pin = _adoption(OneWork(catalog), job, chunking).run(job.facts, watch)
    if pin.files:
        for revision, seen in job.revisions.items():
            catalog.set_ref(job.repo, revision, job.commit, job.repo_type, noted=seen)
    _cache(job).drop_parts()
    return pin


def _cache(job: Job) -> RepoCache:
    return RepoCache(job.cache_dir, job.repo, job.repo_type)


def _snapshot(job: Job) -> Path:
    return _cache(job).folder / "snapshots" / job.commit


def _adoption(catalog: Catalog, job: Job, chunking: Chunking = "fixed") -> Adoption:
    return Adoption(catalog, _cache(job), Pin(job.repo, job.commit, repo_type=job.repo_type), chunking)


def _read_job(path: Path) -> Job | None:
    value = read_json(path)
    try:
        return Job.from_json(value) if value is not None else None
    except (PinError, *MALFORMED) as exc:
        _logger.warning("The journal %s cannot be read (%r); it is removed.", path, exc)
        _drop(path)
        return None


def _drop(path: Path) -> None:
    """Remove a journal; one of another user, where each may delete their own alone, is left to that user."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        _logger.warning("The journal %s cannot be removed (%s); each process takes it up again.", path, reason(exc))
