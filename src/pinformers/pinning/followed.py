"""Which shared catalogs this machine follows, in which order of trust: one small JSON file a catalog."""

from __future__ import annotations

import base64
import dataclasses
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinformers._errors import BadCID, PinError
from pinformers.ipfs.cid import CID
from pinformers.ipfs.ipns import IpnsName, IpnsRecord, verify_record
from pinformers.pinning.records import MALFORMED, lock, read_json, write_json

FORMAT = 1
_LABEL = re.compile(r"[\w.-]{1,64}", re.ASCII)
_logger = logging.getLogger("pinformers")


@dataclass(frozen=True, slots=True)
class Followed:
    """A followed catalog: its IPNS ``name``, our ``label``, its ``position`` in the order of trust.

    ``record`` is the last one that was accepted, and ``root`` the folder that it led to. ``fetched_at`` is when it was
    last confirmed and ``ask_after`` when anybody may ask again (seconds since the epoch).
    """

    name: str
    label: str
    position: int
    record: bytes = b""
    root: str = ""
    fetched_at: float = 0.0
    ask_after: float = 0.0
    refusal: str = ""

    def last(self) -> IpnsRecord | None:
        """Return what the last good record says."""
        return verify_record(self.name, self.record) if self.record else None

    def to_json(self) -> dict[str, Any]:
        last = self.last()
        found = dataclasses.asdict(self)
        sequence = None if last is None else last.sequence
        return {**found, "format": FORMAT, "record": base64.b64encode(self.record).decode(), "sequence": sequence}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Followed:
        """Read one; raises PinError for anything else."""
        try:
            if value["format"] != FORMAT or not isinstance(value["position"], int):
                raise ValueError(f"its format is {value['format']!r}")
            found = cls(
                name=str(IpnsName.parse(value["name"])),
                label=check_label(value["label"]),
                position=value["position"],
                record=base64.b64decode(value["record"], validate=True),
                root=str(CID.parse(value["root"])) if value["root"] else "",
                fetched_at=float(value["fetched_at"]),
                ask_after=float(value["ask_after"]),
                refusal=str(value["refusal"]),
            )
            found.last()
            return found
        except MALFORMED as exc:
            raise PinError("A followed catalog", f"its record cannot be read ({exc!r})") from exc


def check_label(label: str) -> str:
    """Return ``label`` if it is a short plain word; raise PinError otherwise."""
    if not _LABEL.fullmatch(label):
        raise PinError(repr(label), "a catalog is called by up to 64 letters, digits, '.', '_' and '-'")
    return label


class FollowedList:
    """The followed catalogs under ``folder``, and what is known of each."""

    def __init__(self, folder: Path, *, lock_timeout: float = 10.0) -> None:
        self.folder, self._lock_timeout = folder, lock_timeout
        self._unwritten: dict[str, Followed] = {}
        self._warned: set[Path] = set()

    def all(self) -> list[Followed]:
        """Return them in their order of trust; a record that cannot be read counts as none."""
        found = [self._read(path) for path in self.folder.glob("k*.json")]
        return sorted((one for one in found if one is not None), key=lambda one: (one.position, one.name))

    def get(self, name: str) -> Followed | None:
        """Return the one that is called so, by its label or in any form of its IPNS name."""
        known = self.all()
        try:
            key = str(IpnsName.parse(name))
        except BadCID:
            key = ""
        return next((one for one in known if one.label == name or one.name == key), None)

    def add(self, name: str, label: str | None, *, first: bool) -> Followed:
        """Follow a catalog, behind the others or before them; one that is followed changes its label or its place."""
        key = str(IpnsName.parse(name))
        with lock(self.folder / ".lock", self._lock_timeout):
            known = self.all()
            old = next((one for one in known if one.name == key), None)
            taken = check_label(label or (old.label if old is not None else key[-8:]))
            if any(one.label == taken and one.name != key for one in known):
                raise PinError(taken, "another catalog is called so; choose another label with --as")
            places = [one.position for one in known if one.name != key]
            place = min(places, default=1) - 1 if first else max(places, default=-1) + 1
            if old is not None and not first:
                place = old.position
            new = dataclasses.replace(old or Followed(key, taken, place), label=taken, position=place)
            self._unwritten.pop(key, None)
            write_json(self._path(key), new.to_json())
        return new

    def remove(self, name: str) -> Followed:
        """Follow a catalog no longer; raises PinError where it is not followed."""
        found = self.get(name)
        if found is None:
            raise PinError(name, "it is not followed; `pinformers catalog ls` lists what is")
        self._path(found.name).unlink(missing_ok=True)
        return found

    def update(self, name: str, change: Callable[[Followed], Followed]) -> Followed | None:
        """Apply a change to what now stands; return it, or None where the catalog is not followed any more."""
        with lock(self.folder / ".lock", self._lock_timeout):
            old = self._read(self._path(name))
            if old is None:
                return None
            new = change(old)
            if new != old:
                self._write(new)
            return new

    def _write(self, followed: Followed) -> None:
        try:
            write_json(self._path(followed.name), followed.to_json())
            self._unwritten.pop(followed.name, None)
        except OSError as exc:
            # Records that this user may only read: what was learned counts for this process.
            _logger.debug("The catalog %s is remembered in memory only: %s", followed.label, exc)
            self._unwritten[followed.name] = followed

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, path: Path) -> Followed | None:
        value = read_json(path)
        if value is None:
            return None
        try:
            followed = Followed.from_json(value)
            if path != self._path(followed.name):
                raise PinError(followed.name, f"it belongs into {self._path(followed.name).name}")
        except PinError as exc:
            if path not in self._warned:
                self._warned.add(path)
                _logger.warning("%s: %s Delete the file and follow the catalog again.", path, exc)
            return None
        return self._unwritten.get(followed.name, followed)
