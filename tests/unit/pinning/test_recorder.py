from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, fill_cache, make_resolver, pinned
from pinformers.ipfs.unixfs import hash_file
from pinformers.pinning.adoption import Facts, Watch
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin
from pinformers.pinning.recorder import Job, Recorder, record
from pinformers.pinning.records import lock
from pinformers.pinning.removal import remove_pin


@pytest.fixture
def commit(hub: HubStub, tmp_path: Path) -> str:
    return fill_cache(hub, tmp_path / "hub")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "pinformers")


def job(tmp_path: Path, commit: str, facts: Facts | None = None) -> Job:
    return Job(REPO, "model", commit, str(tmp_path / "hub"), {"main": time.time_ns()}, facts or Facts())


def journals(catalog: Catalog) -> list[Path]:
    return sorted((catalog.state_dir / "pending").glob("*.json"))


def test_a_job_is_done_beside_and_leaves_no_journal(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    pin = catalog.pin(REPO, commit)
    assert pin is not None
    assert set(pin.files) == set(FILES)
    assert catalog.refs(REPO) == {"main": commit}
    assert journals(catalog) == []


def test_nothing_is_hashed_while_something_loads(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    recorder = Recorder(catalog)
    with recorder.loading():
        recorder.add(job(tmp_path, commit))
        time.sleep(0.3)
        assert catalog.pin(REPO, commit) is None
        assert len(journals(catalog)) == 1
    assert recorder.flush(30)
    assert catalog.pin(REPO, commit) is not None


def test_a_lock_that_cannot_be_had_holds_nothing_up(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file of another user, whose umask leaves it to him alone."""

    @contextlib.contextmanager
    def refused(path: Path, timeout: float) -> Iterator[bool]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        yield False

    monkeypatch.setattr("pinformers.pinning.recorder.lock", refused)
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(20)
    assert catalog.pin(REPO, commit) is not None


def test_what_one_process_left_the_next_takes_up(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    first = Recorder(catalog)
    with first.loading():
        first.add(job(tmp_path, commit, Facts(info={"pipeline_tag": "x"})))
        first._pace.stopped = True
    assert len(journals(catalog)) == 1
    second = Recorder(Catalog(catalog.state_dir))
    assert second.flush(30)
    pin = catalog.pin(REPO, commit)
    assert pin is not None
    assert pin.info == {"pipeline_tag": "x"}
    assert journals(catalog) == []


def test_what_is_told_while_a_job_runs_is_not_lost(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    recorder = Recorder(catalog)
    for number in range(20):
        recorder.add(job(tmp_path, commit, Facts(info={f"fact{number}": number})))
        time.sleep(0.01)
    assert recorder.flush(30)
    pin = catalog.pin(REPO, commit)
    assert pin is not None
    assert pin.info == {f"fact{number}": number for number in range(20)}


def test_a_vanished_snapshot_is_no_trouble(catalog: Catalog, tmp_path: Path) -> None:
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, "d" * 40))
    assert recorder.flush(30)
    assert journals(catalog) == []


@pytest.mark.parametrize("facts", [Facts(), Facts(info={"pipeline_tag": "x"})])
@pytest.mark.parametrize("beside", [True, False])
def test_what_is_deleted_before_it_is_recorded_is_no_trouble_and_does_not_come_back(
    facts: Facts, beside: bool, catalog: Catalog, tmp_path: Path, commit: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(catalog)
    with recorder.loading():
        recorder.add(job(tmp_path, commit, facts))
        if beside:
            shutil.rmtree(catalog.state_dir)
        shutil.rmtree(tmp_path / "hub")
    assert recorder.flush(30)
    recorder.close()
    assert not (tmp_path / "hub").exists()
    assert beside != catalog.state_dir.exists()
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["pinformers", "hub"])
def test_what_is_deleted_while_it_is_recorded_does_not_come_back(
    name: str,
    catalog: Catalog,
    tmp_path: Path,
    commit: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deleted(*args: object, **kwargs: object) -> object:
        found = hash_file(*args, **kwargs)  # type: ignore[arg-type]
        shutil.rmtree(tmp_path / name)
        return found

    monkeypatch.setattr("pinformers.pinning.adoption.hash_file", deleted)
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    recorder.close()
    assert not (tmp_path / name).exists()
    assert caplog.text == ""


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_a_file_that_is_deleted_while_it_is_hashed_is_left_out_alone(
    known: bool, opened: bool, catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "config.json"
    if known:
        catalog.add(Pin(REPO, commit, {name: pinned(FILES[name])}))

    def deleted(target: Path, **kwargs: Any) -> object:
        found = hash_file(target, **kwargs) if opened or target.name != name else None
        if target.name == name:
            target.unlink()
        return found or hash_file(target, **kwargs)

    monkeypatch.setattr("pinformers.pinning.adoption.hash_file", deleted)
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    found = catalog.pin(REPO, commit)
    assert found is not None
    assert set(found.files) == set(FILES) - (set() if known else {name})
    assert catalog.refs(REPO) == {"main": commit}


def test_a_record_that_is_missing_is_no_deleted_cache(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "record")

    recorder = Recorder(catalog)
    monkeypatch.setattr(Catalog, "add", missing)
    recorder.add(job(tmp_path, commit))
    assert not recorder.flush(30)
    assert "not pinned yet" in caplog.text
    assert len(journals(catalog)) == 1
    monkeypatch.undo()
    assert recorder.flush(30)
    assert catalog.pin(REPO, commit) is not None


def test_what_is_heard_of_a_snapshot_that_was_deleted_later_is_recorded(
    catalog: Catalog, tmp_path: Path, commit: str
) -> None:
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    shutil.rmtree(tmp_path / "hub")
    recorder.add(job(tmp_path, commit, Facts(info={"pipeline_tag": "x"})))
    assert recorder.flush(30)
    pin = catalog.pin(REPO, commit)
    assert pin is not None
    assert pin.info == {"pipeline_tag": "x"}


def test_a_journal_of_another_hand_is_removed_with_a_word(
    catalog: Catalog, tmp_path: Path, commit: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = catalog.state_dir / "pending"
    folder.mkdir(parents=True)
    (folder / "odd.json").write_text('{"repo": 1}')
    recorder = Recorder(catalog)
    assert recorder.flush(30)
    assert journals(catalog) == []
    assert "odd.json" in caplog.text


@pytest.fixture
def of_another_user(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals in folders where each may delete their own files alone, as in /tmp."""
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name in ("pending", "offers") and path.suffix == ".json":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)


@pytest.mark.usefixtures("of_another_user")
@pytest.mark.parametrize("publishes", [False, True])
def test_a_journal_that_cannot_be_removed_stops_nothing(
    catalog: Catalog, tmp_path: Path, commit: str, caplog: pytest.LogCaptureFixture, publishes: bool
) -> None:
    (catalog.state_dir / "pending").mkdir(parents=True)
    (catalog.state_dir / "pending" / "odd.json").write_text('{"repo": 1}')
    recorder = Recorder(catalog, publish=(lambda pin, stop: True) if publishes else None)
    recorder.take_up()
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    assert catalog.pin(REPO, commit) is not None
    assert "cannot be removed (Operation not permitted)" in caplog.text
    assert recorder.flush(30)


@pytest.fixture
def at_exit(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function that atexit calls meets since Python 3.12."""

    def no_thread(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", no_thread)


@pytest.mark.usefixtures("at_exit")
@pytest.mark.parametrize("publishes", [False, True])
def test_flush_ends_where_no_thread_starts(catalog: Catalog, tmp_path: Path, commit: str, publishes: bool) -> None:
    recorder = Recorder(catalog, publish=(lambda pin, stop: True) if publishes else None)
    recorder.add(job(tmp_path, commit))
    # What is to be offered is left to the next process.
    assert recorder.flush() is not publishes
    assert catalog.pin(REPO, commit) is not None
    assert journals(catalog) == []
    assert len(list((catalog.state_dir / "offers").glob("*.json"))) == publishes


@pytest.mark.usefixtures("at_exit")
def test_flush_ends_in_time_where_no_thread_starts(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    with lock(catalog.state_dir / "locks" / f"{job(tmp_path, commit).name}.lock", 5.0):
        assert not recorder.flush(0.3)
    assert len(journals(catalog)) == 1


def test_a_load_does_not_wait_for_what_is_flushed_where_no_thread_starts(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = threading.Event()

    def load() -> None:
        recorder.add(job(tmp_path, "d" * 40))
        queued.set()

    def hashed(*args: Any, **kwargs: Any) -> object:
        if not beside.is_alive() and not queued.is_set():
            start(beside)
            waited.append(not queued.wait(5))
        return hash_file(*args, **kwargs)

    def no_thread(thread: threading.Thread) -> None:
        if thread.name == "pinformers-recorder":
            raise RuntimeError("can't start new thread")
        start(thread)

    start, waited, beside = threading.Thread.start, list[bool](), threading.Thread(target=load)
    monkeypatch.setattr("pinformers.pinning.adoption.hash_file", hashed)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, commit))
    assert recorder.flush(30)
    beside.join()
    assert waited == [False]


def test_a_failing_job_is_kept_for_the_next_process(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    recorder = Recorder(catalog)
    monkeypatch.setattr(Catalog, "add", full)
    recorder.add(job(tmp_path, commit))
    deadline = time.monotonic() + 20
    while recorder._jobs and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "not pinned yet" in caplog.text
    assert not recorder.flush(30)
    assert len(journals(catalog)) == 1
    monkeypatch.undo()
    assert recorder.flush(30)
    assert catalog.pin(REPO, commit) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_can_record_too(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    recorder = Recorder(catalog)
    recorder.add(job(tmp_path, "d" * 40))
    held = threading.Event()

    def hold() -> None:
        with recorder._pace.wake:
            held.set()
            time.sleep(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    child = os.fork()
    if child == 0:
        recorder.add(job(tmp_path, commit))
        os._exit(0 if recorder.flush(20) and catalog.pin(REPO, commit) is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


def test_close_stops_a_long_job_between_two_chunks(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinformers.pinning.recorder.EXIT_BYTES", -1)
    recorder = Recorder(catalog)
    with recorder.loading():
        recorder.add(job(tmp_path, commit))
        recorder.close()
    assert recorder._thread is not None
    assert not recorder._thread.is_alive()
    assert len(journals(catalog)) == 1


def test_ctrl_c_in_close_stops_it_too(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> bool:
        raise KeyboardInterrupt

    recorder = Recorder(catalog)
    monkeypatch.setattr(recorder, "_drain", wait)
    with recorder.loading():
        recorder.add(job(tmp_path, commit))
        with pytest.raises(KeyboardInterrupt):
            recorder.close()
    assert recorder._thread is not None
    recorder._thread.join(5)
    assert not recorder._thread.is_alive()
    assert len(journals(catalog)) == 1


def test_the_resolver_of_one_process_is_not_asked_for_a_snapshot_it_did_not_see(tmp_path: Path) -> None:
    assert make_resolver(tmp_path).recorder.flush(1)


def test_a_pin_that_is_removed_while_its_files_are_hashed_stays_removed(
    catalog: Catalog, tmp_path: Path, commit: str
) -> None:
    def remove(_: int) -> None:
        for pin in catalog.pins():
            remove_pin(catalog, pin)

    assert not record(catalog, job(tmp_path, commit), Watch(progress=remove)).files
    assert list(catalog.pins()) == []
    assert catalog.refs(REPO) == {}


def test_a_job_whose_pin_is_removed_before_it_begins_is_none(catalog: Catalog, tmp_path: Path, commit: str) -> None:
    pin = record(catalog, job(tmp_path, commit), Watch())
    recorder = Recorder(catalog)
    with recorder.loading():
        recorder.add(job(tmp_path, commit))
        remove_pin(catalog, pin)
    assert recorder.flush(30)
    assert list(catalog.pins()) == []


def test_a_flush_that_is_interrupted_makes_no_later_load_slower(
    catalog: Catalog, tmp_path: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    recorder = Recorder(catalog)
    with recorder.loading():
        assert not recorder._pace.may_run()
        monkeypatch.setattr(recorder._pace.wake, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorder.flush(30)
        assert not recorder._pace.may_run()


def test_a_child_that_was_forked_inside_a_load_may_record(catalog: Catalog) -> None:
    recorder = Recorder(catalog)
    with recorder.loading():
        recorder.forked()
    assert recorder._pace.may_run()
    with recorder.loading():
        assert not recorder._pace.may_run()
