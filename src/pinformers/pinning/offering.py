"""Offering beside the load: what is recorded, or was loaded and nobody has yet, is given to others by one thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from pinformers._errors import PinformersError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import only_while

_logger = logging.getLogger("pinformers")
_Key: TypeAlias = tuple[str, str, str]
Publish = Callable[[Pin, Callable[[], bool]], bool]
"""Offers a pin to others until it is told to stop, which it answers with InterruptedError.

Returns False when the next process is to try again, and raises PinformersError or OSError when that is to be said.
"""


class Pace:
    """When work beside the loads may go on: not while one runs, unless somebody waits for the work."""

    def __init__(self) -> None:
        self.wake = threading.Condition()
        self.urgent = self.stopped = False
        self._loading = 0

    def may_run(self) -> bool:
        """Whether something may begin."""
        return self.urgent or not self._loading

    def interrupted(self) -> bool:
        """Whether what runs is to stop."""
        return self.stopped or not self.may_run()

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Hold the work back while a load runs: a first load is not slower than plain."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def forked(self) -> None:
        """Start afresh in a forked child, where the lock may be held by a thread that is not there."""
        self.wake, self.urgent, self._loading = threading.Condition(), False, 0

    def _count(self, step: int) -> None:
        with self.wake:
            # In a child that was forked inside a load, that load ends without having begun.
            self._loading = max(0, self._loading + step)
            self.wake.notify_all()


class Offers:
    """Pins that wait to be offered, and a thread for as long as there are any.

    ``settled`` is told, under the lock, of each job whose pin was offered, and whether nothing is left to try again.
    """

    def __init__(
        self, catalog: Catalog, publish: Publish | None, pace: Pace, settled: Callable[[str, bool], None]
    ) -> None:
        self._catalog, self._publish, self._pace, self._settled = catalog, publish, pace, settled
        self.failed: set[_Key] = set()
        self._waiting: dict[_Key, set[str]] = {}
        self._current: _Key | None = None
        self._met: set[_Key] = set()
        self._vain: dict[_Key, str] = {}
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether pins are offered at all."""
        return self._publish is not None

    @property
    def pending(self) -> bool:
        """Whether something waits or is under way."""
        return bool(self._waiting) or self._current is not None

    @property
    def running(self) -> bool:
        """Whether its thread is there: none starts while the interpreter exits."""
        return self._thread is not None

    def add(self, pin: Pin, job: str = "") -> None:
        """Queue a pin, by the name of the job that recorded it."""
        with self._pace.wake:
            self._waiting.setdefault(_key(pin), set()).update([job] if job else ())
            self._start()

    def met(self, pin: Pin) -> bool:
        """Queue a pin that was loaded, the first time in this process; says whether it was."""
        key = _key(pin)
        if key in self._met:
            return False
        self._met.add(key)
        self.add(pin)
        return True

    def again(self) -> None:
        """Forget what was tried in vain: somebody wants it to be tried now."""
        self.failed.clear()
        self._vain.clear()

    def forked(self) -> None:
        """Start afresh in a forked child; the parent does what is queued."""
        self._waiting, self._current, self._thread = {}, None, None

    # -- the thread -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._pace.wake.notify_all()
        if self._thread is not None or self._pace.stopped:
            return
        # Not the thread that records: a daemon that hangs would hold that up, and the end of the process with it.
        thread = threading.Thread(target=self._work, name="pinformers-publisher", daemon=True)
        # While the interpreter exits no thread can be started; the next process goes on.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            key, jobs = taken
            try:
                done = self._offer(key, loaded=not jobs)
            except InterruptedError:
                with self._pace.wake:
                    self._waiting.setdefault(key, set()).update(jobs)
                    self._current = None
                continue
            with self._pace.wake:
                for job in jobs - self._waiting.get(key, set()):
                    self._settled(job, done)
                self._current = None
                self._pace.wake.notify_all()

    def _take(self) -> tuple[_Key, set[str]] | None:
        """Wait for the next pin's turn; None where there is none."""
        pace = self._pace
        with pace.wake:
            pace.wake.wait_for(lambda: pace.stopped or not self._waiting or pace.may_run())
            if pace.stopped or not self._waiting:
                self._thread = None
                return None
            key = self._current = next(iter(self._waiting))
            return key, self._waiting.pop(key)

    def _offer(self, key: _Key, *, loaded: bool) -> bool:
        """Offer a pin as it is now; says whether nothing is left to try again."""
        repo_type, repo, commit = key
        pin = self._catalog.pin(repo, commit, repo_type)
        if self._publish is None or pin is None or not pin.files or (loaded and not self._lacks(pin)):
            return True
        if self._vain.get(key) == pin.root:
            return False
        self._met.add(key)
        done = False
        try:
            with only_while(self._catalog.state_dir):
                done = self._publish(pin, self._pace.interrupted)
        except InterruptedError:
            raise
        except (OSError, PinformersError) as exc:
            if self._catalog.pin(repo, commit, repo_type) is None:
                # Removed, or deleted with all the records, meanwhile.
                _logger.debug("%s is not published: %s", repo, exc)
                return True
            _logger.warning("%s is pinned and not published yet: %s The next process tries again.", repo, exc)
            self.failed.add(key)
        except Exception:
            # A fault of ours ends this offer, not the thread.
            _logger.exception("%s is not published yet; the next process tries again.", repo)
            self.failed.add(key)
        if not done:
            self._vain[key] = pin.root
        return done

    def _lacks(self, pin: Pin) -> bool:
        """Whether others lack a pin that could be offered: all its files were here, and not as they are published."""
        # deferred: a load out of the hub cache offers nothing that was not loaded before.
        from pinformers.pinning.publishing import published

        known = published(self._catalog, pin)
        here = {path for place in self._catalog.places(pin) for path in place.files}
        return (known is None or known.root != pin.root) and here >= set(pin.files)


def _key(pin: Pin) -> _Key:
    return pin.repo_type, pin.repo, pin.commit
