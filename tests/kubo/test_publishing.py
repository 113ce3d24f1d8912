from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kubo_repo import KuboDaemon
from pin_rooms import FILES, REPO, make_resolver, write_folder
from pinformers._errors import PinError
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.publishing import publish, published
from pinformers.pinning.resolver import Resolver
from pinformers.sources.kubo import KuboNode

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
MODEL = {**FILES, "big.bin": random.Random(5).randbytes((3 << 20) + 7)}


def size(kubo: KuboDaemon) -> int:
    said = kubo.rpc("repo/stat")
    return int(said["RepoSize"])  # type: ignore[call-overload,index]


class Room:
    """A pinned folder, below the parent of a daemon's repo or elsewhere."""

    def __init__(self, home: Path) -> None:
        self.resolver: Resolver = make_resolver(home)
        self.folder = write_folder(home / "folder", MODEL)
        self.pinned: PinnedRepo = pin_folder(self.resolver, self.folder, REPO)

    @property
    def root(self) -> str:
        return self.pinned.pin.root


def fetched(kubo: KuboDaemon, root: str, into: Path) -> dict[str, bytes]:
    kubo.repo.run("get", f"/ipfs/{root}", "-o", into, "--progress=false")
    return {path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()}


def test_without_a_second_copy(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    room = Room(tmp_path / "kubo" / "home")
    before = size(kubo)
    done = publish(room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr))
    assert {how for how, _ in done.files.values()} == {"nocopy"}
    assert size(kubo) - before < len(MODEL["big.bin"]) // 4
    assert fetched(kubo, room.root, tmp_path / "out") == MODEL
    names = kubo.repo.run("pin", "ls", "--names", "--type=recursive").decode()
    assert f"{room.root} recursive {REPO}@{room.pinned.commit}" in names
    assert published(room.resolver.catalog, room.pinned.pin) == done


def test_a_copy_where_the_filestore_cannot_and_why(start_daemon: Start, tmp_path: Path) -> None:
    on, off = start_daemon("on", Experimental__FilestoreEnabled="true"), start_daemon("off")
    room = Room(tmp_path / "home")
    for kubo, why in ((on, "takes only what lies below"), (off, "its filestore is off")):
        done = publish(room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr))
        assert {how for how, _ in done.files.values()} == {"copied"}
        assert all(why in reason for _, reason in done.files.values())
        assert fetched(kubo, room.root, tmp_path / f"out {why}") == MODEL


def test_the_root_is_that_of_ipfs_add(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    room = Room(tmp_path / "home")
    publish(room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr))
    assert kubo.repo.cid(room.folder) == room.root


def test_twice_sends_nothing_and_blocks_that_are_there_are_not_sent(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    room = Room(tmp_path / "home")
    node = KuboNode(kubo.multiaddr)
    first = publish(room.resolver.catalog, room.pinned.pin, node)
    before = size(kubo)
    assert publish(room.resolver.catalog, room.pinned.pin, node) == first
    node.unpin(next(cid for cid in node.pins(REPO)))
    again = publish(room.resolver.catalog, room.pinned.pin, node)
    assert {how for how, _ in again.files.values()} == {"there"}
    assert size(kubo) - before < 1 << 16


def test_a_pin_that_grew_replaces_its_older_self(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    room = Room(tmp_path / "home")
    node, pin = KuboNode(kubo.multiaddr), room.pinned.pin
    part = dataclasses.replace(pin, files={"config.json": pin.files["config.json"]})
    publish(room.resolver.catalog, part, node)
    publish(room.resolver.catalog, pin, node)
    assert [str(cid) for cid in node.pins(REPO)] == [room.root]


def test_a_file_that_changed_is_not_published(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    room = Room(tmp_path / "home")
    blob = room.pinned.cache.file(room.pinned.commit, "big.bin").resolve()
    blob.write_bytes(b"changed")
    with pytest.raises(PinError, match="pinformers verify"):
        publish(room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr))
    assert not KuboNode(kubo.multiaddr).pins(REPO)
