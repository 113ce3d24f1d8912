"""A file's bytes out of blocks: every block is verified, the order is the file's, the whole is checked once more."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from pinformers._errors import BlockMismatch
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import Fetch, leaves, read_leaf
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.sources.base import Chain


def fetch_file(cache: RepoCache, pin: Pin, path: str, chain: Chain) -> tuple[list[str], bool]:
    """Put a pinned file in place out of the chain's blocks.

    Returns what was made in the repo's folder, and whether the bytes in place are the ones that were verified here;
    otherwise another hand was first. Raises SourceError, BadContent or OSError, and has left nothing then.
    """
    file = pin.files[path]
    made = cache.add_file(pin.commit, path, file.etag or file.sha256, lambda out: _write(file, chain.fetch, out))
    written = any(name.startswith("blobs/") or name == f"snapshots/{pin.commit}/{path}" for name in made)
    return made, written and bool(chain.served)


def _write(file: PinnedFile, fetch: Fetch, out: BinaryIO) -> None:
    digest = hashlib.sha256()
    # The blob is going to be named by this id; that of an LFS file is the id of its pointer.
    blob_id = None if file.hub.get("lfs_sha256") else file.hub.get("blob_id")
    git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if blob_id else None
    for leaf in leaves(CID.parse(file.cid), fetch, size=file.size):
        part = read_leaf(leaf, fetch)
        out.write(part)
        digest.update(part)
        if git is not None:
            git.update(part)
    if digest.hexdigest() != file.sha256 or (git is not None and git.hexdigest() != blob_id):
        # Every block matched its CID, so the pin contradicts itself: its hashes belong to different bytes.
        raise BlockMismatch(f"{file.cid} (sha256 {file.sha256}, git {blob_id})")
