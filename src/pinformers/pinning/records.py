"""Small files that survive a crash and many writers: written aside, synced, renamed; read whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:
    # Windows.
    fcntl = None  # type: ignore[assignment]

Json = dict[str, Any]
# Size in bytes, mtime in ns, inode.
Stat = tuple[int, int, int]
# Whatever is younger may belong to a process that is at work on it.
AGE = 3600.0
# Seconds between two looks at a lock. Most are held for milliseconds, by who records another file of the same model; a
# blob's is held while gigabytes come, and every process that waits for them has a thread at each.
_PAUSE_FIRST, _PAUSE_LAST = 0.002, 0.05
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Which files lie aside: what a killed process left of what was to replace another file.
ASIDE = f".*.{'[0-9a-f]' * 8}.staging"
# What reading a record of another hand can raise, beside errors of ours.
MALFORMED = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)

_NEEDED: ContextVar[tuple[Path, ...]] = ContextVar("pinformers_needed", default=())


@functools.lru_cache(maxsize=4096)
def cached_path(folder: str | Path, *names: str) -> Path:
    """Join a path. A load asks for the same few again and again, and a Path keeps its text and its hash."""
    return Path(folder, *names)


def aside(path: Path) -> Path:
    """Return a new name beside ``path``, for what is to replace it."""
    # Not mkstemp: its files are for their owner alone, and a cache may be shared by a group.
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.staging")


def left_aside(path: Path) -> Iterator[Path]:
    """Yield what lies beside ``path`` under such names."""
    return path.parent.glob(f".{glob.escape(path.name[:40])}{ASIDE[2:]}")


@contextlib.contextmanager
def only_while(root: Path, *others: Path) -> Iterator[None]:
    """Make no folder once ``root``, or one of ``others``, is gone, and never ``root`` itself.

    What works beside its caller, who may delete everything meanwhile, is not to bring back a part of it.
    """
    token = _NEEDED.set((root, *others))
    try:
        yield
    finally:
        _NEEDED.reset(token)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; raises FileNotFoundError where ``only_while`` forbids it."""
    needed = _NEEDED.get()
    for each in needed:
        os.stat(each)
    if needed and not folder.is_dir():
        if folder.parent != needed[0]:
            make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    elif not needed:
        folder.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, content: bytes) -> Stat:
    """Replace ``path`` by ``content`` so that a reader, or a crash, sees the old or the new whole.

    Returns how what was written looks; what lies there by then may be another process's.
    """
    make_folder(path.parent)
    try:
        with replacing(path) as out:
            out.write(content)
            out.flush()
            status = os.fstat(out.fileno())
    except OSError as exc:
        # A write into a full disk does not say where, and the name of what lies aside says nothing to anybody.
        exc.filename = str(path)
        del exc.filename2
        raise
    return status.st_size, status.st_mtime_ns, status.st_ino


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that takes the place of ``path`` when it is complete, and is deleted when it fails."""
    staging = aside(path)
    try:
        with open(staging, "xb") as out:
            yield out
            out.flush()
            sync(out.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a disk that is full say where: a write does not."""
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            exc.filename = exc.filename or str(path)
        raise


def sync(descriptor: int) -> None:
    """Wait until the file's bytes are on the disk: a rename may otherwise outlive them (ext4 ``auto_da_alloc``)."""
    os.fsync(descriptor)


def reason(exc: OSError) -> str:
    """Say what went wrong, in the words of the system and without their number."""
    return exc.strerror or str(exc)


def write_json(path: Path, value: Mapping[str, Any]) -> Stat:
    """Replace ``path`` by one JSON object, keys sorted so that equal values are equal bytes; returns how it looks."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    # The surrogates in a path that is no text become what JSON has for them.
    return write_bytes(path, text.encode(errors="backslashreplace"))


def read_json(path: Path) -> Json | None:
    """Return the JSON object in ``path``; None when there is none, or when it is not a readable object."""
    try:
        # A pipe of that name would be waited for.
        value = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        # Of another user, of another format, half gone: whoever asked goes on as if there were none.
        return None
    return value if isinstance(value, dict) else None


@contextlib.contextmanager
def lock(path: Path, timeout: float) -> Iterator[bool]:
    """Hold the file lock at ``path``, or go on without it after ``timeout`` seconds; says which.

    A lock only saves work: what is written under it is put in place by a rename, true with or without it.
    """
    try:
        make_folder(path.parent)
        held = FileLock(path)
        _acquire(held, path, timeout)
    except (Timeout, NotImplementedError, OSError):
        # Also a lock file of another user, and file systems that know no locks (ENOLCK, EOPNOTSUPP).
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def _acquire(held: FileLock, path: Path, timeout: float) -> None:
    """Wait for a lock as ``held.acquire`` does, whose every try costs a hundred times as much as a look."""
    # A look of somebody else is over at once, and holds no lock up.
    end, pause = time.monotonic() + max(timeout, _PAUSE_FIRST), _PAUSE_FIRST
    while True:
        left = end - time.monotonic()
        if left <= 0 or not _taken(path):
            try:
                held.acquire(timeout=0)
                return
            except Timeout:
                if left <= 0:
                    raise
        time.sleep(min(pause, left))
        pause = min(2 * pause, _PAUSE_LAST)


def _taken(path: Path) -> bool:
    """Whether somebody holds the lock at this moment; False where this system cannot say."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not grasp(descriptor, shared=True)
    finally:
        os.close(descriptor)


def grasp(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, as filelock does and until it is closed; False where others hold that, True for no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system that knows no locks.
        pass
    return True


def signature(path: str | Path) -> Stat | None:
    """Return size in bytes, mtime in ns and inode of what ``path`` leads to; None when there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
