"""The blocks of a Kubo repo, read beside its daemon: none but true ones, and none of another kind of repo."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from flatfs_repo import make_repo, put_block
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dagpb import MAX_BLOCK
from pinformers.sources.flatfs import Flatfs

BLOCK = b"a block"
RAW = CID.raw(hashlib.sha256(BLOCK).digest())


def test_a_block_is_found_by_its_multihash_and_verified(tmp_path: Path) -> None:
    blocks = Flatfs.of_repo(make_repo(tmp_path))
    assert blocks is not None
    assert blocks.block(RAW) is None
    target = put_block(tmp_path, RAW, BLOCK)
    for cid in (RAW, CID.dag_pb(RAW.digest), CID(0, 0x70, 0x12, RAW.digest)):
        assert blocks.block(cid) == BLOCK
    target.write_bytes(b"A block")
    assert blocks.block(RAW) is None
    target.unlink()
    target.mkdir()
    assert blocks.block(RAW) is None


def test_what_is_too_big_for_a_block_is_not_read(tmp_path: Path) -> None:
    blocks, big = Flatfs.of_repo(make_repo(tmp_path)), bytes(MAX_BLOCK + 1)
    cid = CID.raw(hashlib.sha256(big).digest())
    put_block(tmp_path, cid, big)
    assert blocks is not None
    assert blocks.block(cid) is None


def test_the_folders_are_named_as_the_repo_says(tmp_path: Path) -> None:
    blocks = Flatfs.of_repo(make_repo(tmp_path, "/repo/flatfs/shard/v1/next-to-last/3"))
    target = put_block(tmp_path, RAW, BLOCK)
    folder = target.stem[-4:-1]
    (tmp_path / "blocks" / folder).mkdir()
    target.rename(tmp_path / "blocks" / folder / target.name)
    assert blocks is not None
    assert blocks.block(RAW) == BLOCK


@pytest.mark.parametrize(
    "sharding", ["", "/repo/flatfs/shard/v1/prefix/2", "/repo/flatfs/shard/v2/next-to-last/2", "é"]
)
def test_another_repo_is_none(tmp_path: Path, sharding: str) -> None:
    assert Flatfs.of_repo(tmp_path / "nowhere") is None
    assert Flatfs.of_repo(make_repo(tmp_path, sharding)) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    blocks = Flatfs.of_repo(make_repo(tmp_path / "a"))
    target = put_block(tmp_path / "a", RAW, BLOCK)
    target.unlink()
    os.mkfifo(target)
    assert blocks is not None
    assert blocks.block(RAW) is None
    (make_repo(tmp_path / "b") / "blocks" / "SHARDING").unlink()
    os.mkfifo(tmp_path / "b" / "blocks" / "SHARDING")
    assert Flatfs.of_repo(tmp_path / "b") is None
