from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, fill_cache, make_resolver, tree, write_folder
from pinformers.pinning import sweeping
from pinformers.pinning.adoption import keep_blocks
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.checking import caches_away, check
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.journal import journals_of
from pinformers.pinning.pin import Pin
from pinformers.pinning.recorder import Job
from pinformers.pinning.records import write_json
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.sweeping import Garbage, find_garbage


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return make_resolver(tmp_path)


@pytest.fixture
def pin(resolver: Resolver, tmp_path: Path) -> Pin:
    return pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin


def garbage(resolver: Resolver) -> list[Garbage]:
    return list(find_garbage(resolver.catalog, resolver.default_cache))


def age(*paths: Path) -> None:
    """Make files two hours old."""
    then = time.time() - 7200
    for path in paths:
        os.utime(path, (then, then))


def test_a_sound_cache_holds_no_garbage(
    resolver: Resolver, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AGE", -1)
    assert garbage(resolver) == []


def test_our_staging_goes_when_it_is_old_and_the_hub_clients_never(
    resolver: Resolver, pin: Pin, tmp_path: Path
) -> None:
    blobs = tmp_path / "hub" / "models--org--model" / "blobs"
    ours = blobs / f"{'a' * 40}.01234567{sweeping.STAGING}"
    young = blobs / f"{'b' * 40}.01234567{sweeping.STAGING}"
    theirs = blobs / f"{'c' * 40}.01234567.incomplete"
    record = tmp_path / "pinformers" / "pins" / "models--org--model" / ".x.json.0123abcd.staging"
    for path in (ours, young, theirs, record):
        path.write_bytes(b"half")
    age(ours, theirs, record)
    found = garbage(resolver)
    assert {item.path for item in found} == {ours, record}
    assert {item.size for item in found} == {4}
    for item in found:
        item.sweep()
    assert theirs.exists()
    assert young.exists()
    assert not ours.exists()
    assert garbage(resolver) == []


def test_a_pin_whose_files_vanished_goes_with_its_blocks(
    resolver: Resolver, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "hub" / "models--org--model")
    assert garbage(resolver) == []
    monkeypatch.setattr(sweeping, "AGE", -1)
    found = garbage(resolver)
    assert {item.kind for item in found} == {"pin", "blocks"}
    for item in found:
        item.sweep()
    assert list(resolver.catalog.pins()) == []
    assert garbage(resolver) == []


def test_a_pin_on_a_disk_that_is_not_there_stays(
    resolver: Resolver, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AGE", -1)
    shutil.rmtree(tmp_path / "hub")
    assert garbage(resolver) == []


def test_a_pin_that_vanished_goes_whatever_has_its_name_and_commit(resolver: Resolver, pin: Pin) -> None:
    of_data = resolver.catalog.add(pin._replace(repo_type="dataset", pinned_at="2026-01-01T00:00:00+00:00"))
    (found,) = garbage(resolver)
    assert found.path == resolver.catalog.pin_path(pin.repo, pin.commit, of_data.repo_type)
    found.sweep()
    assert list(resolver.catalog.pins()) == [pin]


def test_a_place_whose_files_vanished_goes_and_the_pin_stays(
    resolver: Resolver, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = resolver.find(REPO, pin.commit, cache_dir=str(tmp_path / "other"))
    assert bound is not None
    assert bound.deliver(list(FILES))
    shutil.rmtree(tmp_path / "other" / "models--org--model")
    monkeypatch.setattr(sweeping, "AGE", -1)
    (found,) = garbage(resolver)
    assert found.kind == "place"
    found.sweep()
    assert [place.cache_dir for place in resolver.catalog.places(pin)] == [resolver.default_cache]


def test_a_place_goes_with_its_journal_once_both_are_old(resolver: Resolver, pin: Pin, tmp_path: Path) -> None:
    bound = resolver.find(REPO, pin.commit, cache_dir=str(tmp_path / "other"))
    assert bound is not None
    assert bound.deliver(list(FILES))
    record = resolver.catalog.place_path(pin, str(tmp_path / "other"))
    (journal,) = (path for path in map(Path, journals_of(record)) if path.exists())
    shutil.rmtree(tmp_path / "other" / "models--org--model")
    age(record)
    assert garbage(resolver) == []
    age(journal)
    assert [found.path for found in garbage(resolver)] == [record]
    shutil.rmtree(tmp_path / "other")
    (found,) = find_garbage(resolver.catalog, resolver.default_cache, moved=True)
    found.sweep()
    assert not record.exists() and not journal.exists()


def test_a_journal_without_its_record_goes_when_it_is_old(resolver: Resolver, pin: Pin) -> None:
    record = resolver.catalog.place_path(pin, resolver.default_cache)
    left = [Path(journal) for journal in journals_of(record)]
    for journal in left:
        journal.write_bytes(b"")
        age(journal)
    assert garbage(resolver) == []
    record.unlink()
    assert {found.path for found in garbage(resolver) if found.kind == "staging"} == set(left)


def test_blocks_that_no_pin_needs_go(resolver: Resolver, pin: Pin) -> None:
    directory = Pin("org/other", "d" * 40, {"a": pin.files["config.json"]}).directory()
    keep_blocks(resolver.catalog, directory.cid, directory.nodes)
    path = resolver.catalog.dag_path(str(directory.cid))
    assert garbage(resolver) == []
    age(path)
    assert [item.path for item in garbage(resolver)] == [path]


def test_a_journal_goes_when_its_snapshot_is_gone(resolver: Resolver, pin: Pin, tmp_path: Path) -> None:
    pending = tmp_path / "pinformers" / "pending"
    jobs = [Job(REPO, "model", commit, resolver.default_cache) for commit in (pin.commit, "d" * 40)]
    for job in jobs:
        write_json(pending / f"{job.name}.json", job.to_json())
    (pending / "broken.json").write_text("{}")
    age(*pending.iterdir())
    assert {item.path.name for item in garbage(resolver)} == {f"{jobs[1].name}.json", "broken.json"}


def test_looking_changes_nothing(resolver: Resolver, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "AGE", -1)
    RepoCache(resolver.default_cache, REPO).file(pin.commit, "config.json").unlink()
    before = tree(tmp_path)
    garbage(resolver)
    assert tree(tmp_path) == before


def test_a_cache_folder_that_is_not_there_is_forgotten_only_when_told(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pinned = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    (tmp_path / "hub").rename(tmp_path / "moved")
    assert caches_away(resolver.catalog, [pinned.pin]) == {str(tmp_path / "hub")}
    assert list(check(resolver.catalog, pinned.pin)) == []
    assert list(find_garbage(resolver.catalog, resolver.default_cache)) == []
    (found,) = find_garbage(resolver.catalog, resolver.default_cache, moved=True)
    found.sweep()
    assert resolver.catalog.places(pinned.pin) == []


def test_a_link_that_was_set_aside_and_leads_nowhere_goes(resolver: Resolver, pin: Pin, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--model" / "snapshots" / pin.commit
    link = snapshot / f"config.json.01234567{sweeping.STAGING}"
    link.symlink_to("../../blobs/gone")
    assert garbage(resolver) == []
    os.utime(link, (1, 1), follow_symlinks=False)
    (found,) = garbage(resolver)
    assert (found.path, found.kind, found.size) == (link, "staging", 0)
    found.sweep()
    assert not link.is_symlink()


def test_the_part_of_a_fetch_goes_when_nobody_took_it_up(resolver: Resolver, pin: Pin, tmp_path: Path) -> None:
    part = tmp_path / "hub" / "models--org--model" / "blobs" / f"{'a' * 40}.01234567{PART}"
    part.write_bytes(b"half")
    assert garbage(resolver) == []
    age(part)
    assert [item.path for item in garbage(resolver)] == [part]


LIKE_OURS = [
    ".weights.staging",
    ".weights.01234567.staging",
    "x.pinformers.incomplete",
    f"config.json.01234567{sweeping.STAGING}",
    f"sub/gone.01234567{PART}",
]


def test_a_model_file_of_whatever_name_stays(
    resolver: Resolver, hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AGE", -1)
    files = dict(FILES) | {name: name.encode() for name in LIKE_OURS}
    ours = pin_folder(resolver, write_folder(tmp_path / "folder", files), "org/ours").pin
    assert set(ours.files) == set(files)
    commit = fill_cache(hub, tmp_path / "hub", files)
    (tmp_path / "hub" / "models--org--model" / "snapshots" / commit / "config.json").unlink()
    before = tree(tmp_path / "hub")
    assert garbage(resolver) == []
    # Also where nobody kept a listing, and the pin is gone.
    shutil.rmtree(tmp_path / "hub" / "models--org--model" / "trees", ignore_errors=True)
    shutil.rmtree(tmp_path / "pinformers")
    for found in garbage(resolver):
        found.sweep()
    assert {name for name in before if name not in tree(tmp_path / "hub") and "trees" not in name} == set()


def test_a_model_file_below_our_records_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "AGE", -1)
    resolver = make_resolver(tmp_path, state_dir=tmp_path, cache_dir=tmp_path / "hub")
    pin_folder(resolver, write_folder(tmp_path / "folder", {LIKE_OURS[1]: b"model"}), REPO)
    assert garbage(resolver) == []


def test_the_inner_blocks_of_a_killed_fetch_go_when_they_are_old(resolver: Resolver, pin: Pin) -> None:
    weights = resolver.catalog.dag_path(pin.files["model.safetensors"].cid)
    part = weights.with_name(f"{weights.name}.part")
    part.write_bytes(b"half")
    assert garbage(resolver) == []
    age(part, weights)
    assert [(item.path, item.kind) for item in garbage(resolver)] == [(part, "staging")]
