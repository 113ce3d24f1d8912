"""Blocks from the gateway of a real Kubo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ipfs_data import hash_folder, keystream, write_folder
from kubo_repo import KuboDaemon
from pinformers._errors import BlockNotFound
from pinformers.ipfs import CID, hash_file, list_directory, read_file, walk_directory
from pinformers.sources.base import Chain
from pinformers.sources.gateway import GatewaySource
from pinformers.sources.http import Network

pytestmark = pytest.mark.kubo
MIB = 1 << 20


@pytest.fixture
def daemon(start_daemon: Callable[..., KuboDaemon]) -> KuboDaemon:
    """A daemon whose gateway gives what it has, and looks for nothing."""
    return start_daemon("kubo", Gateway__NoFetch="true")


@pytest.fixture
def source(daemon: KuboDaemon) -> GatewaySource:
    return GatewaySource([daemon.gateway], stall_timeout=20, network=Network())


def add(daemon: KuboDaemon, path: Path) -> CID:
    # Over the RPC: the daemon holds the lock of its repo.
    said = daemon.repo.run("--api", daemon.multiaddr, "add", "-rQ", "--progress=false", path)
    return CID.parse(said.decode().strip())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"".join(keystream("weights", 2 * MIB + 5)))
    return path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "sharded"
    write_folder(folder, {f"{n:06}-{'long-name-' * 8}é.txt": b"%d" % n for n in range(4000)})
    return folder


def test_a_file_in_raw_blocks(daemon: KuboDaemon, source: GatewaySource, weights: Path) -> None:
    cid = add(daemon, weights)
    assert cid == hash_file(weights).cid
    chain = Chain([source])
    assert b"".join(read_file(cid, chain.fetch)) == weights.read_bytes()
    assert chain.served == {"gateway": 4}


def test_what_it_does_not_have_it_says_at_once(source: GatewaySource, weights: Path) -> None:
    with pytest.raises(BlockNotFound, match="it does not have the block"):
        source.block(hash_file(weights).cid)


def test_a_sharded_folder(daemon: KuboDaemon, source: GatewaySource, sharded: Path) -> None:
    cid = add(daemon, sharded)
    assert cid == hash_folder(sharded).cid
    assert len(list_directory(cid, source.block)) == 4000
    assert sum(1 for _ in walk_directory(cid, source.block)) == 4000


def test_the_name_localhost_costs_no_redirect(daemon: KuboDaemon, weights: Path) -> None:
    cid = add(daemon, weights)
    named = daemon.gateway.replace("127.0.0.1", "localhost")
    source = GatewaySource([named], stall_timeout=20, network=Network())
    assert b"".join(read_file(cid, source.block)) == weights.read_bytes()


def test_a_daemon_that_ends_in_the_middle_is_replaced(
    start_daemon: Callable[..., KuboDaemon], daemon: KuboDaemon, weights: Path
) -> None:
    other = start_daemon("other", Gateway__NoFetch="true")
    cid = add(daemon, weights)
    assert add(other, weights) == cid
    source = GatewaySource([daemon.gateway, other.gateway], stall_timeout=20, network=Network())
    pieces = read_file(cid, source.block)
    first = next(pieces)
    daemon.process.kill()
    daemon.process.wait()
    assert first + b"".join(pieces) == weights.read_bytes()
