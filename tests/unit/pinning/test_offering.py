"""What is offered to others, when, and how often; the publisher is a function of the test's own."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, MemorySource, fill_cache, make_resolver, write_folder
from pinformers._errors import SourceUnavailable
from pinformers.ipfs import CID, build_directory
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lookup import Lookup
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import Published, published
from pinformers.pinning.recorder import Job, Recorder
from pinformers.pinning.records import write_json
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Policy, Resolver
from pinformers.sources.base import Source

IMPORT = Policy()
HERE = ["config.json", "model.safetensors"]


@dataclass
class Publisher:
    """Notes what it is offered; ``answer`` is what it says or raises."""

    catalog: Catalog
    answer: bool | Exception = True
    offered: list[str] = field(default_factory=list)

    def __call__(self, pin: Pin, stop: Callable[[], bool]) -> bool:
        self.offered.append(pin.root)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            note(self.catalog, pin)
        return self.answer


def note(catalog: Catalog, pin: Pin, root: str | None = None) -> None:
    """Leave the record of a publication."""
    folder = catalog.state_dir / "published" / f"models--{REPO.replace('/', '--')}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{pin.commit}.json", Published(root or pin.root, "memory", {}).to_json())


class Room:
    """A pinned folder on a machine on which nothing is published yet."""

    def __init__(self, home: Path) -> None:
        self.home, self.catalog = home, make_resolver(home).catalog
        self.pin = pin_folder(make_resolver(home), write_folder(home / "folder"), REPO).pin
        self.publisher = Publisher(self.catalog)

    def process(self, sources: tuple[Source, ...] = (), policy: Policy = IMPORT) -> Resolver:
        """What a process of its own has."""
        lookup, hub = Lookup(self.catalog), str(self.home / "hub")
        return Resolver(lookup, lambda: hub, sources, policy, None, publish=self.publisher)

    def load(self, resolver: Resolver, paths: list[str] = HERE) -> None:
        with resolver.loading(REPO):
            found = resolver.resolve(REPO, None)
            assert found is not None and found.deliver(paths)
            assert not self.publisher.offered, "never before the load"

    @property
    def journals(self) -> list[str]:
        return sorted(path.parent.name for path in self.catalog.state_dir.glob("[op]*/*.json"))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


# -- what is loaded from its pin ------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [IMPORT, Policy(on_miss="error")], ids=["import", "error"])
def test_what_is_loaded_and_not_published_is_offered_once(room: Room, policy: Policy) -> None:
    process = room.process(policy=policy)
    room.load(process)
    assert process.recorder.flush(30)
    assert room.publisher.offered == [room.pin.root]
    assert published(room.catalog, room.pin) is not None
    again = room.process(policy=policy)
    found = again.resolve(REPO, None)
    assert found is not None and found.deliver(HERE)
    assert again.recorder.flush(30)
    with again.recorder._pace.wake:
        assert found.deliver(HERE)
        assert not again.recorder._offers.pending, "it is looked at once"
    assert room.publisher.offered == [room.pin.root]


def test_what_was_published_smaller_is_offered_again(room: Room) -> None:
    note(room.catalog, room.pin, str(build_directory({}).cid))
    process = room.process()
    room.load(process)
    assert process.recorder.flush(30)
    assert room.publisher.offered == [room.pin.root]


@pytest.mark.parametrize("answer", [False, SourceUnavailable("memory", "it is away.")], ids=["auto", "required"])
def test_in_vain_it_is_tried_once_in_a_process_and_again_in_the_next(
    room: Room, caplog: pytest.LogCaptureFixture, answer: bool | Exception
) -> None:
    room.publisher.answer = answer
    process = room.process()
    for number in range(3):
        found = process.resolve(REPO, None)
        assert found is not None and found.deliver(HERE)
        process.recorder.add(Job(REPO, "model", room.pin.commit, str(room.home / "hub"), {"main": number}))
        settle(process.recorder)
    assert room.publisher.offered == [room.pin.root]
    assert ("The next process tries again." in caplog.text) == isinstance(answer, Exception)
    room.publisher.answer, room.publisher.offered = True, []
    following = room.process()
    room.load(following)
    assert following.recorder.flush(30)
    assert room.publisher.offered


def settle(recorder: Recorder) -> None:
    """Wait until nothing is to be done any more, without asking for anything to be tried again."""
    with recorder._pace.wake:
        assert recorder._pace.wake.wait_for(lambda: not recorder._jobs and not recorder._offers.pending, 30)


def test_a_pin_whose_files_are_not_all_here_is_passed_over(room: Room) -> None:
    remove_pin(room.catalog, room.pin)
    room.catalog.add(room.pin)
    process = room.process()
    process.recorder.loaded(room.pin)
    assert process.recorder.flush(30)
    assert room.publisher.offered == []


def test_where_nothing_is_published_nothing_is_queued(room: Room) -> None:
    process = make_resolver(room.home)
    found = process.resolve(REPO, None)
    assert found is not None and found.deliver(HERE)
    assert found._means.loaded is None and process.recorder._offers._thread is None


# -- what is recorded -----------------------------------------------------------------------------------------


def test_what_sources_have_brought_is_offered_further(room: Room, tmp_path: Path) -> None:
    there = Room(tmp_path / "there")
    remove_pin(there.catalog, there.pin)
    there.catalog.add(room.pin)
    blocks = {CID.parse(file.cid): FILES[path] for path, file in room.pin.files.items() if file.size < 1 << 20}
    source = MemorySource(blocks)
    small = [path for path, file in room.pin.files.items() if CID.parse(file.cid) in blocks]
    process = there.process((source,))
    with process.loading(REPO):
        found = process.resolve(REPO, room.pin.commit)
        assert found is not None and found.deliver(small)
    assert source.asked
    assert process.recorder.flush(30)
    assert there.publisher.offered == [room.pin.root]


@pytest.mark.parametrize("answer", [False, SourceUnavailable("memory", "it is away.")], ids=["auto", "required"])
def test_what_could_not_be_offered_is_left_to_the_next_process(
    hub: HubStub, tmp_path: Path, answer: bool | Exception
) -> None:
    room = Room(tmp_path)
    commit = fill_cache(hub, tmp_path / "hub")
    room.publisher.answer = answer
    process = room.process()
    process.recorder.add(Job(REPO, "model", commit, str(tmp_path / "hub")))
    # Only what must be published and is not is a failure.
    assert process.recorder.flush(30) == (answer is False)
    assert room.catalog.pin(REPO, commit) is not None
    assert room.journals == ["offers"]
    assert make_resolver(tmp_path).recorder.flush(30)
    assert room.journals == ["offers"], "where nothing is published it stays"
    room.publisher.answer, room.publisher.offered = True, []
    assert room.process().recorder.flush(30)
    assert len(room.publisher.offered) == 1
    assert room.journals == []


def test_what_is_removed_is_offered_no_more(room: Room) -> None:
    room.publisher.answer = False
    process = room.process()
    process.recorder.add(Job(REPO, "model", room.pin.commit, str(room.home / "hub")))
    assert process.recorder.flush(30)
    assert room.journals == ["offers"]
    remove_pin(room.catalog, room.pin)
    assert room.journals == []
    process.recorder.loaded(room.pin)
    assert process.recorder.flush(30)
    assert len(room.publisher.offered) == 1


def test_records_that_are_deleted_while_it_is_offered_do_not_come_back(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    class Deleting(Publisher):
        def __call__(self, pin: Pin, stop: Callable[[], bool]) -> bool:
            shutil.rmtree(self.catalog.state_dir)
            write_json(self.catalog.state_dir / "published" / "x.json", {})
            return True

    room.publisher = Deleting(room.catalog)
    process = room.process()
    room.load(process)
    assert process.recorder.flush(30)
    assert not room.catalog.state_dir.exists()
    assert caplog.text == ""


def test_a_fault_ends_the_offer_and_not_the_thread(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.publisher.answer = RuntimeError("a fault")
    process = room.process()
    room.load(process)
    assert not process.recorder.flush(30)
    assert "a fault" in caplog.text
    room.publisher.answer = True
    process.recorder.add(Job(REPO, "model", room.pin.commit, str(room.home / "hub")))
    assert process.recorder.flush(30)


# -- loads and the end of a process go first ------------------------------------------------------------------


class Slow:
    """A publisher that says when it began, and goes on until it is told to stop or to finish."""

    def __init__(self) -> None:
        self.began, self.finish, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.finished = 0

    def __call__(self, pin: Pin, stop: Callable[[], bool]) -> bool:
        self.began.set()
        while not self.finish.wait(0.01):
            if stop():
                self.stopped.set()
                raise InterruptedError("it was stopped")
        self.finished += 1
        return True


def slow(room: Room) -> tuple[Slow, Recorder]:
    publisher = Slow()
    recorder = Recorder(room.catalog, publish=publisher)
    recorder.loaded(room.pin)
    assert publisher.began.wait(30)
    return publisher, recorder


def test_a_load_that_begins_meanwhile_goes_first(room: Room) -> None:
    publisher, recorder = slow(room)
    with recorder.loading():
        assert publisher.stopped.wait(30)
        publisher.finish.set()
        assert publisher.finished < 1
    assert recorder.flush(30)
    assert publisher.finished == 1


def test_close_stops_an_offer(room: Room) -> None:
    publisher, recorder = slow(room)
    recorder.close()
    assert publisher.stopped.wait(30)


def test_a_daemon_that_hangs_holds_up_neither_recording_nor_the_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for, however long an exit may take: here longer than the daemon is silent."""
    monkeypatch.setattr("pinformers.pinning.recorder.EXIT_SECONDS", 60)
    began, silence, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(pin: Pin, stop: Callable[[], bool]) -> bool:
        began.set()
        silence.wait(20)
        ended.set()
        return True

    recorder = Recorder(room.catalog, publish=hang)
    recorder.add(Job(REPO, "model", room.pin.commit, str(room.home / "hub")))
    assert began.wait(30)
    other = write_folder(room.home / "hub" / "models--org--other" / "snapshots" / ("e" * 40), {"a.json": b"{}"})
    recorder.add(Job("org/other", "model", other.name, str(room.home / "hub")))
    recorder.close()
    assert room.catalog.pin("org/other", other.name) is not None
    assert not ended.is_set()
    silence.set()
    assert set(room.journals) == {"offers"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_leaves_what_is_queued_to_its_parent(room: Room) -> None:
    publisher, recorder = slow(room)
    child = os.fork()
    if child == 0:
        os._exit(0 if recorder.flush(20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    publisher.finish.set()
    assert recorder.flush(30)
    assert publisher.finished == 1
