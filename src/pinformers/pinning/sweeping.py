"""Find and sweep what no pin needs: leftovers of killed processes, records whose files vanished."""

from __future__ import annotations

import dataclasses
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pinformers._errors import PinError
from pinformers.pinning.cache import STAGING, RepoCache, left_of
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.journal import journals_of, record_of
from pinformers.pinning.pin import Pin, repo_folder
from pinformers.pinning.recorder import Job
from pinformers.pinning.records import AGE, ASIDE, MALFORMED, read_json, signature
from pinformers.pinning.removal import remove_pin, remove_place

# Our folders among the records; what else lies there, perhaps a hub cache, is not ours.
_RECORDS = ("catalogs", "dags", "offers", "pending", "pins", "places", "published", "references")
Named = Mapping[tuple[str, str], set[str]]
"""The files that a pin names, by the repo's folder and the commit."""
Kind = Literal["staging", "pin", "place", "blocks", "journal"]


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that may go: its ``size`` in bytes, ``why``, and how it is swept away."""

    kind: Kind
    path: Path
    size: int
    why: str
    sweep: Callable[[], object]


def find_garbage(catalog: Catalog, default_cache: str, *, moved: bool = False) -> Iterator[Garbage]:
    """Yield all garbage, older than an hour, of our records and of the hub caches that they name.

    ``moved`` counts the places in cache folders that are not there now as garbage; they may be on another disk.
    """
    pins = list(catalog.pins())
    caches = {default_cache, *(place.cache_dir for pin in pins for place in catalog.places(pin))}
    named = {(repo_folder(pin.repo, pin.repo_type), pin.commit): {*pin.files, *pin.others} for pin in pins}
    for cache_dir in sorted(caches):
        for folder in sorted(Path(cache_dir).glob("*--*")):
            yield from _staging(_left_in(folder, named))
    for name in _RECORDS:
        yield from _staging((catalog.state_dir / name).rglob(ASIDE))
    yield from _staging(catalog.state_dir.glob("dags/*/*.car.part"))
    journals = catalog.state_dir.glob("p*s/*/*.jsonl")
    yield from _staging(path for path in journals if not record_of(path).exists())
    if moved:
        yield from (garbage for pin in pins for garbage in _moved(catalog, pin))
    left = []
    for pin in pins:
        vanished = list(_vanished(catalog, pin))
        yield from vanished
        if not any(garbage.kind == "pin" for garbage in vanished):
            left.append(pin)
    yield from _loose_blocks(catalog, left)
    yield from _dead_journals(catalog)


def _staging(paths: Iterable[Path]) -> Iterator[Garbage]:
    return (_file("staging", path, "a killed process left it") for path in paths if _old(path))


def _left_in(folder: Path, named: Named) -> Iterator[Path]:
    """Yield what in a repo's folder has a name that only we give, and is no file of the repo."""
    # No part of a git ref begins with a dot.
    yield from folder.glob(f"refs/**/{ASIDE}")
    yield from folder.glob(f"trees/{ASIDE}")
    yield from (path for path in folder.glob(f"blobs/*{STAGING}") if left_of(path.name) is not None)
    yield from (path for path in folder.glob(f"snapshots/*/**/*{STAGING}") if _left_in_snapshot(folder, path, named))


def _left_in_snapshot(folder: Path, path: Path, named: Named) -> bool:
    """Whether it was left by work on a pinned file, or leads nowhere; a repo may hold a file of just such a name."""
    commit = path.relative_to(folder).parts[1]
    snapshot, whole = folder / "snapshots" / commit, left_of(path.name)
    listing = (read_json(folder / "trees" / f"{commit}.json") or {}).get("files")
    known = named.get((folder.name, commit), set()) | set(listing if isinstance(listing, dict) else ())
    if whole is None or path.relative_to(snapshot).as_posix() in known:
        return False
    return path.with_name(whole).relative_to(snapshot).as_posix() in known or (path.is_symlink() and not path.exists())


def _vanished(catalog: Catalog, pin: Pin) -> Iterator[Garbage]:
    places = catalog.places(pin)
    # A cache folder that is not there may be on a disk that is not mounted now.
    gone = [place for place in places if os.path.isdir(place.cache_dir) and not _present(pin, place)]
    if len(gone) == len(places):
        if _seconds_since(pin.pinned_at) > AGE:
            why = f"no file of {pin.repo}@{pin.commit} is left"
            yield Garbage(
                "pin", catalog.pin_path(pin.repo, pin.commit, pin.repo_type), 0, why, lambda: remove_pin(catalog, pin)
            )
        return
    for place in gone:
        path = catalog.place_path(pin, place.cache_dir)
        if all(_old(each) for each in (path, *map(Path, journals_of(path))) if each.exists()):
            why = f"no file of {pin.repo}@{pin.commit} is left in {place.cache_dir}"
            yield Garbage("place", path, 0, why, lambda place=place: remove_place(catalog, pin, place))  # type: ignore[misc]


def _moved(catalog: Catalog, pin: Pin) -> Iterator[Garbage]:
    for place in catalog.places(pin):
        if not os.path.isdir(place.cache_dir):
            path, why = catalog.place_path(pin, place.cache_dir), f"the cache {place.cache_dir} is not there"
            forget = partial(catalog.forget_place, pin, place.cache_dir)
            yield dataclasses.replace(_file("place", path, why), sweep=forget)


def _present(pin: Pin, place: Place) -> bool:
    cache = RepoCache(place.cache_dir, pin.repo, pin.repo_type)
    return any(signature(cache.file(pin.commit, path)) is not None for path in pin.files)


def _loose_blocks(catalog: Catalog, pins: list[Pin]) -> Iterator[Garbage]:
    needed = {catalog.dag_path(cid) for pin in pins for cid in pin.dags}
    for path in sorted(catalog.state_dir.glob("dags/*/*.car")):
        if path not in needed and _old(path):
            yield _file("blocks", path, "no pin needs these blocks")


def _dead_journals(catalog: Catalog) -> Iterator[Garbage]:
    for path in sorted((catalog.state_dir / "pending").glob("*.json")):
        value = read_json(path)
        try:
            job = Job.from_json(value) if value is not None else None
        except (PinError, *MALFORMED):
            job = None
        if _old(path) and not (job is not None and _snapshot(job).is_dir()):
            yield _file("journal", path, "the snapshot that was to be recorded is gone")


def _snapshot(job: Job) -> Path:
    return RepoCache(job.cache_dir, job.repo, job.repo_type).folder / "snapshots" / job.commit


def _file(kind: Kind, path: Path, why: str) -> Garbage:
    looks = _looks(path)
    size = looks.st_size if looks is not None and stat.S_ISREG(looks.st_mode) else 0
    return Garbage(kind, path, size, why, lambda: path.unlink(missing_ok=True))


def _old(path: Path) -> bool:
    looks = _looks(path)
    return looks is not None and not stat.S_ISDIR(looks.st_mode) and time.time() - looks.st_mtime > AGE


def _looks(path: Path) -> os.stat_result | None:
    # Of a link itself: one that a killed `verify --repair` set aside leads nowhere.
    try:
        return os.lstat(path)
    except OSError:
        return None


def _seconds_since(moment: str) -> float:
    try:
        return time.time() - datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return AGE + 1
