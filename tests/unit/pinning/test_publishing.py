"""Publishing to a node that holds its blocks in a dict; tests/kubo has the real daemon."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pin_rooms import FILES, REPO, make_resolver, write_folder
from pinformers._errors import PinError, SourceError, SourceUnavailable
from pinformers.ipfs import CID, Block, hash_file, read_file
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import Published, Withdrawal, publish, published
from pinformers.pinning.removal import remove_pin

BIG = "model.safetensors"


@dataclass
class MemoryNode:
    """A daemon: ``blocks`` it copied, and ``files`` that its filestore refers to, as far as it ``reads`` them."""

    parent: Path
    url: str = "memory"
    local: bool = True
    on: bool = True
    reads: bool = True
    refuses: str = ""
    blocks: dict[CID, bytes] = field(default_factory=dict)
    files: dict[CID, Path] = field(default_factory=dict)
    pinned: dict[CID, str] = field(default_factory=dict)
    sent: int = 0

    def has(self, cid: CID) -> bool:
        return cid in self.blocks or (cid in self.files and self.reads and self.files[cid].exists())

    def filestore_enabled(self) -> bool:
        return self.on

    def repo_path(self) -> Path:
        return self.parent / "repo"

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        for cid, block in ((block.cid, block.data) for block in blocks):
            self.sent += len(block)
            # As Kubo does: what it has it does not write again.
            if cid not in self.files:
                self.blocks.setdefault(cid, block)

    def add_nocopy(self, path: Path, expected: CID) -> None:
        if self.refuses:
            raise SourceError("memory", self.refuses)
        content = path.read_bytes()
        dag = hash_file(path)
        assert dag.cid == expected
        self.blocks.update((node.cid, node.data) for node in dag.nodes)
        chunk = 1 << 20
        for start in range(0, max(1, len(content)), chunk):
            self.files.setdefault(CID.raw(hashlib.sha256(content[start : start + chunk]).digest()), path)

    def forget_dead(self, cids: Sequence[CID]) -> None:
        for cid in cids:
            if not self.has(cid):
                self.files.pop(cid, None)

    def pin(self, cid: CID, name: str) -> None:
        self.pinned[cid] = name

    def unpin(self, cid: CID) -> None:
        del self.pinned[cid]

    def pins(self, name: str | None = None) -> Mapping[CID, str]:
        return {cid: label for cid, label in self.pinned.items() if name is None or name in label}


class Room:
    """A pinned folder, and a node under whose repo's parent it lies."""

    def __init__(self, home: Path) -> None:
        self.home = home
        resolver = make_resolver(home)
        pinned = pin_folder(resolver, write_folder(home / "folder"), REPO)
        self.catalog, self.pin, self.cache = resolver.catalog, pinned.pin, pinned.cache
        self.node = MemoryNode(home)

    def file(self, path: str) -> Path:
        return self.cache.file(self.pin.commit, path).resolve()

    def publish(self, pin: Pin | None = None) -> Published:
        return publish(self.catalog, pin or self.pin, self.node)

    def read(self, path: str) -> bytes:
        """What the node has of a file."""

        def fetch(cid: CID) -> bytes:
            if cid in self.node.blocks:
                return self.node.blocks[cid]
            assert self.node.has(cid)
            whole = self.node.files[cid].read_bytes()
            return next(
                whole[at : at + (1 << 20)] for at in range(0, max(1, len(whole)), 1 << 20) if _is(whole, at, cid)
            )

        found = b"".join(read_file(CID.parse(self.pin.files[path].cid), fetch))
        assert found == FILES[path]
        return found


def _is(whole: bytes, at: int, cid: CID) -> bool:
    return CID.raw(hashlib.sha256(whole[at : at + (1 << 20)]).digest()) == cid


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_files_are_referred_to_and_folders_are_sent(room: Room) -> None:
    done = room.publish()
    assert {how for how, _ in done.files.values()} == {"nocopy"}
    assert done.files[BIG][1] == f"the filestore refers to {room.file(BIG)}"
    assert room.node.sent < 1000
    assert room.node.pinned == {CID.parse(room.pin.root): f"{REPO}@{room.pin.commit}"}
    assert published(room.catalog, room.pin) == done
    for path in FILES:
        room.read(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"local": False}, "the daemon runs on another machine"),
        ({"on": False}, "its filestore is off; `ipfs config"),
        ({"parent": Path("/elsewhere")}, "takes only what lies below /elsewhere, and it lies at "),
        ({"refuses": "no space."}, "the filestore did not take it: no space"),
        ({"reads": False}, "the daemon cannot read "),
    ],
    ids=["remote", "off", "outside", "refused", "unreadable"],
)
def test_a_copy_and_why(room: Room, change: dict[str, object], why: str) -> None:
    room.node = dataclasses.replace(room.node, **change)  # type: ignore[arg-type]
    done = room.publish()
    assert {how for how, _ in done.files.values()} == {"copied"}
    assert all(why in reason for _, reason in done.files.values())
    assert not room.node.files
    for path in FILES:
        room.read(path)


def test_what_is_published_is_not_sent_again(room: Room) -> None:
    room.node.on = False
    done = room.publish()
    before = room.node.sent
    assert room.publish() == done
    assert room.node.sent == before


def test_a_pin_of_another_daemon_is_none_of_this_one(room: Room) -> None:
    room.publish()
    room.node = MemoryNode(room.home, url="another", on=False)
    assert {how for how, _ in room.publish().files.values()} == {"copied"}


def test_a_block_that_is_lacking_is_sent_again(room: Room) -> None:
    room.node.on = False
    room.publish()
    room.node.pinned.clear()
    lost = next(cid for cid, block in room.node.blocks.items() if len(block) == 1 << 20)
    del room.node.blocks[lost]
    done = room.publish()
    assert {path: how for path, (how, _) in done.files.items() if how != "there"} == {BIG: "copied"}
    assert room.node.has(lost)


def test_a_file_that_the_filestore_lost_is_told_anew(room: Room) -> None:
    room.publish()
    old, new = room.file(BIG), room.home / "elsewhere"
    old.rename(new)
    link = room.cache.file(room.pin.commit, BIG)
    link.unlink()
    link.symlink_to(new)
    assert room.publish().files[BIG] == ("nocopy", f"the filestore refers to {new}")
    room.read(BIG)


def test_the_older_root_goes_when_the_newer_one_is_pinned(room: Room) -> None:
    part = room.pin._replace(files={"config.json": room.pin.files["config.json"]})
    room.publish(part)
    assert room.publish().root == room.pin.root != part.root
    assert list(room.node.pinned) == [CID.parse(room.pin.root)]


def test_what_another_machine_keeps_of_the_same_commit_stays(room: Room, tmp_path: Path) -> None:
    """Two machines share the daemon; one has all files, the other loads more of them with time."""
    room.publish()
    other = Room(tmp_path / "other")
    other.node = room.node
    roots = [room.pin.root]
    for count in (1, 2):
        some = dict(list(other.pin.files.items())[:count])
        roots.append(other.publish(other.pin._replace(files=some)).root)
        assert set(room.node.pinned) == {CID.parse(roots[0]), CID.parse(roots[-1])}
    assert len(set(roots)) == 3
    withdrawal = Withdrawal(other.catalog, other.pin)
    remove_pin(other.catalog, other.pin)
    assert withdrawal.carry_out(room.node)
    assert list(room.node.pinned) == [CID.parse(room.pin.root)]


def test_an_older_root_under_another_name_stays(room: Room) -> None:
    part = room.pin._replace(files={"config.json": room.pin.files["config.json"]})
    room.publish(part)
    room.node.pinned[CID.parse(part.root)] = "mine"
    room.publish()
    assert room.node.pinned[CID.parse(part.root)] == "mine"


def test_a_pin_of_the_same_folder_by_somebody_else_stays(room: Room) -> None:
    mine = CID.raw(bytes(32))
    room.node.pinned[mine] = f"{REPO}@{room.pin.commit} of somebody"
    room.publish()
    assert mine in room.node.pinned


def test_a_file_that_changed_is_not_published(room: Room) -> None:
    room.file(BIG).write_bytes(b"changed")
    with pytest.raises(PinError, match="pinformers verify"):
        room.publish()
    assert not room.node.pinned
    assert published(room.catalog, room.pin) is None


def test_a_file_that_changes_while_it_is_sent_is_not_published(room: Room) -> None:
    class Late(MemoryNode):
        def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
            if roots == [CID.parse(room.pin.files[BIG].cid)]:
                room.file(BIG).write_bytes(bytes(len(FILES[BIG])))
            super().import_car(blocks, roots)

    room.node = Late(room.home, on=False)
    with pytest.raises(PinError, match="not the blocks that were pinned"):
        room.publish()
    assert not room.node.pinned


def test_a_daemon_that_goes_away_is_no_reason_for_a_copy(room: Room) -> None:
    class Gone(MemoryNode):
        def add_nocopy(self, path: Path, expected: CID) -> None:
            raise SourceUnavailable("memory", "it cannot be reached")

    room.node = Gone(room.home)
    with pytest.raises(SourceUnavailable):
        room.publish()
    assert room.node.sent == 0


@pytest.mark.parametrize(
    "content", ["{}", '{"root": 1, "files": []}', "no JSON", '{"root": "a", "url": "b", "files": 3}']
)
def test_a_record_that_cannot_be_read_counts_as_none(room: Room, content: str) -> None:
    room.publish()
    (record,) = (room.catalog.state_dir / "published").rglob("*.json")
    record.write_text(content)
    assert published(room.catalog, room.pin) is None
    assert {how for how, _ in room.publish().files.values()} == {"there"}
