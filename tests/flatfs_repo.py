"""The folder of a Kubo repo, as far as its blocks lie there in files."""

from __future__ import annotations

import base64
from pathlib import Path

from pinformers.ipfs.cid import CID

NEXT_TO_LAST = "/repo/flatfs/shard/v1/next-to-last/2\n"


def make_repo(folder: Path, sharding: str = NEXT_TO_LAST) -> Path:
    """Make a repo without blocks, which says that it keeps them so."""
    (folder / "blocks").mkdir(parents=True)
    (folder / "blocks" / "SHARDING").write_text(sharding, encoding="utf-8")
    return folder


def put_block(repo: Path, cid: CID, block: bytes) -> Path:
    """Put a block where ``NEXT_TO_LAST`` has it, true or not; returns its file."""
    key = base64.b32encode(cid.multihash).decode().rstrip("=")
    target = repo / "blocks" / key[-3:-1] / f"{key}.data"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(block)
    return target
