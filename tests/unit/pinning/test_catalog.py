from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from pin_rooms import PIN, pinned
from pinformers.pinning.catalog import Catalog, Place


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
    other.add(dataclasses.replace(PIN, files={"b.json": pinned(b"b")}), Place("/cache", {"b.json": (4, 5, 6)}))
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


def test_remove_forgets_the_pin_its_places_and_its_refs(catalog: Catalog) -> None:
    catalog.add(PIN, Place("/cache", {"a.json": (1, 2, 3)}))
    catalog.set_ref("org/model", "main", PIN.commit)
    catalog.set_ref("org/model", "other", "d" * 40)
    catalog.remove(PIN)
    assert catalog.pin("org/model", PIN.commit) is None
    assert catalog.places(PIN) == []
    assert catalog.refs("org/model") == {"other": "d" * 40}
