"""The local catalog: our records beside the hub cache, one small JSON file for each thing that changes by itself.

One file a pin rather than a database: replaced by a rename it survives any crash, needs no lock that a network file
system may not honour, costs the same to find among ten models or ten thousand, and a person can read it. What grows
file by file has a journal beside it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pinformers.pinning.journal import Form, Seen, append, drop, drop_journals, end_fold, look, set_aside
from pinformers.pinning.pin import (
    OID,
    Pin,
    PinnedFile,
    check_path,
    check_revision,
    joined,
    merge,
    only_files,
    repo_folder,
)
from pinformers.pinning.records import Stat, cached_path, lock, signature, write_bytes, write_json

T = TypeVar("T")
C = TypeVar("C")
# A file that nobody has written to for so many ns is told by its looks; one that is written again within a tick of the
# system's clock looks as it did.
_SETTLED = 2_000_000_000


class Place(NamedTuple):
    """Where the files of one commit lie in one hub cache, and what of that folder we made.

    ``files`` maps a path to the size, mtime (ns) and inode that the file had when its bytes were hashed.
    ``made`` holds what we created, as paths relative to the repo's folder: only that may we delete.
    """

    cache_dir: str
    files: Mapping[str, Stat] = {}
    made: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        files = {path: list(stat) for path, stat in self.files.items()}
        return {"cache_dir": self.cache_dir, "files": files, "made": sorted(self.made)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Place:
        files = {check_path(path): (int(s[0]), int(s[1]), int(s[2])) for path, s in value["files"].items()}
        return cls(str(value["cache_dir"]), files, frozenset(check_path(name) for name in value["made"]))

    def joined(self, others: Sequence[Place]) -> Place:
        """Return it with what later ones say."""
        files, made = dict(self.files), [self.made]
        for other in others:
            files.update(other.files)
            made.append(other.made)
        return Place(self.cache_dir, files, frozenset().union(*made))


def _place_line(value: Mapping[str, Any]) -> Place:
    return Place.from_json({**value, "cache_dir": ""})


def _pin_line(value: Mapping[str, Any]) -> dict[str, PinnedFile]:
    return {check_path(path): PinnedFile.from_json(file) for path, file in value["files"].items()}


_PIN = Form(
    Pin.from_json, _pin_line, lambda pin, lines: joined(pin, {path: line[path] for line in lines for path in line})
)


class Catalog:
    """The pins, refs and places under ``state_dir``. Reads are cached by the file's size, mtime and inode."""

    def __init__(self, state_dir: Path, *, lock_timeout: float = 60.0) -> None:
        # As cache folders are called: by the one path that no link is part of.
        self.state_dir = Path(os.path.realpath(state_dir))
        self._lock_timeout = lock_timeout
        self._read: dict[Path, Seen] = {}
        self._place_form = Form(self._read_place, _place_line, Place.joined)

    # -- pins -------------------------------------------------------------------------------------------------

    def pin(self, repo: str, commit: str, repo_type: str = "model") -> Pin | None:
        """Return the pin of a commit, or None. A record that cannot be read counts as none."""
        pin = self._load(self.pin_path(repo, commit, repo_type), _PIN)
        # A record under another's name is nobody's.
        return pin if pin is not None and (pin.repo, pin.commit) == (repo, commit) else None

    def pins(self) -> Iterator[Pin]:
        """Yield every pin."""
        for path in sorted(self.state_dir.glob("pins/*/*.json")):
            pin = self._load(path, _PIN)
            if pin is not None:
                yield pin

    def add(self, pin: Pin, place: Place | None = None) -> Pin:
        """Record ``pin`` and ``place`` joined with what is known of them; return the pin as it now stands."""
        if (noted := self._append(pin, place)) is not None:
            return noted
        with self._turn(pin):
            return self._join(self._known(pin), pin, place)

    def amend(self, pin: Pin, place: Place | None = None) -> Pin | None:
        """Like ``add``, where the pin is still recorded; None where it was removed meanwhile, and stays so."""
        if (noted := self._append(pin, place)) is not None:
            return noted
        with self._turn(pin):
            known = self._known(pin)
            return self._join(known, pin, place) if known is not None else None

    def _known(self, pin: Pin) -> Pin | None:
        return self.pin(pin.repo, pin.commit, pin.repo_type)

    def _append(self, pin: Pin, place: Place | None) -> Pin | None:
        """Note what is new in the journals alone; None where a record has to be written."""
        known = self._known(pin)
        if known is None or not only_files(known, pin):
            return None
        merged = merge(known, pin)
        # Of a pin that was not asked for by a CID, the root changes with its files, and its record names that.
        if merged is not known and not known.root_cid:
            return None
        if place is not None and not self._append_place(merged, place):
            return None
        changed = [path for path in pin.files if merged.files[path] != known.files.get(path)]
        line = {"files": {path: merged.files[path].to_json() for path in changed}}
        return merged if not changed or append(self._path_of(pin), line) else None

    def _join(self, known: Pin | None, pin: Pin, place: Place | None) -> Pin:
        merged = merge(known, pin)
        if place is not None and not self._append_place(merged, place):
            self._fold_place(merged, place)
        if merged is known or merged == known:
            return merged
        return self._fold(self._path_of(pin), known, lambda: merge(self._known(pin), pin), Pin.to_json)

    def _fold(self, path: Path, known: T | None, new: Callable[[], T], to_json: Callable[[T], Mapping[str, Any]]) -> T:
        """Write a record whole, with what its journal says; killed at any step, it loses nothing."""
        if known is None:
            drop_journals(path)
        else:
            set_aside(path)
        value = new()
        self._read[path] = Seen(write_json(path, to_json(value)), None, 0, value)
        end_fold(path)
        return value

    def _turn(self, pin: Pin) -> AbstractContextManager[bool]:
        folder = repo_folder(pin.repo, pin.repo_type)
        return lock(self.state_dir / "locks" / f"{folder}.lock", self._lock_timeout)

    def alone(self, pin: Pin) -> AbstractContextManager[bool]:
        """Hold the lock under which a pin is brought, or removed, as a whole: half of each would be nobody's."""
        name = f"{repo_folder(pin.repo, pin.repo_type)}-{pin.commit}.lock"
        return lock(self.state_dir / "locks" / name, self._lock_timeout)

    def forget_ref(self, repo: str, revision: str, repo_type: str = "model") -> None:
        """Forget at which commit a branch or tag was seen."""
        self._ref_path(repo, revision, repo_type).unlink(missing_ok=True)

    def remove(self, pin: Pin) -> None:
        """Forget a pin, its places and the refs that name it; touches no model file."""
        with self._turn(pin):
            for path, _ in self._places(pin):
                drop(path)
            for revision, commit in self.refs(pin.repo, pin.repo_type).items():
                if commit == pin.commit:
                    self._ref_path(pin.repo, revision, pin.repo_type).unlink(missing_ok=True)
            # Last: while it is there, a removal that was killed can be run again.
            drop(self._path_of(pin))

    def forget_place(self, pin: Pin, cache_dir: str) -> None:
        """Forget where the files of a pin lie in one cache."""
        with self._turn(pin):
            drop(self.place_path(pin, cache_dir))

    # -- refs -------------------------------------------------------------------------------------------------

    def ref(self, repo: str, revision: str, repo_type: str = "model") -> tuple[str, int] | None:
        """Return the commit that a branch or tag was last seen at, and when (ns), or None."""
        return read_ref(self._ref_path(repo, revision, repo_type))

    def set_ref(
        self, repo: str, revision: str, commit: str, repo_type: str = "model", *, noted: int | None = None
    ) -> None:
        """Note that ``revision`` was ``commit`` at ``noted`` (ns since the epoch; now, where it is None).

        What is known of a later time stays.
        """
        known = self.ref(repo, revision, repo_type)
        if noted is not None and known is not None and known[1] >= noted:
            return
        path = self._ref_path(repo, revision, repo_type)
        write_bytes(path, commit.encode())
        if noted is not None:
            os.utime(path, ns=(noted, noted))

    def refs(self, repo: str, repo_type: str = "model") -> dict[str, str]:
        """Return every known branch and tag of a repo with its commit."""
        folder = self._repo_path(repo, repo_type) / "refs"
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        return {path.relative_to(folder).as_posix(): found[0] for path in paths if (found := read_ref(path))}

    # -- places -----------------------------------------------------------------------------------------------

    def place(self, pin: Pin, cache_dir: str) -> Place:
        """Return what is recorded of a pin's files in ``cache_dir``; an empty place when nothing is."""
        return self._load(self.place_path(pin, cache_dir), self._place_form) or Place(cache_dir)

    def places(self, pin: Pin) -> list[Place]:
        """Return the places of a pin in every cache."""
        return [place for _, place in self._places(pin)]

    def _places(self, pin: Pin) -> list[tuple[Path, Place]]:
        folder = self.state_dir / "places" / repo_folder(pin.repo, pin.repo_type)
        found = ((path, self._load(path, self._place_form)) for path in sorted(folder.glob(f"{pin.commit}-*.json")))
        return [(path, place) for path, place in found if place is not None]

    def _append_place(self, pin: Pin, new: Place) -> bool:
        path = self.place_path(pin, new.cache_dir)
        found = self._load(path, self._place_form)
        known = found or Place(new.cache_dir)
        files = {name: stat for name, stat in new.files.items() if name in pin.files and known.files.get(name) != stat}
        change = Place(new.cache_dir, files, new.made - known.made)
        if not change.files and not change.made:
            return True
        line = {name: value for name, value in change.to_json().items() if name != "cache_dir"}
        if found is None or not append(path, line):
            return False
        self._mark_changed()
        return True

    def _fold_place(self, pin: Pin, new: Place) -> None:
        path = self.place_path(pin, new.cache_dir)

        def joined() -> Place:
            place = self.place(pin, new.cache_dir).joined([new])
            return place._replace(files={name: place.files[name] for name in place.files if name in pin.files})

        def to_json(place: Place) -> Mapping[str, Any]:
            return {**place.to_json(), "cache_dir": _portable(self.state_dir, place.cache_dir)}

        self._fold(path, self._load(path, self._place_form), joined, to_json)
        self._mark_changed()

    def _read_place(self, value: Mapping[str, Any]) -> Place:
        place = Place.from_json(value)
        return place._replace(cache_dir=os.path.normpath(self.state_dir / place.cache_dir))

    def version(self) -> int:
        """Return a value that changes when a place was added or changed, here or by another process."""
        # One question, whatever is pinned: it is asked for each block of a fetch that is nowhere here.
        try:
            return os.stat(self.state_dir / "places").st_mtime_ns
        except OSError:
            return 0

    def _mark_changed(self) -> None:
        folder, at = self.state_dir / "places", time.time_ns()
        try:
            os.utime(folder, ns=(at, at))
        except PermissionError:
            # Of another user, in a cache that several share: only "now" may be set, by the system's coarser clock.
            # Where not even that may be, processes that run do not see the place, and ask other sources.
            with contextlib.suppress(PermissionError):
                os.utime(folder)

    # -- blocks -----------------------------------------------------------------------------------------------

    def dag_path(self, cid: str) -> Path:
        """Return where the inner blocks of a file or folder lie, as a CAR named by its CID."""
        return self.state_dir / "dags" / cid[-2:] / f"{cid}.car"

    # -- paths ------------------------------------------------------------------------------------------------

    def _repo_path(self, repo: str, repo_type: str) -> Path:
        return self.state_dir / "pins" / repo_folder(repo, repo_type)

    def pin_path(self, repo: str, commit: str, repo_type: str = "model") -> Path:
        """Return the record of a pin."""
        return cached_path(self.state_dir, "pins", repo_folder(repo, repo_type), f"{commit}.json")

    def _path_of(self, pin: Pin) -> Path:
        return self.pin_path(pin.repo, pin.commit, pin.repo_type)

    def _ref_path(self, repo: str, revision: str, repo_type: str) -> Path:
        return cached_path(self.state_dir, "pins", repo_folder(repo, repo_type), "refs", check_revision(revision))

    def place_path(self, pin: Pin, cache_dir: str) -> Path:
        """Return the record of a place."""
        name = f"{pin.commit}-{_place_key(self.state_dir, cache_dir)}.json"
        return cached_path(self.state_dir, "places", repo_folder(pin.repo, pin.repo_type), name)

    def _load(self, path: Path, form: Form[T, C]) -> T | None:
        seen = look(path, self._read.get(path), form)
        if seen is None:
            return None
        self._read[path] = seen
        return seen.value  # type: ignore[return-value]


class OneWork(Catalog):
    """A catalog for one piece of work: a pin that it has added, and that is gone since, was removed and stays so."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog.state_dir, lock_timeout=catalog._lock_timeout)
        self._added: set[Path] = set()

    def add(self, pin: Pin, place: Place | None = None) -> Pin:
        """Record as ever at first; later return a pin without files where somebody removed it meanwhile."""
        path = self.pin_path(pin.repo, pin.commit, pin.repo_type)
        if path in self._added:
            return self.amend(pin, place) or pin._replace(files={})
        self._added.add(path)
        return super().add(pin, place)


@functools.lru_cache(maxsize=256)
def _place_key(state_dir: Path, cache_dir: str) -> str:
    return key(_portable(state_dir, cache_dir))


def _portable(state_dir: Path, cache_dir: str) -> str:
    """Write a cache that lies beside our records as seen from them: both move, and are copied, together.

    An absolute path in a copy would make the copy speak of the original's files, and delete them.
    """
    beside = Path(cache_dir).is_relative_to(state_dir.parent)
    return Path(os.path.relpath(cache_dir, state_dir)).as_posix() if beside else cache_dir


def after(*seen: tuple[str, int] | None) -> int:
    """Return the time (ns) for a note that is to stand over those ``seen``, also where the clock was set back."""
    return max([time.time_ns(), *(ref[1] + 1 for ref in seen if ref is not None)])


def key(cache_dir: str) -> str:
    """Return a short name for a cache folder."""
    # A name of a folder need not be text: Python has its bytes as surrogates.
    return hashlib.sha256(cache_dir.encode(errors="surrogatepass")).hexdigest()[:16]


def read_ref(path: Path) -> tuple[str, int] | None:
    """Return the commit in a ref file and its mtime (ns), or None."""
    stat = signature(path)
    if stat is None:
        return None
    settled = time.time_ns() - stat[1] > _SETTLED
    try:
        return _settled_ref(path, stat) if settled else _ref(path, stat)
    except (OSError, ValueError):
        return None


def _ref(path: Path, stat: Stat) -> tuple[str, int] | None:
    commit = path.read_text(encoding="ascii").strip()
    # Its content becomes part of a path; an empty one is what a power loss leaves of an unsynced write.
    return (commit, stat[1]) if OID.fullmatch(commit) else None


# Each load asks for two.
_settled_ref = functools.lru_cache(maxsize=4096)(_ref)
