"""Which pin answers for a model: the lockfile's, then that of the local catalog, then those of shared catalogs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from pinformers._errors import CatalogRefused, LockMismatch, NotLocked, PinError, PinformersError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin, agree, merge, same_bytes
from pinformers.pinning.records import reason

_logger = logging.getLogger("pinformers")


class Found(NamedTuple):
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

    def files(self) -> frozenset[str]:
        """The CIDs of all files in it."""


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
        self.failures: set[str] = set()
        """What was warned of, once each: two that fail in turn are no news at every load."""
        self._asked: set[tuple[str, str, str]] = set()

    def locked(self, repo: str, revision: str, *, note: bool = True) -> Pin | None:
        """Return the pin that the lockfile names; without ``note`` nothing is recorded of it.

        Raises NotLocked for what is not in it, and LockMismatch where the local catalog pins other bytes.
        """
        lock = self._lock()
        pin = None if lock is None else lock.find(repo, revision)
        if pin is not None and lock is not None:
            contradicted = self._contradicted(pin)
            if contradicted is not None and not (note and self._unlearn(contradicted)):
                return pin._replace(learned=lock.label)
            try:
                return self._take(Found(pin, lock.label, "", 0), note=note)
            except PinError as exc:
                raise LockMismatch(f"{repo}@{revision}", lock.label, exc.advice) from exc
        if self._only:
            raise NotLocked(repo, revision, _label(lock))
        return None

    def admit(self, name: str, pin: Pin) -> None:
        """Raise NotLocked for the pin of a name by content that holds other files than those of the lockfile."""
        if not self._only:
            return
        lock = self._lock()
        held = frozenset[str]() if lock is None else lock.files()
        if not {file.cid for file in pin.files.values()} <= held:
            raise NotLocked(name, "", _label(lock))

    def more(self, pin: Pin) -> Pin | None:
        """Join a pin with what shared catalogs know of its commit; they are asked once. None where they know none."""
        model = pin.repo_type, pin.repo, pin.commit
        if self._only or pin.repo_type != "model" or pin.origin == "ipfs" or model in self._asked:
            return None
        self._asked.add(model)
        return self.shared(pin.repo, pin.commit)

    def holder(self, pin: Pin, revision: str) -> str:
        """Return where the lockfile stands that names this pin for a revision; empty where none does."""
        lock = self._lock()
        found = None if lock is None else lock.find(pin.repo, revision)
        return lock.label if lock is not None and found is not None and found.commit == pin.commit else ""

    def shared(self, repo: str, revision: str, *, note: bool = True) -> Pin | None:
        """Return the pin that the first shared catalog names, and note what it said of the revision."""
        for shelf in self._shelves():
            try:
                found = shelf.find(repo, revision)
                if found is None:
                    continue
                self._check_locked(found)
                pin = self._take(found, note=note)
            except (PinformersError, OSError) as exc:
                # A catalog that is refused or away must not deny a model that the next one, or the hub, has.
                self._complain(str(exc))
                continue
            if note and revision != pin.commit:
                with self._noted():
                    self.catalog.set_ref(repo, revision, pin.commit, pin.repo_type, noted=found.seen_ns)
            _logger.info("%s@%s is %s: %s.", repo, revision, pin.commit[:12], found.how.rstrip("."))
            return pin
        return None

    def _check_locked(self, found: Found) -> None:
        """Refuse a catalog that names other bytes for a commit than the lockfile, which holds for all its names."""
        lock = self._lock()
        locked = None if lock is None else lock.find(found.pin.repo, found.pin.commit)
        if lock is not None and locked is not None and not agree(locked, found.pin):
            subject = f"{found.pin.repo}@{found.pin.commit[:12]}"
            raise CatalogRefused(found.label, f"it says {found.pin.root} for {subject} and {lock.label} {locked.root}")

    def _contradicted(self, pin: Pin) -> Pin | None:
        """Return what a catalog said of a commit where it contradicts the lockfile and brought nothing yet."""
        known = self.catalog.pin(pin.repo, pin.commit, pin.repo_type)
        if known is None or not known.learned or _same_cids(known, pin):
            return None
        return None if any(place.files for place in self.catalog.places(known)) else known

    def _unlearn(self, known: Pin) -> bool:
        """Forget what others said; says whether it could be: the lockfile holds either way."""
        with self._noted():
            self.catalog.remove(known)
            message = "What %s said of %s@%s is forgotten: the lockfile names other CIDs."
            _logger.warning(message, known.learned, known.repo, known.commit[:12])
            return True
        return False

    def _take(self, found: Found, *, note: bool) -> Pin:
        """Join a pin of others with what is known of its commit; no file of it may be named differently."""
        known = self.catalog.pin(found.pin.repo, found.pin.commit, found.pin.repo_type)
        for path, file in found.pin.files.items():
            ours = known.files.get(path) if known is not None else None
            if ours is not None and not same_bytes(ours, file):
                advice = f"{found.label} names {file.cid} for {path} and the local catalog {ours.cid}; it is refused"
                raise PinError(f"{found.pin.repo}@{found.pin.commit}", advice)
        if known is not None and set(found.pin.files) <= set(known.files):
            return known
        new = found.pin._replace(learned=found.label)
        if note:
            with self._noted():
                return self.catalog.add(new)
        return merge(known, new)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Go on where records cannot be written, as on a disk that is read-only: less is remembered."""
        try:
            yield
        except OSError as exc:
            self._complain(f"What others name cannot be recorded in {self.catalog.state_dir}: {reason(exc)}.")

    def _complain(self, sentence: str) -> None:
        if sentence not in self.failures:
            self.failures.add(sentence)
            _logger.warning("%s", sentence)


def _label(lock: Locked | None) -> str:
    return "pinformers.lock" if lock is None else lock.label


def _same_cids(one: Pin, other: Pin) -> bool:
    return all(one.files[path].cid == other.files[path].cid for path in one.files.keys() & other.files.keys())
