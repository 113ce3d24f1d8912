from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from environment import clean_env
from ipfs_data import MemoryStore
from pin_rooms import REPO
from pinformers._errors import BlockMismatch, BlockNotFound, SourceError
from pinformers.ipfs import CID, V0_2015, Profile, hash_file
from pinformers.pinning.ahead import WINDOW, Ahead
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.fetching import _write, fetch_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import AGE
from pinformers.sources.base import Chain

COMMIT = "c" * 40
SMALL = Profile(chunk=1000, width=4)
WRAPPED = Profile(chunk=1000, width=3, raw_leaves=False, cid_version=0)
# No two chunks alike.
CONTENT = random.Random(7).randbytes(51200)


class Counting:
    """A store that counts what it is asked, and fails from the ``limit``-th block on."""

    def __init__(self, store: MemoryStore, limit: int | None = None) -> None:
        self.name, self.local, self.store, self.limit = "counting", True, store, limit
        self.asked: Counter[CID] = Counter()
        self.delivered: Counter[CID] = Counter()
        self._lock = threading.Lock()

    def block(self, cid: CID) -> bytes:
        with self._lock:
            self.asked[cid] += 1
            if self.limit is not None and sum(self.delivered.values()) >= self.limit:
                raise BlockNotFound(self.name, "it has no more")
            self.delivered[cid] += 1
        return self.store(cid)


class Room:
    """One file, its blocks and an empty cache."""

    def __init__(self, folder: Path, content: bytes, profile: Profile = SMALL, sha256: str | None = None) -> None:
        self.content, self.store = content, MemoryStore()
        dag = self.store.add_file(content, profile)
        self.file = PinnedFile(len(content), str(dag.cid), 0, dag.sha256 if sha256 is None else sha256)
        self.pin = Pin(REPO, COMMIT, {"a.bin": self.file})
        self.cache = RepoCache(str(folder / "hub"), REPO, lock_timeout=5.0)
        self.dag_path = folder / "dags" / "a.car"

    def fetch(self, source: Counting) -> PinnedFile:
        fetched = fetch_file(self.cache, self.pin, "a.bin", Chain([source]).fetch, self.dag_path)
        assert self.cache.file(COMMIT, "a.bin").read_bytes() == self.content
        assert fetched.verified and not self.parts
        return fetched.file

    @property
    def parts(self) -> list[Path]:
        return list(self.cache.folder.glob(f"blobs/*{PART}"))


@pytest.mark.parametrize("profile", [SMALL, WRAPPED, V0_2015])
@pytest.mark.parametrize("content", [b"", b"a", CONTENT, bytes(9500), CONTENT + b"x"], ids=len)
def test_a_file_of_any_layout(profile: Profile, content: bytes, tmp_path: Path) -> None:
    room = Room(tmp_path, content, profile, sha256="")
    source = Counting(room.store)
    assert room.fetch(source).sha256 == hash_file(room.cache.file(COMMIT, "a.bin")).sha256


def test_no_block_is_asked_for_twice_and_the_inner_ones_are_kept(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT)
    source = Counting(room.store)
    room.fetch(source)
    assert {cid.multihash for cid in source.asked} == set(room.store.blocks)
    assert set(source.asked.values()) == {1}
    room.cache.file(COMMIT, "a.bin").unlink()
    room.cache.blob(room.file.sha256).unlink()
    again = Counting(room.store)
    room.fetch(again)
    assert {cid.codec for cid in again.asked} == {0x55}, "the inner blocks were kept"


@pytest.mark.parametrize("profile", [SMALL, WRAPPED], ids=["raw", "wrapped"])
@pytest.mark.parametrize("limit", [1, 2, 7, 25, 50])
def test_what_was_verified_is_not_fetched_again(limit: int, profile: Profile, tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT, profile)
    first = Counting(room.store, limit)
    with pytest.raises(SourceError):
        room.fetch(first)
    written = sum(path.stat().st_size for path in room.parts)
    second = Counting(room.store)
    room.fetch(second)
    # Blocks that were under way when the walk failed may come again; what was written may not.
    twice = [cid for cid in second.asked if first.delivered[cid] and second.asked[cid]]
    assert len(twice) <= WINDOW
    assert sum(second.asked.values()) <= len(room.store.blocks) - written // SMALL.chunk


def test_a_part_that_is_taken_up_is_no_garbage_meanwhile(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT)
    with pytest.raises(SourceError):
        room.fetch(Counting(room.store, 25))
    (part,) = room.parts
    os.utime(part, (1, 1))
    # So that a source is asked before the first byte is written.
    room.dag_path.with_name(f"{room.dag_path.name}.part").unlink()
    ages: list[float] = []

    class Looking(Counting):
        def block(self, cid: CID) -> bytes:
            ages.append(time.time() - part.stat().st_mtime)
            return super().block(cid)

    room.fetch(Looking(room.store))
    assert ages and max(ages) < AGE


def test_a_part_that_was_damaged_is_true_up_to_the_damage(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT)
    with pytest.raises(SourceError):
        room.fetch(Counting(room.store, 40))
    (part,) = room.parts
    size = part.stat().st_size
    with open(part, "r+b") as out:
        out.seek(size // 2)
        out.write(b"\0\0\0\0")
    second = Counting(room.store)
    room.fetch(second)
    assert 0 < sum(second.asked.values()) < len(room.store.blocks)


def test_a_part_longer_than_the_file_or_of_other_bytes_is_overwritten(tmp_path: Path) -> None:
    for junk in (CONTENT * 2, b"\1" * len(CONTENT), b"x"):
        room = Room(tmp_path / str(len(junk)) / junk[:1].hex(), CONTENT)
        blobs = room.cache.folder / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{room.file.sha256}.00000000{PART}").write_bytes(junk)
        room.fetch(Counting(room.store))


def test_a_pin_whose_sha256_is_not_that_of_its_blocks_brings_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT, sha256="0" * 64)
    with pytest.raises(BlockMismatch):
        room.fetch(Counting(room.store))
    assert not list(room.cache.folder.rglob("blobs/*"))


@pytest.mark.parametrize("size", [0, -1])
def test_a_pin_that_calls_a_file_empty_must_name_the_empty_block(size: int, tmp_path: Path) -> None:
    room = Room(tmp_path, b"abc")
    room.pin = Pin(REPO, COMMIT, {"a.bin": PinnedFile(size, room.file.cid, 0, "")})
    with pytest.raises(BlockMismatch):
        room.fetch(Counting(room.store))
    assert not list(room.cache.folder.rglob("blobs/*"))


def test_an_unfinished_fetch_is_dropped_when_another_hand_brought_the_file(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT)
    with pytest.raises(SourceError):
        room.fetch(Counting(room.store, 20))
    room.cache.drop_parts()
    assert room.parts
    room.cache.blob(room.file.sha256).write_bytes(CONTENT)
    room.cache.drop_parts()
    assert not room.parts


def test_blocks_are_fetched_side_by_side_and_no_more_than_the_window(tmp_path: Path) -> None:
    room = Room(tmp_path, CONTENT, Profile(chunk=1000, width=64))
    together = threading.Barrier(WINDOW, timeout=10)
    running: list[int] = [0]
    most, leaves, lock = 0, 0, threading.Lock()

    class Slow(Counting):
        def block(self, cid: CID) -> bytes:
            nonlocal most, leaves
            with lock:
                running[0] += 1
                most, leaves = max(most, running[0]), leaves + (cid.codec == 0x55)
                first = cid.codec == 0x55 and leaves <= WINDOW
            if first:
                together.wait()
            block = super().block(cid)
            with lock:
                running[0] -= 1
            return block

    room.fetch(Slow(room.store))
    assert most == WINDOW


def test_ahead_asks_only_for_what_ends_behind_the_start() -> None:
    store = MemoryStore()
    dag = store.add_file(CONTENT, Profile(chunk=1000, width=64))
    asked: list[CID] = []
    ahead = Ahead(lambda cid: asked.append(cid) or store(cid), len(CONTENT) - 1500)  # type: ignore[func-returns-value]
    ahead.fetch(dag.cid)
    ahead.close()
    assert len([cid for cid in asked if cid.codec == 0x55]) <= 3


SILENT = """
import sys, threading
from pathlib import Path
from pinformers._errors import BlockNotFound, SourceError
from pinformers.ipfs import CID
from test_fetching import CONTENT, Room, leaf

room, began = Room(Path(sys.argv[1]), CONTENT), threading.Event()

class Silent:
    name, local = "silent", False

    def block(self, cid):
        if cid in (leaf(6), leaf(7)):
            began.set()
            threading.Event().wait()
        if cid == leaf(5):
            began.wait()
            raise BlockNotFound(self.name, "it has no more")
        return room.store(cid)

try:
    room.fetch(Silent())
except SourceError:
    print("given up")
"""


def leaf(number: int) -> CID:
    return CID.raw(hashlib.sha256(CONTENT[number * SMALL.chunk : (number + 1) * SMALL.chunk]).digest())


def test_an_answer_that_never_comes_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    env = clean_env(tmp_path / "home", PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    command = [sys.executable, "-c", SILENT, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parent, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "given up\n", done.stderr


@pytest.mark.parametrize("behind", [0, 3])
def test_pieces_are_hashed_in_their_order_and_not_far_behind(tmp_path: Path, behind: int) -> None:
    hashed: list[bytes] = []
    written = 0

    def pieces() -> Iterator[bytes]:
        nonlocal written
        for number in range(50):
            assert written - len(hashed) <= behind
            yield b"%d" % number
            written += 1

    def take(piece: bytes | memoryview) -> None:
        time.sleep(0.001 * (len(hashed) % 3))
        hashed.append(bytes(piece))

    with open(tmp_path / "out", "wb") as out:
        _write(out, pieces(), take, behind)
    assert hashed == [b"%d" % number for number in range(50)]
    assert (tmp_path / "out").read_bytes() == b"".join(hashed)


def test_what_hashing_raises_is_raised(tmp_path: Path) -> None:
    def take(piece: bytes | memoryview) -> None:
        raise MemoryError

    with open(tmp_path / "out", "wb") as out, pytest.raises(MemoryError):
        _write(out, [b"a", b"b"], take, 8)


def test_what_the_disk_refused_is_not_kept_where_something_else_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def pieces() -> Iterator[bytes]:
        yield bytes(33 << 20)
        raise SourceError("a gateway", "it stalled")

    monkeypatch.setattr("pinformers.pinning.fetching.sync", refused)
    with open(tmp_path / "out", "wb") as out, pytest.raises(SourceError):
        _write(out, pieces(), lambda piece: None)
    assert (tmp_path / "out").read_bytes() == b""
