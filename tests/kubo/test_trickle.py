"""Leaves that `ipfs add --trickle` wraps are of the type Raw: every room that builds them again."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubo_repo import KuboDaemon
from pin_rooms import make_resolver, write_folder
from pinformers._composition import embedded
from pinformers.ipfs import CID, leaves
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.archive import export_model
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import publish
from pinformers.pinning.references import ReferredRepo
from pinformers.pinning.resolver import Resolver
from pinformers.sources.kubo import KuboNode

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
MODEL = {"config.json": b"{}", "big.bin": random.Random(5).randbytes(200_000)}


@dataclass
class Room:
    """A folder that somebody added to a daemon, loaded from there by its CID."""

    resolver: Resolver
    repo: ReferredRepo
    node: KuboNode


@pytest.fixture
def room(start_daemon: Start, tmp_path: Path) -> Room:
    daemon = start_daemon()
    folder = write_folder(tmp_path / "model", MODEL)
    options = ("--trickle", "--raw-leaves=false", "--chunker=size-50000")
    cid = daemon.repo.run("add", "-rQ", "--progress=false", *options, folder).decode().strip()
    resolver = make_resolver(tmp_path / "home", sources=("embedded", "kubo"), kubo_api=daemon.multiaddr)
    repo = resolver.refer(f"ipfs://{cid}", None, list(MODEL))
    assert repo is not None and repo.deliver(list(MODEL))
    return Room(resolver, repo, KuboNode(daemon.multiaddr))


def test_the_embedded_store_serves_them(room: Room) -> None:
    root, source = CID.parse(room.repo.pin.files["big.bin"].cid), embedded(room.resolver.catalog)
    found = list(leaves(root, lambda cid: room.node.block(cid, offline=True, timeout=5.0)))
    assert len(found) == 4
    for leaf in found:
        leaf.cid.verify(source.block(leaf.cid))


def test_they_are_exported(room: Room) -> None:
    assert export_model(room.resolver.catalog, room.repo, io.BytesIO()) > len(MODEL["big.bin"])


def test_they_are_published(room: Room, start_daemon: Start, tmp_path: Path) -> None:
    other = start_daemon("other")
    publish(room.resolver.catalog, room.repo.pin, KuboNode(other.multiaddr))
    other.repo.run("get", f"/ipfs/{room.repo.pin.root}", "-o", tmp_path / "out", "--progress=false")
    assert (tmp_path / "out" / "big.bin").read_bytes() == MODEL["big.bin"]


def test_a_file_that_was_touched_is_still_what_was_pinned(room: Room) -> None:
    repo = room.repo
    os.utime(repo.cache.file(repo.commit, "big.bin"), ns=(1, 1))
    assert Adoption(room.resolver.catalog, repo.cache, Pin(repo.repo, repo.commit)).confirm("big.bin") is not None
