"""A file's bytes out of blocks: every block is verified, the order is the file's, the whole is checked once more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from pinformers._errors import BlockMismatch
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import Fetch, leaves, read_leaf
from pinformers.pinning.pin import PinnedFile

Progress = Callable[[int], None]


def write_file(file: PinnedFile, fetch: Fetch, out: BinaryIO, progress: Progress | None = None) -> None:
    """Write the file that ``file`` pins; raises SourceError, BadBlock or BlockMismatch and has written less then."""
    digest = hashlib.sha256()
    for leaf in leaves(CID.parse(file.cid), fetch, size=file.size):
        part = read_leaf(leaf, fetch)
        out.write(part)
        digest.update(part)
        if progress is not None:
            progress(len(part))
    if digest.hexdigest() != file.sha256:
        # Every block matched its CID, so the pin contradicts itself: its sha256 belongs to other bytes.
        raise BlockMismatch(f"{file.cid} (sha256 {file.sha256})")
