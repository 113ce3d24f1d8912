from __future__ import annotations

import gc
import hashlib
import json
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from cluster_stub import ClusterStub, cluster_stub
from pin_rooms import PIN, REPO, pinned
from pinformers._errors import BadBlock, BlockMismatch, BlockNotFound, PinError, SourceError, SourceUnavailable
from pinformers.ipfs import CID, Block, Entry, build_directory, list_directory
from pinformers.pinning import cluster_pins
from pinformers.pinning.cluster_pins import ClusterShelf
from pinformers.pinning.pin import Pin
from pinformers.sources.cluster import ClusterNode

SECOND = 10**9
WHOLE = PIN._replace(others={}, pinned_at="2026-01-01T00:00:00+00:00", learned="a lockfile")


class Daemon:
    """Blocks that were imported."""

    def __init__(self) -> None:
        self.blocks: dict[CID, bytes] = {}
        self.asked = 0

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        self.blocks |= {block.cid: block.data for block in blocks}
        assert set(roots) <= set(self.blocks)

    def fetch(self, cid: CID) -> bytes:
        self.asked += 1
        if cid not in self.blocks:
            raise BlockNotFound("daemon", "it was never imported")
        return self.blocks[cid]


@pytest.fixture
def stub() -> Iterator[ClusterStub]:
    with cluster_stub() as running:
        yield running


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def open_shelf(stub: ClusterStub, daemon: Daemon) -> Callable[[], ClusterShelf]:
    """Shelves of several machines over one cluster."""
    return lambda: ClusterShelf(ClusterNode(stub.url), daemon.fetch)


@pytest.fixture
def shelf(open_shelf: Callable[[], ClusterShelf]) -> ClusterShelf:
    return open_shelf()


def carried(pin: Pin) -> Pin:
    return pin._replace(pinned_at="", learned="")


def found(shelf: ClusterShelf, revision: str) -> Pin:
    answer = shelf.find(REPO, revision)
    assert answer is not None
    return answer.pin


def test_what_is_published_is_found(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    cid = shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    answer = shelf.find(REPO, "main")
    assert answer is not None
    assert answer.pin == carried(WHOLE)
    assert (answer.label, answer.seen_ns) == (f"the IPFS Cluster at {stub.url}", 100 * SECOND)
    assert answer.how.endswith("has it pinned, main was seen at this commit on 1970-01-01T00:01:40+00:00")
    assert found(shelf, WHOLE.commit) == carried(WHOLE)
    assert shelf.find(REPO, "v1") is shelf.find("org/other", "main") is None
    (line,) = stub.pins.values()
    assert (line["cid"], line["name"]) == (str(cid), f"{REPO}@{WHOLE.commit}")
    assert line["metadata"] == {
        "pinformers": "1",
        "repo": REPO,
        "commit": WHOLE.commit,
        "root": WHOLE.root,
        "complete": "yes",
        "ref-main": "1970-01-01T00:01:40+00:00",
    }
    entries = list_directory(cid, daemon.fetch)
    assert set(entries) == {"model", "pin.json"}
    assert str(entries["model"].cid) == WHOLE.root


def test_two_machines_publish_one_pin_with_the_revisions_of_both(
    stub: ClusterStub, daemon: Daemon, open_shelf: Callable[[], ClusterShelf]
) -> None:
    first = open_shelf().publish(WHOLE, {"main": 100 * SECOND}, daemon)
    elsewhere = WHOLE._replace(pinned_at="2026-02-02T00:00:00+00:00", learned="")
    assert open_shelf().publish(elsewhere, {"v1": 200 * SECOND, "main": 50 * SECOND}, daemon) == first
    (line,) = stub.pins.values()
    metadata = line["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["ref-main"] == "1970-01-01T00:01:40+00:00"
    assert metadata["ref-v1"] == "1970-01-01T00:03:20+00:00"


def test_what_says_nothing_new_is_not_written(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    for seen in ({"main": 100 * SECOND}, {"main": 99 * SECOND}, {}):
        shelf.publish(WHOLE, seen, daemon)
    assert sum(line.startswith("POST") for line in stub.asked) == 1


def test_the_metadata_stays_below_what_a_peer_takes(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    shelf.publish(WHOLE, {f"tag-{n}-{'x' * 80}": n * SECOND for n in range(1, 60)}, daemon)
    (line,) = (line for line in stub.asked if line.startswith("POST"))
    assert len(line) < 4000
    (pin,) = stub.pins.values()
    assert f"ref-tag-59-{'x' * 80}" in str(pin["metadata"])


def test_the_newest_sight_of_a_branch_answers(daemon: Daemon, shelf: ClusterShelf) -> None:
    moved = WHOLE._replace(commit="d" * 40)
    shelf.publish(moved, {"main": 300 * SECOND}, daemon)
    shelf.publish(WHOLE, {"main": 100 * SECOND, "v1": 400 * SECOND}, daemon)
    assert found(shelf, "main").commit == "d" * 40
    assert found(shelf, "v1").commit == WHOLE.commit


def test_of_one_commit_the_complete_pin_answers(daemon: Daemon, shelf: ClusterShelf) -> None:
    shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    shelf.publish(PIN, {"main": 200 * SECOND}, daemon)
    assert found(shelf, "main").complete
    assert found(shelf, PIN.commit).complete


def test_a_sight_in_the_future_is_of_now(daemon: Daemon, shelf: ClusterShelf) -> None:
    shelf.publish(WHOLE, {"main": time.time_ns() + 10**18}, daemon)
    answer = shelf.find(REPO, "main")
    assert answer is not None
    assert answer.seen_ns <= time.time_ns()


def test_the_list_is_asked_once_a_minute_and_a_record_once(
    stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    stub.asked.clear()
    for _ in range(5):
        found(shelf, "main")
    assert stub.asked == ["GET /allocations?filter=pin"]
    assert daemon.asked == 2
    monkeypatch.setattr(cluster_pins, "_FRESH", -1.0)
    found(shelf, "main")
    assert len(stub.asked) == 2
    assert daemon.asked == 2


def test_a_failure_counts_as_long_as_an_answer(
    stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.raw = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    said = set[str]()
    for _ in range(5):
        with pytest.raises(SourceError) as caught:
            shelf.find(REPO, "main")
        said.add(str(caught.value))
    assert len(said) == len(stub.asked) == 1
    stub.raw = None
    monkeypatch.setattr(cluster_pins, "_FRESH", -1.0)
    assert shelf.find(REPO, "main") is None


def test_a_record_that_nobody_delivers_is_asked_for_once(daemon: Daemon, shelf: ClusterShelf) -> None:
    cid = shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    del daemon.blocks[cid]
    for _ in range(5):
        with pytest.raises(BlockNotFound):
            shelf.find(REPO, "main")
    assert daemon.asked == 1
    shelf.publish(WHOLE, {}, daemon)
    assert found(shelf, "main") == carried(WHOLE)


def test_a_failure_that_is_kept_holds_nothing_of_who_met_it(
    stub: ClusterStub, daemon: Daemon, open_shelf: Callable[[], ClusterShelf]
) -> None:
    class Big: ...

    def ask() -> weakref.ref[Big]:
        held = Big()
        with pytest.raises(SourceError):
            shelf.find(REPO, "main")
        return weakref.ref(held)

    shelf = open_shelf()
    del daemon.blocks[shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)]
    gone = [ask()]
    stub.raw = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    shelf = open_shelf()
    gone.append(ask())
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_threads_wait_for_a_silent_peer_together(daemon: Daemon) -> None:
    failed: list[float] = []

    def ask() -> None:
        with pytest.raises(SourceUnavailable):
            shelf.find(REPO, "main")
        failed.append(time.monotonic())

    with socket.create_server(("127.0.0.1", 0)) as silent:
        shelf = ClusterShelf(ClusterNode(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5), daemon.fetch)
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(failed) - min(failed) < 0.4


def test_pins_of_others_are_passed_over(stub: ClusterStub, shelf: ClusterShelf) -> None:
    for n, metadata in enumerate([{}, {"pinformers": "2", "repo": REPO}, {"pinformers": "1"}]):
        cid = str(CID.raw(bytes([n]) * 32))
        stub.pins[cid] = {"cid": cid, "name": "", "metadata": metadata, "timestamp": "2026-11-24T10:00:00Z"}
    assert shelf.offers() == []


@pytest.mark.parametrize(
    "change", [{"files": {}}, {"repo_type": "dataset"}, {"origin": "ipfs"}], ids=lambda change: str(*change)
)
def test_what_has_no_name_is_not_published(
    change: dict[str, object], stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf
) -> None:
    with pytest.raises(PinError, match="only models that have a name"):
        shelf.publish(WHOLE._replace(**change), {}, daemon)  # type: ignore[arg-type]
    assert stub.pins == {}


# -- records that are not what they should be -----------------------------------------------------------------


def offer(stub: ClusterStub, cid: CID, **metadata: str) -> None:
    """Pin anything, with metadata that speaks of WHOLE."""
    said = {"pinformers": "1", "repo": REPO, "commit": WHOLE.commit, "ref-main": "2026-01-01T00:00:00+00:00"} | metadata
    stub.pins[str(cid)] = {"cid": str(cid), "name": "", "metadata": said, "timestamp": "2026-11-24T10:00:00Z"}


def folder(daemon: Daemon, record: bytes, pin: Pin = WHOLE, name: str = "pin.json") -> CID:
    """Import a folder of any record and the model of ``pin``; return its CID."""
    cid, model = CID.raw(hashlib.sha256(record).digest()), pin.directory()
    entries = {name: Entry(cid, len(record), len(record)), "model": Entry(model.cid, 0, model.dag_size)}
    wrapped = build_directory(entries)
    daemon.import_car([Block(cid, record), *wrapped.nodes, *model.nodes], [wrapped.cid])
    return wrapped.cid


def text(**changes: object) -> bytes:
    return json.dumps(WHOLE.to_json() | changes).encode()


RECORDS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"hello", "cannot be read"),
    "no UTF-8": (b"\xff", "cannot be read"),
    "no object": (b"[]", "cannot be read"),
    "deep": (b"[" * 200_000, "cannot be read"),
    "another format": (text(format=9), "its pin cannot be read"),
    "a path out of it": (text(files={"../x": WHOLE.files["a.json"].to_json()}), "not a relative path"),
    "another repo": (text(repo="org/other"), "is said to be"),
    "another commit": (text(commit="e" * 40), "is said to be"),
    "a dataset": (text(repo_type="dataset"), "is said to be"),
    "a folder with a commit of the hub": (text(origin="folder"), "is not the commit of its files"),
    "other files": (text(files={"a.json": pinned(b"b").to_json()}), "holds another model than its pin.json describes"),
    "a root of its own": (
        text(origin="ipfs", root=WHOLE.root, files={"a.json": pinned(b"b").to_json()}),
        "holds another model than its pin.json describes",
    ),
}


@pytest.mark.parametrize(("record", "said"), RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_not_right_is_refused(
    record: bytes, said: str, stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf
) -> None:
    offer(stub, folder(daemon, record))
    with pytest.raises(PinError, match=said) as caught:
        shelf.find(REPO, "main")
    assert "\n" not in str(caught.value)


def test_a_record_does_not_say_that_a_model_is_open_to_all(
    stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf
) -> None:
    info = {"private": False, "gated": False, "createdAt": "never", "tags": ["a"]}
    offer(stub, folder(daemon, text(info=info, learned="another cluster")))
    found = shelf.find(REPO, "main")
    assert found is not None
    assert (found.pin.info, found.pin.learned) == ({"tags": ["a"]}, "")


def test_a_folder_without_a_record_is_refused(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    offer(stub, folder(daemon, text(), name="other.json"))
    with pytest.raises(PinError, match=r"is not a folder of pin\.json and model"):
        shelf.find(REPO, "main")


def test_a_pin_that_is_no_folder_is_refused(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    cid = CID.raw(hashlib.sha256(b"hello").digest())
    daemon.blocks[cid] = b"hello"
    offer(stub, cid)
    with pytest.raises(BadBlock, match="not a folder"):
        shelf.find(REPO, "main")


def test_a_record_that_does_not_end_is_refused(
    stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_pins, "_RECORD_SIZE", 10)
    offer(stub, folder(daemon, text()))
    with pytest.raises(PinError, match="of more than 10 bytes"):
        shelf.find(REPO, "main")


def test_blocks_are_verified(daemon: Daemon, shelf: ClusterShelf) -> None:
    cid = shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    daemon.blocks[cid] += b"x"
    with pytest.raises(BlockMismatch):
        shelf.find(REPO, "main")


def test_an_older_commit_is_no_answer_where_the_newest_cannot_be_read(daemon: Daemon, shelf: ClusterShelf) -> None:
    shelf.publish(WHOLE, {"main": 100 * SECOND}, daemon)
    newest = shelf.publish(WHOLE._replace(commit="d" * 40), {"main": 200 * SECOND}, daemon)
    del daemon.blocks[newest]
    with pytest.raises(BlockNotFound):
        shelf.find(REPO, "main")
    assert found(shelf, WHOLE.commit) == carried(WHOLE)


def test_another_pin_of_the_same_commit_is(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    shelf.publish(PIN, {"main": 100 * SECOND}, daemon)
    offer(stub, folder(daemon, b"no record"), complete="yes")
    assert found(shelf, "main") == carried(PIN)


def test_times_that_are_none_say_nothing(stub: ClusterStub, daemon: Daemon, shelf: ClusterShelf) -> None:
    said = {"ref-main": "yesterday", "ref-v1": "2026-01-01T00:00:00", "ref-v2": "9999999-01-01T00:00:00Z"}
    offer(stub, folder(daemon, text()), **said)
    assert [dict(one.seen) for one in shelf.offers()] == [{}]


def test_a_cluster_that_is_away_is_an_error_each_time(daemon: Daemon) -> None:
    with cluster_stub() as gone:
        shelf = ClusterShelf(ClusterNode(gone.url), daemon.fetch)
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            shelf.find(REPO, "main")
