"""Recording beside the load: what plain transformers brought is hashed and pinned by one background thread.

Every job has a small journal file until it is done, so that what a process did not finish the next one takes up.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinformers._errors import PinError, PinformersError
from pinformers.pinning.adoption import Adoption, Facts, Watch
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog, OneWork, key
from pinformers.pinning.pin import Pin, check_commit, check_path, check_revision, repo_folder
from pinformers.pinning.records import MALFORMED, lock, read_json, write_json

# At exit the rest is finished when it takes well under half a second (hashing makes over 1 GB/s), else left.
EXIT_BYTES = 256 << 20
EXIT_SECONDS = 5.0
QUIET = 0.05
# A shard of a big model takes minutes to hash: wait longer for a peer than for a small file's lock.
_PATIENCE = 60

_logger = logging.getLogger("pinformers")
Publish = Callable[[Pin], None]
"""Offers a pin to others; raises PinformersError or OSError when that is to be tried again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One commit in one hub cache that is to be recorded; ``revisions`` say when (ns) each was last seen there."""

    repo: str
    repo_type: str
    commit: str
    cache_dir: str
    revisions: Mapping[str, int] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)

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

    def __init__(self, catalog: Catalog, *, lock_timeout: float = 60.0, publish: Publish | None = None) -> None:
        self._catalog, self._lock_timeout, self._publish = catalog, lock_timeout, publish
        self._folder = catalog.state_dir / "pending"
        self._jobs: dict[str, Job] = {}
        self._told: Counter[str] = Counter()
        self._failed: set[str] = set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loading = 0
        self._urgent = False
        self._stopped = False
        _RECORDERS.add(self)

    @property
    def publishes(self) -> bool:
        """Whether what is recorded is offered to others."""
        return self._publish is not None

    # -- told by the resolver ---------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Queue a job, joined with what is queued for the same commit and cache."""
        with self._wake:
            known = self._jobs.get(job.name)
            joined = known.joined(job) if known is not None else job
            # A file may have come after the running job looked: the count makes it look once more.
            self._told[job.name] += 1
            self._jobs[job.name] = joined
            if joined != known:
                write_json(self._folder / f"{job.name}.json", joined.to_json())
            self._start()

    def take_up(self) -> None:
        """Queue what earlier processes did not finish."""
        for path in sorted(self._folder.glob("*.json")):
            job = _read_job(path)
            if job is not None:
                with self._wake:
                    self._jobs.setdefault(job.name, job)
                    self._start()

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Hold the work back while a load runs: a first load is not slower than plain."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def flush(self, timeout: float | None = None) -> bool:
        """Work everything off now, also what others left; False when ``timeout`` (s) runs out or a job fails."""
        self.take_up()
        with self._wake:
            self._failed.clear()
            if self._jobs:
                self._start()
            return self._drain(timeout)

    def close(self) -> None:
        """Stop between two chunks; finish first what is quickly done."""
        thread = self._thread
        with self._wake:
            if thread is not None and thread.is_alive() and self._left() <= EXIT_BYTES:
                self._drain(EXIT_SECONDS)
            self._stopped = True
            self._wake.notify_all()
        if thread is not None:
            thread.join(EXIT_SECONDS)
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        # Whoever presses Ctrl-C once more waits no longer: the journal is written, the next process goes on.
        with contextlib.suppress(KeyboardInterrupt):
            self.close()

    # -- the thread -------------------------------------------------------------------------------------------

    def _drain(self, timeout: float | None) -> bool:
        self._urgent = True
        self._wake.notify_all()
        try:
            done = self._wake.wait_for(lambda: self._stopped or not self._jobs, timeout)
        finally:
            # Also after a Ctrl-C: later loads are not to be slower for it.
            self._urgent = False
        return done and not self._jobs and not self._failed

    def forked(self) -> None:
        """Start afresh in a forked child."""
        # The parent's thread is not here and its lock may be held for ever; the parent does what is queued.
        self._wake, self._thread, self._jobs, self._loading = threading.Condition(), None, {}, 0
        self._urgent = False

    def _count(self, step: int) -> None:
        with self._wake:
            # In a child that was forked inside a load, that load ends without having begun.
            self._loading = max(0, self._loading + step)
            self._wake.notify_all()

    def _start(self) -> None:
        self._wake.notify_all()
        if self._stopped or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is None:
            atexit.register(self._at_exit)
        thread = threading.Thread(target=self._work, name="pinformers-recorder", daemon=True)
        # While the interpreter exits no thread can be started; the journal is written, the next process goes on.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopped or (self._jobs and self._may_run()))
                if self._stopped:
                    return
            # The files of one load arrive in bursts: one job for all of them instead of one for each.
            if not self._urgent:
                time.sleep(QUIET)
            with self._wake:
                if not self._may_run() or not self._jobs:
                    continue
                name, job = next(iter(self._jobs.items()))
                told = self._told[name]
            self._run(job, told)

    def _may_run(self) -> bool:
        return self._urgent or not self._loading

    def _run(self, job: Job, told: int) -> None:
        try:
            with self._turn(job):
                if self._removed(job):
                    self._done(job, told, keep=False)
                    return
                pin = record(self._catalog, job, Watch(stop=self._interrupted))
        except InterruptedError:
            return
        except (OSError, PinformersError) as exc:
            _logger.warning("%s is not pinned yet: %s; the next process tries again.", job.repo, exc)
            self._done(job, told, keep=True)
        except Exception:
            # A fault of ours ends this job, not the thread: close() and flush() wait for it.
            _logger.exception("%s is not pinned yet; the next process tries again.", job.repo)
            self._done(job, told, keep=True)
        else:
            self._done(job, told, keep=not self._offer(pin))

    def _offer(self, pin: Pin) -> bool:
        """Publish what was recorded, where that is wanted; says whether nothing is left to try again."""
        if self._publish is None or not pin.files:
            return True
        try:
            self._publish(pin)
        except (OSError, PinformersError) as exc:
            _logger.warning("%s is pinned and not published yet: %s The next process tries again.", pin.repo, exc)
            return False
        return True

    def _removed(self, job: Job) -> bool:
        """Whether the job went with its pin, by `rm`: another process that does the job leaves a pin."""
        journal = self._folder / f"{job.name}.json"
        return not journal.exists() and self._catalog.pin(job.repo, job.commit, job.repo_type) is None

    @contextlib.contextmanager
    def _turn(self, job: Job) -> Iterator[None]:
        """Wait while another process works on the same commit: what it hashes need not be hashed again."""
        deadline = time.monotonic() + _PATIENCE * self._lock_timeout
        path = self._catalog.state_dir / "locks" / f"{job.name}.lock"
        while True:
            with lock(path, min(0.2, self._lock_timeout)) as held:
                if held or time.monotonic() > deadline or not path.exists():
                    yield
                    return
            if self._interrupted():
                raise InterruptedError(f"Recording {job.repo} was stopped.")

    def _interrupted(self) -> bool:
        return self._stopped or not self._may_run()

    def _done(self, job: Job, told: int, *, keep: bool) -> None:
        with self._wake:
            if self._told[job.name] == told:
                self._jobs.pop(job.name, None)
                if keep:
                    self._failed.add(job.name)
                else:
                    (self._folder / f"{job.name}.json").unlink(missing_ok=True)
            self._wake.notify_all()

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


def record(catalog: Catalog, job: Job, watch: Watch) -> Pin:
    """Do a job now; returns the pin as it then stands."""
    pin = _adoption(OneWork(catalog), job).run(job.facts, watch)
    if pin.files:
        for revision, seen in job.revisions.items():
            catalog.set_ref(job.repo, revision, job.commit, job.repo_type, noted=seen)
    RepoCache(job.cache_dir, job.repo, job.repo_type).drop_parts()
    return pin


def _adoption(catalog: Catalog, job: Job) -> Adoption:
    return Adoption(catalog, RepoCache(job.cache_dir, job.repo, job.repo_type), job.repo, job.commit, job.repo_type)


def _read_job(path: Path) -> Job | None:
    value = read_json(path)
    try:
        return Job.from_json(value) if value is not None else None
    except (PinError, *MALFORMED) as exc:
        _logger.warning("The journal %s cannot be read (%r); it is removed.", path, exc)
        path.unlink(missing_ok=True)
        return None
