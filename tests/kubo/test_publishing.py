from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kubo_repo import KuboDaemon
from pin_rooms import FILES, REPO, make_resolver, write_folder
from pinformers._errors import PinError
from pinformers.ipfs.cid import CID
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.publishing import Withdrawal, publish, published
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.sources.kubo import KuboNode

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
MODEL = {**FILES, "big.bin": random.Random(5).randbytes((3 << 20) + 7)}

# The block of an empty file lies in no file.
WITH_BYTES = [path for path, content in MODEL.items() if content]


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
    part = pin._replace(files={"config.json": pin.files["config.json"]})
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


def test_a_cache_that_moved_is_told_to_the_filestore(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    node, home, moved = KuboNode(kubo.multiaddr), tmp_path / "kubo" / "home", tmp_path / "kubo" / "moved"
    room = Room(home)
    publish(room.resolver.catalog, room.pinned.pin, node)
    home.rename(moved)
    before = size(kubo)
    catalog = make_resolver(moved).catalog
    done = publish(catalog, room.pinned.pin, node)
    assert {done.files[path][0] for path in WITH_BYTES} == {"nocopy"}
    assert all(str(moved) in done.files[path][1] for path in WITH_BYTES)
    assert size(kubo) - before < 1 << 16
    assert fetched(kubo, room.root, tmp_path / "out") == MODEL
    assert publish(catalog, room.pinned.pin, node) == done


def test_a_cache_that_moved_away_is_copied(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    node, home, moved = KuboNode(kubo.multiaddr), tmp_path / "kubo" / "home", tmp_path / "moved"
    room = Room(home)
    publish(room.resolver.catalog, room.pinned.pin, node)
    home.rename(moved)
    done = publish(make_resolver(moved).catalog, room.pinned.pin, node)
    assert {done.files[path][0] for path in WITH_BYTES} == {"copied"}
    assert fetched(kubo, room.root, tmp_path / "out") == MODEL


def test_after_an_unpin_the_record_still_says_that_there_is_no_copy(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    node, room = KuboNode(kubo.multiaddr), Room(tmp_path / "kubo" / "home")
    first = publish(room.resolver.catalog, room.pinned.pin, node)
    node.unpin(next(cid for cid in node.pins(REPO)))
    assert publish(room.resolver.catalog, room.pinned.pin, node) == first


@pytest.mark.parametrize(
    "options",
    [
        ("--cid-version=0", "--raw-leaves=false", "--chunker=size-262144", "--max-file-links=174"),
        ("--cid-version=1", "--trickle", "--raw-leaves=true", "--chunker=size-50000"),
        ("--cid-version=1", "--inline", "--inline-limit=64", "--chunker=rabin"),
    ],
    ids=lambda options: options[-1],
)
def test_what_others_cut_in_another_way_goes_on_as_they_cut_it(
    options: tuple[str, ...], start_daemon: Start, tmp_path: Path
) -> None:
    origin, kubo = start_daemon("origin"), start_daemon(Experimental__FilestoreEnabled="true")
    folder = write_folder(tmp_path / "model", MODEL)
    cid = origin.repo.run("add", "-rQ", "--progress=false", *options, folder).decode().strip()
    resolver = make_resolver(tmp_path / "kubo" / "home", sources=("embedded", "kubo"), kubo_api=origin.multiaddr)
    pinned = resolver.refer(f"ipfs://{cid}", None, list(MODEL))
    assert pinned is not None and pinned.deliver(list(MODEL))
    pin = resolver.catalog.pin(pinned.repo, pinned.commit)
    assert pin is not None and pin.origin == "ipfs"
    done = publish(resolver.catalog, pin, KuboNode(kubo.multiaddr))
    assert done.files["big.bin"][0] == "copied"
    assert "cut it in another way" in done.files["big.bin"][1]
    assert fetched(kubo, cid, tmp_path / "out") == MODEL


def test_what_is_removed_is_taken_back_from_the_daemon(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    room = Room(tmp_path / "kubo" / "home")
    catalog, pin, node = room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr)
    publish(catalog, pin, node)
    withdrawal = Withdrawal(catalog, pin)
    assert not Withdrawal(catalog, pin._replace(commit="f" * 40)).carry_out(node)
    remove_pin(catalog, pin)
    assert withdrawal.carry_out(node)
    assert node.pins(REPO) == {}
    assert published(catalog, pin) is None
    # The leaves lay in files that are gone: it does not count them as its own any more.
    assert kubo.repo.run("filestore", "ls") == b""


def test_a_pin_that_the_user_named_is_not_taken_back(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    room = Room(tmp_path / "home")
    catalog, pin, node = room.resolver.catalog, room.pinned.pin, KuboNode(kubo.multiaddr)
    publish(catalog, pin, node)
    node.pin(CID.parse(room.root), "mine")
    withdrawal = Withdrawal(catalog, pin)
    remove_pin(catalog, pin)
    assert withdrawal.carry_out(node)
    assert node.pins()[CID.parse(room.root)] == "mine"


def test_what_another_machine_keeps_of_the_same_commit_stays(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    node, full, part = KuboNode(kubo.multiaddr), Room(tmp_path / "full"), Room(tmp_path / "part")
    publish(full.resolver.catalog, full.pinned.pin, node)
    for paths in (["config.json"], ["config.json", "sub/vocab.txt"]):
        files = {path: full.pinned.pin.files[path] for path in paths}
        done = publish(part.resolver.catalog, part.pinned.pin._replace(files=files), node)
        assert {str(cid) for cid in node.pins(REPO)} == {full.root, done.root}
    withdrawal = Withdrawal(part.resolver.catalog, part.pinned.pin)
    remove_pin(part.resolver.catalog, part.pinned.pin)
    assert withdrawal.carry_out(node)
    kubo.repo.run("repo", "gc")
    assert fetched(kubo, full.root, tmp_path / "out") == MODEL


def test_what_is_loaded_is_offered_to_a_daemon_that_came_later(start_daemon: Start, tmp_path: Path) -> None:
    room = Room(tmp_path / "home")

    def load(api: str) -> None:
        resolver = make_resolver(tmp_path / "home", publish="auto", kubo_api=api)
        found = resolver.resolve(REPO, None)
        assert found is not None and found.deliver(list(MODEL))
        assert resolver.recorder.flush(60)

    load("/ip4/127.0.0.1/tcp/9")
    assert published(room.resolver.catalog, room.pinned.pin) is None
    kubo = start_daemon()
    load(kubo.multiaddr)
    assert fetched(kubo, room.root, tmp_path / "out") == MODEL
    assert [str(cid) for cid in KuboNode(kubo.multiaddr).pins(REPO)] == [room.root]


@pytest.mark.parametrize("filestore", ["true", "false"])
def test_what_was_stopped_goes_on(start_daemon: Start, tmp_path: Path, filestore: str) -> None:
    kubo, steps = start_daemon(Experimental__FilestoreEnabled=filestore), 0
    room = Room(tmp_path / "kubo" / "home")
    while published(room.resolver.catalog, room.pinned.pin) is None:
        # One step further each time.
        steps += 3
        left = iter([False] * steps)
        with contextlib.suppress(InterruptedError):
            publish(
                room.resolver.catalog,
                room.pinned.pin,
                KuboNode(kubo.multiaddr, stop=lambda left=left: next(left, True)),  # type: ignore[misc]
            )
    assert steps > 9
    assert fetched(kubo, room.root, tmp_path / "out") == MODEL
    assert [str(cid) for cid in KuboNode(kubo.multiaddr).pins(REPO)] == [room.root]
