"""Copies that share their places on the disk with the file that they are of, where the file system can: XFS, Btrfs.

Such a copy is not read, so its bytes are those that were hashed only where nobody wrote to the file since.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO, TypeAlias

if sys.platform == "linux":
    import fcntl

Looks: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and the times of the last change of the bytes and of the file (ns)."""

# What is written through a mapping shows in the times when its page was written back in between: after 35 s at most, as
# Linux is set (dirty_expire_centisecs, dirty_writeback_centisecs).
_SETTLED = 60 * 10**9
# ioctl_ficlone(2), on most processors; on the others it is a number that no file system knows.
_FICLONE = 0x40049409

_logger = logging.getLogger("pinformers")


def settled(path: Path) -> Looks | None:
    """Return how a file looks that nobody has written to for a minute, before it is hashed; None for another."""
    looks = _looks(os.stat(path))
    return looks if max(looks[3:]) < time.time_ns() - _SETTLED else None


def clone(path: Path, looks: Looks, out: BinaryIO) -> bool:
    """Make ``out`` a clone of a file that still looks so; False where that cannot be, whatever ``out`` then holds."""
    if sys.platform != "linux":
        return False
    try:
        with open(path, "rb", buffering=0) as source:
            fcntl.ioctl(out.fileno(), _FICLONE, source.fileno())
            return _looks(os.fstat(source.fileno())) == looks
    except OSError as exc:
        _logger.debug("%s is read to be copied: %s", path, exc)
        return False


def _looks(status: os.stat_result) -> Looks:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
