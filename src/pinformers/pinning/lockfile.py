"""``pinformers.lock``: what each model of a project must be, a line a file, made to be reviewed and merged in git."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinformers._errors import BadCID, BadLock, PinError
from pinformers.ipfs.cid import CID, RAW, SHA2_256
from pinformers.ipfs.layout import dag_size
from pinformers.pinning.access import check_origin, for_others, foreign_info
from pinformers.pinning.pin import (
    OID,
    Hub,
    Pin,
    PinnedFile,
    check_commit,
    check_path,
    check_repo,
    check_revision,
    pointer_id,
)
from pinformers.pinning.records import reason, signature, write_bytes

NAME = "pinformers.lock"
HEAD = "pinformers-lock 1"
_WORDS = ("commit", "root", "origin", "listed", "info")
_CHOICES = {"origin": ("hub", "folder"), "listed": ("yes", "no")}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_DAG = re.compile(r"dag=([1-9][0-9]{0,17})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_STRINGS = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Lock:
    """The pins of a project by model and revision; ``label`` says where they stand."""

    pins: Mapping[tuple[str, str], Pin] = field(default_factory=dict)
    label: str = field(default=NAME, compare=False)

    def files(self) -> frozenset[str]:
        """Return the CIDs of all files."""
        return frozenset(file.cid for pin in self.pins.values() for file in pin.files.values())

    def find(self, repo: str, revision: str | None = None) -> Pin | None:
        """Return what is locked for a branch or tag (main, where none is said) or a commit; None for any other."""
        name = revision or "main"
        found = self.pins.get((repo, name))
        same = (pin for (model, _), pin in self.pins.items() if model == repo and pin.commit == name)
        return found or next(same, None)


class LockSource:
    """A lockfile that is read again when its size, mtime or inode changed; ``tell`` hears of it at its first use."""

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.path, self._tell = path, tell
        self._read: tuple[tuple[int, int, int], Lock] | None = None

    def read(self) -> Lock | None:
        """Return what it says now, None where there is no file; raises BadLock."""
        looks, read = signature(self.path), self._read
        if looks is None:
            return None
        if read is None or read[0] != looks:
            lock = read_lock(self.path)
            if read is None:
                count = len(lock.pins)
                self._tell(f"Using the lockfile {self.path}, which names {count} model{'' if count == 1 else 's'}")
            # Its looks were taken before its bytes: if it changes in between, it is read once more.
            self._read = read = looks, lock
        return read[1]


def nearest_lock(start: Path) -> Path | None:
    """Return the lockfile in ``start`` or the nearest folder above it, or None."""
    folder = Path(os.path.abspath(start))
    return next((path for above in (folder, *folder.parents) if _trusted(path := above / NAME)), None)


def _trusted(path: Path) -> bool:
    if signature(path) is None:
        return False
    # In /tmp anyone may leave one, and would decide what everybody below loads.
    public = hasattr(os, "getuid") and path.parent.stat().st_mode & 0o002
    return not public or path.stat().st_uid in (0, os.getuid())


# -- writing --------------------------------------------------------------------------------------------------


def write_lock(path: Path, lock: Lock) -> bool:
    """Write ``lock`` to ``path``; returns False, and writes nothing, where it stands there already."""
    content = render_lock(lock).encode()
    if signature(path) is not None and path.read_bytes().replace(b"\r\n", b"\n") == content:
        return False
    # A link, to a lockfile that projects share, stays one.
    write_bytes(Path(os.path.realpath(path)), content)
    return True


def render_lock(lock: Lock) -> str:
    """Return the text of a lockfile: equal locks have equal texts. Raises PinError for a pin that it cannot hold."""
    entries = ("\n".join(_entry(revision, pin)) for (_, revision), pin in sorted(lock.pins.items(), key=_key))
    return "\n\n".join([HEAD, *entries]) + "\n"


def _key(item: tuple[tuple[str, str], Pin]) -> tuple[str, str]:
    return item[0]


def _entry(revision: str, pin: Pin) -> Iterator[str]:
    if pin.repo_type != "model" or pin.origin == "ipfs":
        raise PinError(pin.repo, "only models that have a name of the hub's form can be locked")
    if pin.others or not pin.files:
        raise PinError(pin.repo, "only models of which every file is pinned can be locked")
    yield f"model {pin.repo} {_word(revision)}"
    yield f"  commit {pin.commit}"
    yield f"  root {pin.root}"
    yield f"  origin {pin.origin}"
    yield f"  listed {'yes' if pin.listed else 'no'}"
    if pin.info is not None:
        yield f"  info {_json(dict(for_others(pin).info or {}))}"
    for path, file in sorted(pin.files.items()):
        if not file.sha256:
            raise PinError(f"{pin.repo}/{path}", "it can be locked once it was loaded, its sha256 is not known yet")
        derived = _dag_size(CID.parse(file.cid), file.size)
        layout = "" if file.dag_size == derived else f" dag={file.dag_size}"
        yield f"  file {_word(path)} {file.size} {file.cid} {file.sha256} {_blob(file)}{layout}"


def _blob(file: PinnedFile) -> str:
    """Write the name of the blob in the hub cache: ``lfs`` for the sha256, a git blob id, or ``-``."""
    blob_id = file.hub.get("blob_id")
    if file.hub.get("lfs_sha256"):
        return "lfs" if blob_id in (None, pointer_id(file.sha256, file.size)) else f"lfs:{blob_id}"
    return blob_id or "-"


def _word(text: str) -> str:
    # What cannot be seen in a review is written in escapes.
    return text if text.isprintable() and " " not in text and not text.startswith('"') else _json(text)


def _json(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value, sort_keys=True)


# -- reading --------------------------------------------------------------------------------------------------


def read_lock(path: Path) -> Lock:
    """Read a lockfile; raises BadLock, one sentence with the line, for the first thing that is wrong in it."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise BadLock(str(path), 1, f"it cannot be read ({reason(exc)})") from exc
    try:
        return parse_lock(content.decode(), str(path))
    except UnicodeDecodeError as exc:
        raise BadLock(str(path), content[: exc.start].count(b"\n") + 1, "this line is not UTF-8") from exc


def parse_lock(text: str, label: str = NAME) -> Lock:
    """Read the text of a lockfile, as read_lock does."""
    lines = _Lines(label)
    for number, line in enumerate(text.split("\n"), 1):
        lines.number = number
        try:
            # A checkout may have turned line ends around (core.autocrlf).
            lines.take(line.removesuffix("\r"))
        except PinError as exc:
            raise BadLock(label, lines.number, f"{exc.subject}: {exc.advice}") from exc
        except (BadCID, ValueError) as exc:
            raise BadLock(label, lines.number, str(exc)) from exc
    return lines.finish()


class _Entry:
    """A model while its lines are read: ``lines`` holds where each of its words stands."""

    def __init__(self, repo: str, revision: str, line: int) -> None:
        self.repo, self.revision, self.line = repo, revision, line
        self.lines: dict[str, int] = {}
        self.said: dict[str, str] = {}
        self.files: dict[str, PinnedFile] = {}

    def pin(self) -> Pin:
        info = _read_info(self.said["info"]) if "info" in self.said else None
        origin, listed = self.said["origin"] == "folder", self.said["listed"] == "yes"
        return Pin(
            self.repo, self.said["commit"], self.files, listed=listed, info=info, origin="folder" if origin else "hub"
        )


class _Lines:
    """What was read so far. Its methods raise ValueError or PinError for the line ``number``."""

    def __init__(self, label: str) -> None:
        self.number = 0
        self._label = label
        self._entry: _Entry | None = None
        self._pins: dict[tuple[str, str], Pin] = {}
        self._roots: dict[tuple[str, str], CID] = {}

    def take(self, line: str) -> None:
        if line.startswith(_CONFLICT):
            raise ValueError("a merge conflict is left here; keep the lines of one side, then run `pinformers lock`")
        if self.number == 1:
            if line.startswith("\ufeff"):
                raise ValueError("a byte order mark (BOM) stands before the first word; save it as UTF-8 without one")
            if line != HEAD:
                raise ValueError(f"the first line of a lockfile is {HEAD!r}, and this one is {line[:80]!r}")
        elif line.startswith("model "):
            self._close()
            self._open(line.removeprefix("model "))
        elif line.startswith("  ") and self._entry is not None:
            word, _, rest = line[2:].partition(" ")
            self._file(self._entry, rest) if word == "file" else self._say(self._entry, word, rest)
        elif line:
            raise ValueError(f"a line is 'model ...' or, below that, '  file ...' and the like, not {line[:80]!r}")

    def finish(self) -> Lock:
        self._close()
        return Lock(self._pins, self._label)

    def _open(self, rest: str) -> None:
        repo, _, revision = rest.partition(" ")
        revision, left = _read_word(revision)
        if left:
            raise ValueError("a model has a name and a revision, and no more")
        self._entry = _Entry(check_repo(repo), check_revision(revision), self.number)
        if (repo, revision) in self._pins:
            raise ValueError(f"{repo} {revision} stands here for the second time; keep one of the two")

    def _say(self, entry: _Entry, word: str, rest: str) -> None:
        if word not in _WORDS:
            raise ValueError(f"{word[:80]!r} is none of the words file, {', '.join(_WORDS)}")
        if word in entry.said:
            raise ValueError(f"{word!r} stands here for the second time in this model")
        if word == "commit":
            check_commit(rest)
        elif word == "root":
            CID.parse(rest)
        elif word == "info":
            _read_info(rest)
        elif rest not in _CHOICES[word]:
            raise ValueError(f"{word} is {' or '.join(_CHOICES[word])}, not {rest[:80]!r}")
        entry.said[word], entry.lines[word] = rest, self.number

    def _file(self, entry: _Entry, rest: str) -> None:
        path, left = _read_word(rest)
        check_path(path)
        if path in entry.files:
            raise ValueError(f"{_word(path)} stands here for the second time in this model")
        entry.files[path] = _read_file(left.split(" "))

    def _close(self) -> None:
        entry, self._entry = self._entry, None
        if entry is None:
            return
        missing = [word for word in _WORDS[:4] if word not in entry.said]
        if missing or not entry.files:
            raise BadLock(self._label, entry.line, f"{entry.repo} has no line {(missing or ['file'])[0]!r}")
        line, wanted, pin = entry.lines["root"], CID.parse(entry.said["root"]), entry.pin()
        try:
            found = pin.directory().cid
        except PinError as exc:
            raise BadLock(self._label, line, f"{exc.subject}: {exc.advice}") from exc
        if found != wanted:
            raise BadLock(self._label, line, f"the root of the files below is {found}, and not {wanted}")
        try:
            check_origin(pin)
        except ValueError as exc:
            raise BadLock(self._label, entry.lines["origin"], str(exc)) from exc
        if self._roots.setdefault((pin.repo, pin.commit), found) != found:
            raise BadLock(self._label, line, f"{pin.repo} has another root at the same commit above")
        self._pins[entry.repo, entry.revision] = pin


def _read_word(text: str) -> tuple[str, str]:
    """Split the first word off, which may be written as a JSON string."""
    if not text.startswith('"'):
        word, _, left = text.partition(" ")
        return word, left
    try:
        word, end = _STRINGS.raw_decode(text)
    except ValueError as exc:
        raise ValueError(f"the string that begins with {text[:20]!r} is not JSON") from exc
    if text[end : end + 1] not in ("", " "):
        raise ValueError("a space belongs behind the closing quote")
    return word, text[end + 1 :]


def _read_info(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError("info is a JSON object, and this is no JSON") from exc
    if not isinstance(value, dict):
        raise ValueError("info is a JSON object")
    return foreign_info(value)


def _read_file(fields: list[str]) -> PinnedFile:
    if not 4 <= len(fields) <= 5:
        raise ValueError("a file has a path, a size, a CID, a sha256 and a blob, each behind one space")
    size, text, sha256, blob = fields[:4]
    blocks = _DAG.fullmatch(fields[4]) if len(fields) == 5 else None
    if not _NUMBER.fullmatch(size):
        raise ValueError(f"a size is a number of bytes, not {size[:80]!r}")
    if len(fields) == 5 and blocks is None:
        raise ValueError(f"what follows a blob is 'dag=' and the bytes of all blocks, not {fields[4][:80]!r}")
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"a sha256 is 64 hex digits, not {sha256[:80]!r}")
    cid, count = CID.parse(text), int(size)
    if (cid.codec, cid.hash_code) == (RAW, SHA2_256) and cid.digest.hex() != sha256:
        raise ValueError("the CID and the sha256 are not of the same bytes")
    hub = _read_blob(blob, sha256, count)
    return PinnedFile(count, str(cid), int(blocks[1]) if blocks else _dag_size(cid, count), sha256, hub)


def _read_blob(blob: str, sha256: str, size: int) -> Hub:
    kind, _, pointer = blob.partition(":")
    if kind == "lfs" and (pointer or blob == kind):
        pointer = _git(pointer) if pointer else pointer_id(sha256, size)
        return {"size": size, "blob_id": pointer, "lfs_sha256": sha256, "lfs_size": size}
    return {} if blob == "-" else {"size": size, "blob_id": _git(blob)}


def _git(blob: str) -> str:
    if not OID.fullmatch(blob):
        raise ValueError(f"a blob is 'lfs', '-' or a git blob id of 40 hex digits, not {blob[:80]!r}")
    return blob


def _dag_size(cid: CID, size: int) -> int:
    return size if cid.codec == RAW else dag_size(size)
