"""A record that grows file by file: a JSON file that is replaced whole, and beside it a journal, one line a change.

To write a record of a thousand files and to sync it takes twenty milliseconds, and a line far less than one. A journal
that outgrows its record is folded into it, so what is written stays in proportion to what is recorded. A line is
appended without a lock, which costs ten times as much: a fold sets the journal aside first, and who appended to one
that was set aside does so again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pinformers._errors import PinError
from pinformers.pinning.records import MALFORMED, Stat, naming, read_json, signature

# So many bytes more than its record a journal may have: about a hundred files.
SLACK = 16 << 10
_logger = logging.getLogger("pinformers")
T = TypeVar("T")
C = TypeVar("C")


class Form(Generic[T, C]):
    """How a record is read, how a line of its journal, and how both are joined; a line met twice changes nothing."""

    def __init__(
        self,
        record: Callable[[Mapping[str, Any]], T],
        line: Callable[[Mapping[str, Any]], C],
        join: Callable[[T, Sequence[C]], T],
    ) -> None:
        self.record, self.line, self.join = record, line, join


class Seen(NamedTuple):
    """How a record and its journal looked, and their ``value`` up to the journal's ``end``; None where it is bad."""

    record: Stat
    journal: Stat | None
    end: int
    value: object


@functools.lru_cache(maxsize=4096)
def journals_of(record: Path) -> tuple[str, str]:
    """Return where the journal of a record lies, or would, and where it lies while it is folded."""
    # As text: a load asks for them, and a Path costs more than the question.
    return str(record.with_suffix(".jsonl")), str(record.with_name(f"{record.stem}.old.jsonl"))


def record_of(journal: Path) -> Path:
    """Return the record to which a journal belongs."""
    return journal.with_name(f"{journal.name.partition('.')[0]}.json")


def append(record: Path, change: Mapping[str, Any]) -> bool:
    """Note a change of a record that is there; False where the record is to be written whole instead.

    Nothing is synced: each line that a power loss takes costs one hash of the files that it is about.
    """
    # It begins a line also where a crash has left half of one.
    line = f"\n{json.dumps(change)}\n".encode()
    journal = journals_of(record)[0]
    whole, so_far = signature(record), signature(journal)
    if whole is None or (so_far or (0,))[0] + len(line) > whole[0] + SLACK:
        return False
    if so_far is None and os.path.exists(journal):
        # A pipe would be waited for; a fold clears it away.
        return False
    try:
        return any(_appended(journal, line) for _ in range(3))
    except PermissionError:
        # Another user's, in a cache that several share: it can be set aside, by the rights of the folder alone.
        return False


def _appended(journal: str, line: bytes) -> bool:
    with naming(Path(journal)), open(journal, "ab") as out:
        out.write(line)
        out.flush()
        # Set aside by a fold, which may have read it before.
        return os.fstat(out.fileno()).st_ino == (signature(journal) or (0, 0, 0))[2]


def set_aside(record: Path) -> None:
    """Begin a fold: what is in the journal stays as it is, and what is appended from now on goes to a new one."""
    journal, aside = journals_of(record)
    # One that is there is of a fold that died, and is folded first. A journal that cannot be moved stays.
    if not os.path.exists(aside):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.rename(journal, aside)


def end_fold(record: Path) -> None:
    """Delete what was set aside, which the record has now; if it cannot be deleted, it says nothing new."""
    with contextlib.suppress(PermissionError):
        Path(journals_of(record)[1]).unlink(missing_ok=True)


def drop_journals(record: Path) -> None:
    """Delete the journals of a record that is going, or is gone: they would be taken for those of the next one."""
    for journal in journals_of(record):
        Path(journal).unlink(missing_ok=True)


def drop(record: Path) -> None:
    """Delete a record with its journals."""
    drop_journals(record)
    record.unlink(missing_ok=True)


def look(path: Path, seen: Seen | None, form: Form[T, C]) -> Seen | None:
    """Read a record with its journals; of the one that was ``seen`` what was appended since. None where there is none.

    What cannot be read is named, and has no value.
    """
    now, before = journals_of(path)
    # Asked at each load, and most records have none: an exception costs five times the question.
    journal = signature(now) if os.access(now, os.F_OK) else None
    record = signature(path)
    if record is None:
        return None
    # Without a journal then, what is set aside may have been one since.
    stands = seen is not None and (seen.journal is not None or not os.access(before, os.F_OK))
    if seen is not None and stands and seen.record == record:
        if seen.journal == journal:
            return seen
        if seen.value is not None and journal is not None and _goes_on(seen, journal):
            inode, lines = _read(now, seen.end)
            if inode == journal[2]:
                value = form.join(seen.value, _changes(lines, form))  # type: ignore[arg-type]
                return Seen(record, journal, seen.end + len(lines), value)
    # Against the way that a line takes: of those that are folded meanwhile each is met twice, and none is missed.
    inode, lines = _read(now, 0)
    _, older = _read(before, 0)
    try:
        value = form.record(read_json(path) or {})
    except (PinError, *MALFORMED) as exc:
        # Half a record cannot be seen (renames), so this is another format or another hand: not ours.
        _logger.warning("The record %s cannot be read (%s) and counts as none; delete it.", path, exc)
        return Seen(record, journal, 0, None)
    end = len(lines) if journal is not None and inode == journal[2] else 0
    return Seen(record, journal, end, form.join(value, _changes(older + lines, form)))


def _goes_on(seen: Seen, journal: Stat) -> bool:
    return seen.journal is None or (seen.journal[2] == journal[2] and seen.end <= journal[0])


def _read(journal: str, start: int) -> tuple[int, bytes]:
    """Return the inode of a journal and its lines from ``start`` on, without half a line at the end."""
    try:
        if signature(journal) is None:
            # There is none. A pipe would be waited for.
            return 0, b""
        with open(journal, "rb") as stream:
            inode = os.fstat(stream.fileno()).st_ino
            stream.seek(start)
            content = stream.read()
    except OSError:
        # There is none, or it is another user's: what it says is found out once more.
        return 0, b""
    return inode, content[: content.rfind(b"\n") + 1]


def _changes(lines: bytes, form: Form[T, C]) -> list[C]:
    return [change for line in lines.split(b"\n") if line for change in _change(line, form)]


def _change(line: bytes, form: Form[T, C]) -> Iterator[C]:
    try:
        yield form.line(json.loads(line))
    except (PinError, *MALFORMED) as exc:
        # Half of it was written when a process or the power died.
        _logger.debug("A line of a journal is passed over: %r.", exc)
