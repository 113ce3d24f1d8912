from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from pin_rooms import hold_lock
from pinformers.pinning import records


def test_a_failed_write_leaves_the_old_and_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "record.json"
    records.write_json(path, {"a": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "sync", full)
    with pytest.raises(OSError, match="No space"):
        records.write_json(path, {"a": 2})
    assert records.read_json(path) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_what_is_no_object_reads_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert records.read_json(path) is None
    assert records.read_json(tmp_path / "absent") is None
    assert records.read_json(path / "below-a-file") is None


def test_signature_follows_links_and_tells_a_change(tmp_path: Path) -> None:
    target, link = tmp_path / "t", tmp_path / "l"
    assert records.signature(link) is None
    link.symlink_to(target)
    assert records.signature(link) is None
    target.write_bytes(b"12")
    before = records.signature(link)
    assert before is not None
    assert before[0] == 2
    target.unlink()
    target.write_bytes(b"34")
    assert records.signature(link) != before


def test_a_lock_that_is_held_too_long_is_gone_without(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold_lock, args=(str(tmp_path / "l.lock"), held, release))
    other.start()
    assert held.wait(30)
    for timeout in (0.0, 0.05, 0.2):
        with records.lock(tmp_path / "l.lock", timeout) as got:
            assert not got
    release.set()
    other.join(10)
    with records.lock(tmp_path / "l.lock", 1.0) as got:
        assert got


def test_a_look_at_a_lock_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l.lock"
    path.touch()
    looks = [os.open(path, os.O_RDWR)]
    assert records.grasp(looks[0], shared=True)
    # It is over when the first try has failed.
    monkeypatch.setattr(time, "sleep", lambda _: os.close(looks.pop()))
    with records.lock(path, 0) as got:
        assert got


def test_a_full_disk_names_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "sync", full)
    with pytest.raises(OSError, match=r"record\.json") as caught:
        records.write_json(tmp_path / "record.json", {})
    assert caught.value.filename == str(tmp_path / "record.json")
    assert records.reason(caught.value) == "No space left on device"
    assert records.reason(OSError("odd")) == "odd"


def test_what_cannot_be_replaced_is_called_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        records.write_bytes(tmp_path / "folder", b"x")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "folder"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_was_left_aside_of_one_file_is_told_from_all_others(tmp_path: Path) -> None:
    path = tmp_path / "a[b].car"
    left = [records.aside(path) for _ in range(2)]
    others = [
        tmp_path / name for name in (".a[b].car.staging", ".b.car.01234567.staging", ".a[b].car.0123456x.staging")
    ]
    for one in (*left, *others):
        one.touch()
    assert set(records.left_aside(path)) == set(left)
