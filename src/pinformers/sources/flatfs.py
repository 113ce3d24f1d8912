"""The blocks of a Kubo repo as they lie in its folder: to read them there costs half of asking the daemon."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from pinformers._errors import BadCID, BlockMismatch
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dagpb import MAX_BLOCK

# https://github.com/ipfs/go-ds-flatfs: the folder of a key is named by so many of its letters, the last one left out.
_SHARDING = re.compile(r"/repo/flatfs/shard/v1/next-to-last/([1-9])\s*")


class Flatfs:
    """A folder of blocks, each in a file that is written once and never changed."""

    def __init__(self, folder: Path, letters: int) -> None:
        self._folder, self._letters = os.fspath(folder), letters

    @classmethod
    def of_repo(cls, repo: Path) -> Flatfs | None:
        """Return the blocks of a repo; None where it keeps them in another way, or lets nobody read them."""
        folder = repo / "blocks"
        try:
            match = _SHARDING.fullmatch(_read(os.fspath(folder / "SHARDING"), 256).decode("ascii"))
        except (OSError, ValueError):
            return None
        return None if match is None else cls(folder, int(match[1]))

    def block(self, cid: CID, most: int = MAX_BLOCK) -> bytes | None:
        """Return the verified block of at most so many bytes; None where there is none, or no true one."""
        key = base64.b32encode(cid.multihash).decode("ascii").rstrip("=")
        path = os.path.join(self._folder, key[-1 - self._letters : -1], f"{key}.data")
        try:
            block = _read(path, most)
            cid.verify(block)
        except (OSError, BlockMismatch, BadCID):
            return None
        return block


def _read(path: str, most: int) -> bytes:
    """Read a file of at most so many bytes, in as few calls as can be: beside an import, each waits for the GIL.

    Raises OSError for a longer one. Not even a pipe holds up its reader: who says where the repo is may not be the
    daemon.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        found = os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)
    if len(found) > most:
        raise OSError(f"{path} has more than {most} bytes")
    return found
