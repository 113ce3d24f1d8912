from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from pin_rooms import PIN, pinned
from pinformers.pinning.catalog import Catalog, OneWork, Place, after, read_ref


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "state")


def test_what_is_added_is_there_for_every_reader(catalog: Catalog) -> None:
    place = Place("/cache", {"a.json": (1, 2, 3)}, frozenset({"blobs/x"}))
    assert catalog.add(PIN, place) == PIN
    other = Catalog(catalog.state_dir)
    assert other.pin("org/model", PIN.commit) == PIN
    assert other.place(PIN, "/cache") == place
    assert list(other.pins()) == [PIN]
    assert catalog.pin("org/model", "d" * 40) is None
    assert catalog.pin("org/other", PIN.commit) is None


def test_a_second_process_s_addition_is_seen_and_joined(catalog: Catalog) -> None:
    other = Catalog(catalog.state_dir)
    catalog.add(PIN, Place("/cache", {"a.json": (1, 2, 3)}))
    other.add(PIN._replace(files={"b.json": pinned(b"b")}), Place("/cache", {"b.json": (4, 5, 6)}))
    found = catalog.pin("org/model", PIN.commit)
    assert found is not None
    assert set(found.files) == {"a.json", "b.json"}
    assert set(catalog.place(found, "/cache").files) == {"a.json", "b.json"}


def test_places_are_kept_apart_by_cache(catalog: Catalog) -> None:
    catalog.add(PIN, Place("/one", {"a.json": (1, 2, 3)}))
    catalog.add(PIN, Place("/two", {"a.json": (9, 9, 9)}))
    assert catalog.place(PIN, "/one").files == {"a.json": (1, 2, 3)}
    assert {place.cache_dir for place in catalog.places(PIN)} == {"/one", "/two"}
    assert catalog.place(PIN, "/three") == Place("/three")


def test_refs_say_what_and_when(catalog: Catalog) -> None:
    assert catalog.ref("org/model", "main") is None
    catalog.set_ref("org/model", "main", "c" * 40)
    catalog.set_ref("org/model", "refs/pr/1", "d" * 40)
    first = catalog.ref("org/model", "main")
    assert first is not None
    assert first[0] == "c" * 40
    catalog.set_ref("org/model", "main", "e" * 40, noted=first[1] - 1)
    assert catalog.ref("org/model", "main") == first
    catalog.set_ref("org/model", "main", "e" * 40, noted=first[1] + 1)
    assert catalog.ref("org/model", "main") == ("e" * 40, first[1] + 1)
    catalog.set_ref("org/model", "main", "c" * 40)
    assert catalog.refs("org/model") == {"main": "c" * 40, "refs/pr/1": "d" * 40}


def test_a_record_of_another_hand_counts_as_none_and_is_named(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.add(PIN, Place("/cache"))
    (path,) = catalog.state_dir.glob("pins/*/*.json")
    path.write_text('{"repo": "org/model", "files": 3}')
    with caplog.at_level(logging.WARNING, logger="pinformers"):
        assert catalog.pin("org/model", PIN.commit) is None
        assert list(catalog.pins()) == []
    assert str(path) in caplog.text
    path.write_bytes(b"{ half")
    assert catalog.pin("org/model", PIN.commit) is None


def test_a_ref_that_stays_is_read_once_and_one_that_changes_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads, plain = tmp_path / "main", list[Path](), Path.read_text

    def read_text(self: Path, *args: str, **kwargs: str) -> str:
        reads.append(self)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    now = time.time_ns()
    for digit in "0123456789":
        # In place, as the hub's client does, and within one tick of the system's clock.
        path.write_text(digit * 40, encoding="ascii")
        os.utime(path, ns=(now, now))
        assert (read_ref(path) or "")[0] == digit * 40
    assert len(reads) == 10
    earlier = time.time_ns() - 10**10
    os.utime(path, ns=(earlier, earlier))
    assert [read_ref(path) for _ in range(3)] == [("9" * 40, earlier)] * 3
    assert len(reads) == 11
    path.write_text("a" * 40, encoding="ascii")
    assert (read_ref(path) or "")[0] == "a" * 40
    path.write_text("no commit", encoding="ascii")
    os.utime(path, ns=(earlier, earlier))
    assert [read_ref(path) for _ in range(2)] == [None, None]
    path.unlink()
    assert read_ref(path) is None


def test_remove_forgets_the_pin_its_places_and_its_refs(catalog: Catalog) -> None:
    catalog.add(PIN, Place("/cache", {"a.json": (1, 2, 3)}))
    catalog.set_ref("org/model", "main", PIN.commit)
    catalog.set_ref("org/model", "other", "d" * 40)
    catalog.remove(PIN)
    assert catalog.pin("org/model", PIN.commit) is None
    assert catalog.places(PIN) == []
    assert catalog.refs("org/model") == {"other": "d" * 40}


def test_what_was_removed_meanwhile_stays_removed(catalog: Catalog) -> None:
    place = Place("/cache", {"a.json": (1, 2, 3)})
    assert catalog.amend(PIN, place) is None
    catalog.add(PIN)
    assert catalog.amend(PIN, place) == PIN
    assert catalog.place(PIN, "/cache") == place
    catalog.remove(PIN)
    assert catalog.amend(PIN, place) is None
    assert list(catalog.pins()) == []
    assert catalog.places(PIN) == []


def test_one_work_adds_once_and_brings_nothing_back(catalog: Catalog) -> None:
    work = OneWork(catalog)
    place = Place("/cache", {"a.json": (1, 2, 3)})
    assert work.add(PIN) == PIN
    assert work.add(PIN, place) == PIN
    catalog.remove(PIN)
    assert not work.add(PIN, place).files
    assert list(catalog.pins()) == []
    assert OneWork(catalog).add(PIN, place) == PIN


def test_a_removal_that_is_killed_can_be_run_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records without a pin are found by nobody: not by `rm`, not by `gc`."""
    unlink, left = Path.unlink, [0]

    def dying(path: Path, missing_ok: bool = False) -> None:
        if path.suffix != ".lock":
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    for steps in range(10):
        left[0] = 99
        for inode in (3, 4):
            catalog.add(PIN, Place("/one", {"a.json": (1, 2, inode)}))
            catalog.add(PIN, Place("/two", {"a.json": (1, 2, inode)}))
        catalog.set_ref(PIN.repo, "main", PIN.commit)
        left[0] = steps
        with pytest.raises(KeyboardInterrupt):
            catalog.remove(PIN)
        assert list(catalog.pins()) == [PIN]
        left[0] = 99
        catalog.remove(PIN)
        assert [path for path in catalog.state_dir.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_note_stands_over_all_that_were_seen() -> None:
    now = time.time_ns()
    assert after(None, ("c" * 40, 1)) >= now
    assert after(("c" * 40, now + 10**12), None) == now + 10**12 + 1


@pytest.mark.parametrize("owner", [True, False])
def test_the_version_changes_with_each_place_of_any_process(
    catalog: Catalog, owner: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, plain = Catalog(catalog.state_dir), os.utime

    def denied(path: Path, ns: tuple[int, int] | None = None) -> None:
        if ns is not None:
            raise PermissionError(1, "Operation not permitted", str(path))
        # What the system's clock may not tell apart from the last time.
        plain(path, ns=(0, catalog.version() + 1))

    if not owner:
        catalog.add(PIN, Place("/zero"))
        monkeypatch.setattr(os, "utime", denied)
    seen = [catalog.version()]
    for number in range(20):
        other.add(PIN, Place("/cache", {"a.json": (number, 2, 3)}))
        seen.append(catalog.version())
    assert len(set(seen)) == 21
    other.add(PIN, Place("/cache", {"a.json": (19, 2, 3)}))
    assert catalog.version() == seen[-1]
