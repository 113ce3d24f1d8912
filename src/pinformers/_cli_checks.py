"""What ``doctor`` looks at on this machine: folders, locks, space, the lockfile, catalogs, the switch, versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from pinformers import _autostart, _gate, _metadata
from pinformers._cli_output import plural, size
from pinformers._composition import hub_cache, lockfile, state_dir
from pinformers._errors import BadLock
from pinformers._settings import Loaded, Settings
from pinformers.pinning.followed import Followed, FollowedList
from pinformers.pinning.lockfile import read_lock
from pinformers.pinning.records import reason
from pinformers.pinning.times import day, span

Level = Literal["ok", "note", "wrong"]
# Libraries that ask huggingface_hub themselves (docs/how-to/beyond-transformers.md).
_PAST = ("sentence-transformers", "diffusers", "peft", "datasets")
LEAST_SPACE = 1_000_000_000
# A Python that starts on a busy network file system.
_CHILD = 20.0
_TAKE = """
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1]).acquire(timeout=0)
except Timeout:
    print("held")
else:
    print("taken")
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen in one ``area``: a ``sentence`` that also says what to change, unless the level is ``ok``."""

    area: str
    level: Level
    sentence: str

    def to_json(self) -> dict[str, str]:
        return {"area": self.area, "level": self.level, "sentence": self.sentence}


# -- settings and the switch ----------------------------------------------------------------------------------


def check_settings(loaded: Loaded) -> Iterator[Finding]:
    """Tell which variables name no setting."""
    for remark in loaded.strangers:
        yield Finding("settings", "note", remark)


def check_switch() -> Iterator[Finding]:
    """Tell whether pinformers is on here, and what holds it off."""
    how = _autostart.wanted()
    verdict = _gate.judge(force=how == "force")
    if how is None and _autostart.marked():
        said = f"It is off: `pinformers activate` turned it on, and {_autostart.SWITCH} in the environment holds it off"
        yield Finding("switch", "note", f"{said}; `unset {_autostart.SWITCH}` lets it.")
    elif how is None:
        said = "It is off here; `pinformers run COMMAND` turns it on for a command"
        yield Finding("switch", "note", f"{said}, `pinformers activate` for this Python environment.")
    else:
        by = "`pinformers activate`" if how == "marker" else f"the environment variable {_autostart.SWITCH}"
        yield Finding("switch", "ok", f"It is on, by {by}.")
    if not verdict.open:
        forced = "; `pinformers run --force` goes on all the same" if verdict.line == _gate.CI else ""
        yield Finding("switch", "note", f"Transformers stays as it is: {verdict.line}{forced}.")


def check_versions(settings: Settings | None = None) -> Iterator[Finding]:
    """Tell the versions of what is patched, and which libraries ask the hub past the scope of the settings."""
    names = ("transformers", "huggingface_hub")
    found = {name: _metadata.version(name) for name in names}
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if there:
        yield Finding("versions", "ok", f"{there} on Python {sys.version.split()[0]}.")
    for name in names:
        if not found[name]:
            said = f"{name} is not installed in this environment; `pip install {name}` installs it."
            yield Finding("versions", "note", said)
    if settings is not None and settings.scope == "transformers" and (past := list(filter(_metadata.version, _PAST))):
        said = f"What {' and '.join(past)} load past transformers comes from no pin in the default scope"
        change = "with `pinformers run --scope hub` or `export PINFORMERS_SCOPE=hub` it does"
        yield Finding("versions", "note", f"{said}; {change}.")


# -- what models are ------------------------------------------------------------------------------------------


def check_lockfile(settings: Settings) -> Iterator[Finding]:
    """Read the lockfile that is in force."""
    path = lockfile(settings)
    if path is None:
        if settings.locked:
            said = "The setting locked refuses every model, since there is no pinformers.lock here or above"
            yield Finding("lockfile", "wrong", f"{said}; `pinformers lock` writes one.")
        return
    try:
        lock = read_lock(path)
    except BadLock as exc:
        yield Finding("lockfile", "wrong", f"{exc} Mend that line, or delete the file and run `pinformers lock`.")
    except OSError as exc:
        said = f"{path} cannot be read ({reason(exc)}); `pinformers lock -o {path}` writes it."
        yield Finding("lockfile", "wrong", said)
    else:
        only = ", and every other model is refused" if settings.locked else ""
        yield Finding("lockfile", "ok", f"{path} locks {plural(len(lock.pins), 'model')}{only}.")


def check_catalogs(settings: Settings) -> Iterator[Finding]:
    """Judge the records of the followed catalogs, as they are kept; nobody is asked."""
    folder = state_dir(settings) / "catalogs"
    followed = FollowedList(folder).all()
    for one in followed:
        yield _catalog(one, settings.catalog_grace)
    known = {f"{one.name}.json" for one in followed}
    for path in sorted(folder.glob("k*.json")):
        if path.name not in known:
            said = f"{path} cannot be read; delete it and follow that catalog again: `pinformers catalog follow NAME`."
            yield Finding("catalogs", "wrong", said)


def _catalog(followed: Followed, grace: float) -> Finding:
    label, last, again = followed.label, followed.last(), "`pinformers catalog refresh` asks again"
    if last is None:
        why = f": {followed.refusal}" if followed.refusal else "."
        return Finding("catalogs", "wrong", f"No record of {label} was had yet{why} {again}.")
    expired = time.time() - last.validity.timestamp()
    if expired > grace:
        said = f"The record of {label} expired on {day(last.validity)}, more than {span(grace)} ago, so it is not used"
        return Finding("catalogs", "wrong", f"{said}; its owner must publish again, then {again}.")
    if followed.refusal:
        said = f"{followed.refusal} Number {last.sequence} counts meanwhile"
        return Finding("catalogs", "wrong", f"{said}; {again}.")
    if expired > 0:
        said = f"The record of {label} expired {span(expired)} ago and still counts, for {span(grace - expired)} more"
        return Finding("catalogs", "note", f"{said}; {again}.")
    return Finding(
        "catalogs", "ok", f"{label} is followed, its number {last.sequence} counts until {day(last.validity)}."
    )


# -- folders --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of ours, and the setting that moves it."""

    name: str
    folder: Path
    setting: str

    @property
    def there(self) -> Path:
        """The folder, or the nearest one above it that exists."""
        # Of os.path: that of pathlib raises below a folder that may not be entered.
        return next(path for path in (self.folder, *self.folder.parents) if os.path.exists(path))

    @property
    def move(self) -> str:
        """The command that puts it elsewhere."""
        return f"`export PINFORMERS_{self.setting.upper()}=FOLDER`"


def places(settings: Settings) -> tuple[Place, Place]:
    """Return the hub cache and the folder of our records."""
    cache = Place("hub cache", Path(hub_cache(settings)), "cache_dir")
    return cache, Place("records", state_dir(settings), "state_dir")


def check_folders(both: Sequence[Place]) -> Iterator[Finding]:
    """Try out what the folders must allow; what both have from one file system is tried once."""
    seen: set[int] = set()
    for place in both:
        writable = _written(place)
        yield writable
        device = place.there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        yield _space(place)
        if writable.level == "ok":
            with _probe(place) as probe:
                yield _links(place, Path(probe))
                yield locks_hold(place, Path(probe), lambda path: FileLock(path, timeout=0))
    if len(seen) > 1:
        said = "The hub cache and our records lie on two file systems; both must be there when a model is loaded."
        yield Finding("records", "note", said)


def _probe(place: Place) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=".pinformers-doctor-", dir=place.there)


def _written(place: Place) -> Finding:
    if not place.there.is_dir():
        return Finding(place.name, "wrong", f"{place.there} is no folder; delete it, or {place.move}.")
    try:
        with _probe(place) as probe:
            (Path(probe) / "file").write_bytes(b"pinformers")
    except OSError as exc:
        said = f"Nothing can be written into {place.there} ({reason(exc)})"
        return Finding(place.name, "wrong", f"{said}; `chmod u+w {place.there}`, or another folder: {place.move}.")
    state = "can be written" if place.there == place.folder else "is not there yet, and can be made"
    return Finding(place.name, "ok", f"{place.folder} {state}.")


def _space(place: Place) -> Finding:
    free = shutil.disk_usage(place.there).free
    if free >= LEAST_SPACE:
        return Finding("free space", "ok", f"{size(free)} are free at {place.there}.")
    said = f"Only {size(free)} are free at {place.there}, and a model needs more; `pinformers gc` removes leftovers"
    return Finding("free space", "wrong", f"{said}, `pinformers rm MODEL` a model, {place.move} moves it.")


def _links(place: Place, probe: Path) -> Finding:
    try:
        (probe / "link").symlink_to("file")
    except (OSError, NotImplementedError) as exc:
        said = f"There are no symbolic links in {place.there} ({exc}), so a file that two commits share is stored twice"
        return Finding(place.name, "note", f"{said}; a file system with links saves that: {place.move}.")
    return Finding(place.name, "ok", f"Symbolic links work in {place.there}.")


def locks_hold(place: Place, probe: Path, lock: Callable[[Path], AbstractContextManager[object]]) -> Finding:
    """Hold a lock while another process tries to take it."""
    path = probe / "lock"
    here = f"{place.there}; nothing breaks, but two processes may download the same file"
    try:
        with lock(path):
            # Another process: where locks belong to a process (fcntl, NFS), it can take its own one twice.
            command = [sys.executable, "-c", _TAKE, str(path)]
            child = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD, check=False)
    except (OSError, NotImplementedError) as exc:
        said = f"File locks do not work in {here} ({exc})"
        return Finding("locks", "wrong", f"{said}. A local disk has them: {place.move}.")
    except subprocess.TimeoutExpired:
        said = f"A process that wanted a lock in {place.there} did not end within {_CHILD:.0f} s"
        return Finding("locks", "wrong", f"{said}. A local disk does better: {place.move}.")
    if child.stdout.strip() == "held":
        return Finding("locks", "ok", f"A lock that one process holds in {place.there} keeps others out.")
    if child.stdout.strip() == "taken":
        said = f"Two processes held the same lock in {here}"
        return Finding("locks", "wrong", f"{said}. Mount it with locks (Lustre: flock), or {place.move}.")
    last = (child.stderr.strip().splitlines() or ["no word"])[-1]
    return Finding("locks", "note", f"Whether locks hold in {place.there} could not be tried: {last}.")
