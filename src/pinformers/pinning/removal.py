"""Take a pin away again: its records, and of the hub cache exactly what we brought."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pinformers._errors import PinError
from pinformers.pinning.cache import PART, RepoCache, left_of
from pinformers.pinning.catalog import Catalog, Place, read_ref
from pinformers.pinning.pin import Pin, repo_folder
from pinformers.pinning.records import FULL, lock, reason, signature

_THEIRS = "huggingface_hub's client wrote it"
_CHANGED = "somebody changed it since we brought it"
_SHARED = "another snapshot needs it"


@dataclass(slots=True)
class Removal:
    """What went and what stayed; ``freed`` in bytes, ``kept`` maps a path to the reason."""

    deleted: list[Path] = field(default_factory=list)
    kept: dict[Path, str] = field(default_factory=dict)
    freed: int = 0


def remove_pin(catalog: Catalog, pin: Pin, *, lock_timeout: float = 60.0) -> Removal:
    """Delete what we brought for ``pin`` in every hub cache, then forget it."""
    _check_records(catalog, pin)
    with catalog.alone(pin):
        return take_back(catalog, pin, lock_timeout=lock_timeout)


def take_back(catalog: Catalog, pin: Pin, *, lock_timeout: float = 60.0) -> Removal:
    """Do so for whoever is alone with the pin."""
    removal = Removal()
    for place in catalog.places(pin):
        Eviction(catalog, pin, place, removal, lock_timeout).run()
    for journal in _journals(catalog, pin):
        journal.unlink(missing_ok=True)
    catalog.remove(pin)
    _drop_blocks(catalog, pin)
    return removal


def remove_place(catalog: Catalog, pin: Pin, place: Place, *, lock_timeout: float = 60.0) -> Removal:
    """Delete what we brought for ``pin`` in one hub cache and forget that place; the pin stays."""
    removal = Removal()
    Eviction(catalog, pin, place, removal, lock_timeout).run()
    catalog.forget_place(pin, place.cache_dir)
    return removal


def _check_records(catalog: Catalog, pin: Pin) -> None:
    """Raise PinError where the records cannot be changed: they would go on naming files that are gone."""
    records = [catalog.pin_path(pin.repo, pin.commit, pin.repo_type)]
    records += [catalog.place_path(pin, place.cache_dir) for place in catalog.places(pin)]
    for folder in sorted({path.parent for path in records if path.exists()}):
        try:
            # Without a name nothing of it can stay.
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as exc:
            # On a full disk a file can still go.
            if exc.errno not in FULL:
                raise PinError(str(folder), f"it cannot be written ({reason(exc)}), so nothing was removed") from exc


def _drop_blocks(catalog: Catalog, pin: Pin) -> None:
    needed = {cid for other in catalog.pins() for cid in other.dags}
    for cid in pin.dags - needed:
        path = catalog.dag_path(cid)
        for kept in (path, path.with_name(f"{path.name}.part")):
            kept.unlink(missing_ok=True)


def _journals(catalog: Catalog, pin: Pin) -> Iterator[Path]:
    # A journal left behind would have the next process pin what stays, or offer it.
    name = f"{repo_folder(pin.repo, pin.repo_type)}-{pin.commit}-*.json"
    return (path for folder in ("pending", "offers") for path in (catalog.state_dir / folder).glob(name))


class Eviction:
    """Delete what we made for one pin in one hub cache: links first, so that a link that is left is another's."""

    def __init__(self, catalog: Catalog, pin: Pin, place: Place, removal: Removal, lock_timeout: float) -> None:
        self._catalog, self._pin, self._place, self._removal = catalog, pin, place, removal
        self._cache = RepoCache(place.cache_dir, pin.repo, pin.repo_type)
        self._locks = Path(place.cache_dir) / ".locks" / self._cache.folder.name
        self._lock_timeout = lock_timeout

    def run(self) -> None:
        """Delete file by file; killed in the middle it can be run again."""
        made = sorted(self._place.made)
        for path in self._place.files:
            if f"snapshots/{self._pin.commit}/{path}" not in made and self._cache.file(self._pin.commit, path).exists():
                self._removal.kept[self._cache.file(self._pin.commit, path)] = _THEIRS
        for name in made:
            if name.startswith("snapshots/"):
                self._drop_file(name)
        for name in made:
            if name.startswith("blobs/"):
                self._drop_blob(name)
            elif not name.startswith("snapshots/"):
                self._drop_note(name)
        self._drop_parts()
        self._prune(made)

    def _drop_file(self, name: str) -> None:
        link = self._cache.folder / name
        stat = signature(link)
        # What was made and is not recorded: whoever made it was killed before saying how it looked.
        if stat is not None and stat != self._place.files.get(name.split("/", 2)[2], stat):
            self._removal.kept[link] = _CHANGED
        else:
            self._unlink(link)

    def _drop_blob(self, name: str) -> None:
        blob = self._cache.folder / name
        # A client that links to the blob holds this lock meanwhile.
        with lock(self._locks / f"{blob.name}.lock", self._lock_timeout):
            if not blob.exists():
                return
            if blob.is_symlink() or (self._recorded(name) and signature(blob) not in self._place.files.values()):
                self._removal.kept[blob] = _CHANGED
            elif self._linked(blob):
                self._removal.kept[blob] = _SHARED
                self._bequeath(name)
            else:
                self._unlink(blob)

    def _drop_parts(self) -> None:
        """Delete what was fetched of files that never came to their end, but for what somebody is fetching now."""
        for path, file in self._pin.files.items():
            name = file.etag or file.sha256 or file.cid
            for target in (self._cache.blob(name), self._cache.file(self._pin.commit, path)):
                for part in list(target.parent.glob(f"{glob.escape(target.name)}.*{PART}")):
                    with lock(self._locks / f"{name}.lock", 0) as free:
                        if free and left_of(part.name) == target.name and not part.is_symlink():
                            self._unlink(part)

    def _recorded(self, name: str) -> bool:
        files = (self._pin.files[path] for path in self._place.files if path in self._pin.files)
        return any(name == f"blobs/{file.etag or file.sha256}" for file in files)

    def _drop_note(self, name: str) -> None:
        note = self._cache.folder / name
        if name.startswith("refs/"):
            noted = read_ref(note)
            if noted is None or noted[0] != self._pin.commit:
                # The branch moved on: whoever moved it owns the ref now.
                return
        self._unlink(note)

    def _linked(self, blob: Path) -> bool:
        found = self._cache.folder.glob("snapshots/**/*")
        # A link that a killed `verify --repair` set aside needs nothing any more.
        links = (path for path in found if path.is_symlink() and left_of(path.name) is None)
        return any(os.path.normpath(link.parent / os.readlink(link)) == str(blob) for link in links)

    def _bequeath(self, name: str) -> None:
        """Note a blob that stays as made for another pin that uses it, so that it goes when that one goes."""
        etag = name.removeprefix("blobs/")
        mine = (self._pin.repo, self._pin.repo_type)
        others = (pin for pin in self._catalog.pins() if (pin.repo, pin.repo_type) == mine)
        for other in (pin for pin in others if pin.commit != self._pin.commit):
            place = self._catalog.place(other, self._place.cache_dir)
            if any(self._cache.etag(other.commit, path) == etag for path in place.files):
                self._catalog.amend(other, Place(self._place.cache_dir, {}, frozenset({name})))
                return

    def _unlink(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            path.unlink()
            self._removal.deleted.append(path)
            self._removal.freed += 0 if path.is_symlink() or status.st_nlink > 1 else status.st_size

    def _prune(self, made: list[str]) -> None:
        folders = {(self._cache.folder / name).parent for name in made}
        folders.add(self._cache.folder / "snapshots" / self._pin.commit)
        for folder in sorted(folders, reverse=True):
            while self._cache.folder in (folder, *folder.parents):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:
                    # It is not empty.
                    break
                folder = folder.parent
