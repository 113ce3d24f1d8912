"""Which pin answers for a model: the lockfile's, then that of the local catalog, then those of shared catalogs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pinformers._errors import LockMismatch, NotLocked, PinError, PinformersError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin, merge

_logger = logging.getLogger("pinformers")


@dataclass(frozen=True, slots=True)
class Found:
    """A pin, the ``label`` of who named it, ``how`` in a sentence, and when (ns) its revision was seen there."""

    pin: Pin
    label: str
    how: str
    seen_ns: int


class Shelf(Protocol):
    """A catalog of others: a followed one, or the pins of a cluster."""

    def find(self, repo: str, revision: str) -> Found | None:
        """Return the pin of a branch, tag or commit, or None; raises PinformersError where it cannot say."""


class Locked(Protocol):
    """A lockfile."""

    @property
    def label(self) -> str:
        """Where it stands."""

    def find(self, repo: str, revision: str) -> Pin | None:
        """Return the pin that is locked for a revision, or None."""


class Lookup:
    """Ask in that order; what is found elsewhere becomes part of the local catalog.

    ``lock`` returns the lockfile that holds now, or None; with ``locked``, whatever is not in it is refused.
    """

    def __init__(
        self,
        catalog: Catalog,
        lock: Callable[[], Locked | None] = lambda: None,
        shelves: Callable[[], Sequence[Shelf]] = tuple,
        *,
        locked: bool = False,
    ) -> None:
        self.catalog, self._lock, self._shelves, self._only = catalog, lock, shelves, locked
        self.failures: dict[str, str] = {}

    def locked(self, repo: str, revision: str) -> Pin | None:
        """Return the pin that the lockfile names.

        Raises NotLocked for what is not in it, and LockMismatch where the local catalog pins other bytes.
        """
        lock = self._lock()
        pin = None if lock is None else lock.find(repo, revision)
        if pin is not None and lock is not None:
            try:
                return self._take(Found(pin, lock.label, "", 0))
            except PinError as exc:
                raise LockMismatch(f"{repo}@{revision}", lock.label, exc.advice) from exc
        if self._only:
            raise NotLocked(repo, revision, "pinformers.lock" if lock is None else lock.label)
        return None

    def holds(self, pin: Pin, revision: str) -> bool:
        """Whether the lockfile names this pin for a revision."""
        lock = self._lock()
        found = None if lock is None else lock.find(pin.repo, revision)
        return found is not None and found.commit == pin.commit

    def shared(self, repo: str, revision: str) -> Pin | None:
        """Return the pin that the first shared catalog names, and note what it said of the revision."""
        for shelf in self._shelves():
            try:
                found = shelf.find(repo, revision)
                if found is None:
                    continue
                pin = self._take(found)
            except (PinformersError, OSError) as exc:
                # A catalog that is refused or away must not deny a model that the next one, or the hub, has.
                self._complain(type(shelf).__name__, str(exc))
                continue
            if revision != pin.commit:
                with self._noted():
                    self.catalog.set_ref(repo, revision, pin.commit, pin.repo_type, noted=found.seen_ns)
            _logger.info("%s@%s is %s: %s.", repo, revision, pin.commit[:12], found.how.rstrip("."))
            return pin
        return None

    def _take(self, found: Found) -> Pin:
        """Join a pin of others with what is known of its commit; no file of it may be named differently."""
        known = self.catalog.pin(found.pin.repo, found.pin.commit, found.pin.repo_type)
        for path, file in found.pin.files.items():
            ours = known.files.get(path) if known is not None else None
            if ours is not None and ours.cid != file.cid:
                advice = f"{found.label} names {file.cid} for {path} and the local catalog {ours.cid}; it is refused"
                raise PinError(f"{found.pin.repo}@{found.pin.commit}", advice)
        if known is not None and set(found.pin.files) <= set(known.files):
            return known
        new = dataclasses.replace(found.pin, learned=found.label)
        with self._noted():
            return self.catalog.add(new)
        return merge(known, new)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Go on where records cannot be written, as on a disk that is read-only: less is remembered."""
        try:
            yield
        except OSError as exc:
            self._complain("records", f"What others name cannot be recorded: {exc}.")

    def _complain(self, name: str, sentence: str) -> None:
        if self.failures.get(name) != sentence:
            self.failures[name] = sentence
            _logger.warning("%s", sentence)
