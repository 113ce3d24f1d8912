from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, MemorySource, fill_cache, make_resolver, pinned, tree, write_folder
from pinformers._errors import PinError
from pinformers.ipfs.cid import CID
from pinformers.pinning.adoption import Adoption, Facts, Watch
from pinformers.pinning.cache import PART, STAGING, RepoCache
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.recorder import Job
from pinformers.pinning.records import lock, write_json
from pinformers.pinning.removal import Removal, remove_pin, remove_place
from pinformers.pinning.resolver import Resolver


def bring(resolver: Resolver, folder: Path, revision: str = "main", **changed: bytes) -> Pin:
    """Pin a folder, so that all of it is ours."""
    write_folder(folder, {**FILES, **{f"{name}.json": content for name, content in changed.items()}})
    return pin_folder(resolver, folder, REPO, revision).pin


def remove(resolver: Resolver, pin: Pin) -> Removal:
    return remove_pin(resolver.catalog, pin, lock_timeout=1)


def files_below(folder: Path) -> list[str]:
    return [name for name, (kind, _) in tree(folder).items() if kind != "folder" and not name.startswith(".locks")]


@pytest.fixture(params=["links", "plain files"])
def resolver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    links = request.param == "links"
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: links)
    return make_resolver(tmp_path)


def test_what_we_brought_goes_to_the_last_folder(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "folder")
    pinned = resolver.find(REPO, None)
    assert pinned is not None
    assert pinned.deliver(["absent.json"])
    removal = remove(resolver, pin)
    assert files_below(tmp_path / "hub") == []
    assert not (tmp_path / "hub" / "models--org--model").exists()
    assert removal.kept == {}
    assert removal.freed >= sum(map(len, FILES.values()))
    assert list(resolver.catalog.pins()) == []
    assert resolver.catalog.refs(REPO) == {}
    assert not list((tmp_path / "pinformers" / "places").rglob("*.json"))


def test_what_the_hub_client_wrote_stays_to_the_byte(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    cache = RepoCache(resolver.default_cache, REPO)
    pin = Adoption(resolver.catalog, cache, Pin(REPO, commit)).run(Facts(), Watch())
    before = tree(tmp_path / "hub")
    removal = remove(resolver, pin)
    assert {name: what for name, what in tree(tmp_path / "hub").items() if not name.startswith(".locks")} == {
        name: what for name, what in before.items() if not name.startswith(".locks")
    }
    assert set(removal.kept) == {cache.file(commit, path) for path in FILES}
    assert "huggingface_hub's client" in removal.kept[cache.file(commit, "config.json")]
    assert removal.freed == 0
    assert resolver.find(REPO, None) is None


def test_a_blob_that_another_pin_needs_stays_and_goes_with_that_one(resolver: Resolver, tmp_path: Path) -> None:
    first = bring(resolver, tmp_path / "one")
    second = bring(resolver, tmp_path / "two", "v2", extra=b"{}")
    remove(resolver, first)
    pinned = resolver.find(REPO, "v2")
    assert pinned is not None
    assert all(pinned.state(path) == "here" for path in second.files)
    remove(resolver, second)
    assert files_below(tmp_path / "hub") == []


def test_a_blob_that_the_hub_client_linked_to_stays(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = bring(resolver, tmp_path / "one")
    cache = RepoCache(resolver.default_cache, REPO)
    theirs = cache.file("d" * 40, "config.json")
    theirs.parent.mkdir(parents=True)
    theirs.symlink_to(os.path.relpath(cache.file(pin.commit, "config.json").resolve(), theirs.parent))
    removal = remove(resolver, pin)
    assert theirs.read_bytes() == FILES["config.json"]
    assert list(removal.kept.values()) == ["another snapshot needs it"]


def test_a_file_that_changed_since_stays(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "one")
    link = RepoCache(resolver.default_cache, REPO).file(pin.commit, "config.json")
    link.resolve().unlink()
    link.resolve().write_bytes(b"somebody's own work")
    removal = remove(resolver, pin)
    assert link.read_bytes() == b"somebody's own work"
    assert removal.kept[link] == "somebody changed it since we brought it"


def test_a_ref_that_moved_on_stays(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "one")
    ref = RepoCache(resolver.default_cache, REPO).ref_path("main")
    ref.write_text("e" * 40)
    remove(resolver, pin)
    assert ref.read_text() == "e" * 40


def test_a_blob_that_moved_into_the_cache_wide_store_stays(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = bring(resolver, tmp_path / "one")
    cache = RepoCache(resolver.default_cache, REPO)
    blob = cache.blob(cache.etag(pin.commit, "model.safetensors") or "")
    store = tmp_path / "hub" / "blobs" / "ab" / ("ab" * 32)
    store.parent.mkdir(parents=True)
    os.replace(blob, store)
    blob.symlink_to(os.path.relpath(store, blob.parent))
    removal = remove(resolver, pin)
    assert store.read_bytes() == FILES["model.safetensors"]
    assert blob in removal.kept


def test_a_journal_of_the_pin_goes_too(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "one")
    job = Job(REPO, "model", pin.commit, resolver.default_cache)
    journal = tmp_path / "pinformers" / "pending" / f"{job.name}.json"
    write_json(journal, job.to_json())
    remove(resolver, pin)
    assert not journal.exists()


def test_removing_twice_and_after_the_files_vanished_is_no_error(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "one")
    for path in (tmp_path / "hub").rglob("*.json"):
        path.unlink()
    remove(resolver, pin)
    assert remove(resolver, pin).deleted == []


def test_one_place_goes_and_the_other_stays(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "one")
    bound = resolver.find(REPO, None, cache_dir=str(tmp_path / "other"))
    assert bound is not None
    assert bound.deliver(list(FILES))
    place = resolver.catalog.place(pin, bound.cache.cache_dir)
    remove_place(resolver.catalog, pin, place, lock_timeout=1)
    assert files_below(tmp_path / "other") == []
    assert [place.cache_dir for place in resolver.catalog.places(pin)] == [resolver.default_cache]
    assert resolver.find(REPO, None) is not None


def test_inner_blocks_that_no_other_pin_needs_go_too(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    one = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    two = pin_folder(resolver, tmp_path / "folder", "other/model")
    kept = resolver.catalog.dag_path(one.pin.files["model.safetensors"].cid)
    remove_pin(resolver.catalog, one.pin)
    assert kept.exists()
    remove_pin(resolver.catalog, two.pin)
    assert not kept.exists()


def test_a_link_that_a_killed_repair_set_aside_keeps_no_blob(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = bring(resolver, tmp_path / "one")
    link = RepoCache(resolver.default_cache, REPO).file(pin.commit, "config.json")
    blob = link.resolve()
    link.rename(link.with_name(f"{link.name}.01234567{STAGING}"))
    removal = remove(resolver, pin)
    assert removal.kept == {}
    assert not blob.exists()


def test_halves_of_its_files_go_too_but_for_what_others_are_fetching(resolver: Resolver, tmp_path: Path) -> None:
    pin = bring(resolver, tmp_path / "folder")
    cache, file = RepoCache(resolver.default_cache, REPO), pin.files["model.safetensors"]
    name = file.etag or file.sha256
    dag = resolver.catalog.dag_path(file.cid)
    parts = [
        cache.blob(name).with_name(f"{name}.01234567{PART}"),
        cache.file(pin.commit, f"model.safetensors.01234567{PART}"),
        dag.with_name(f"{dag.name}.part"),
    ]
    others = cache.file(pin.commit, f"model.safetensors.mine.01234567{PART}")
    entry = pin.files["config.json"]
    busy = cache.blob(f"{entry.etag or entry.sha256}.01234567{PART}")
    for part in (*parts, others, busy):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    with lock(tmp_path / "hub" / ".locks" / cache.folder.name / f"{entry.etag or entry.sha256}.lock", 1):
        remove_pin(resolver.catalog, pin, lock_timeout=0.05)
    assert [part for part in parts if part.exists()] == []
    assert others.exists()
    assert busy.exists()


def test_nothing_goes_where_the_records_cannot(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = bring(resolver, tmp_path / "folder")
    before = tree(tmp_path / "hub" / "models--org--model")

    def failing(number: int) -> Callable[..., IO[bytes]]:
        def make(**_: object) -> IO[bytes]:
            raise OSError(number, os.strerror(number))

        return make

    # Stands for a file system that is mounted read-only: whoever runs the tests may be root.
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.EROFS))
    with pytest.raises(PinError, match="so nothing was removed"):
        remove(resolver, pin)
    assert tree(tmp_path / "hub" / "models--org--model") == before
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.ENOSPC))
    remove(resolver, pin)
    assert files_below(tmp_path / "hub") == []


SMALL = {name: name.encode() for name in ("config.json", "merges.txt", "tokenizer.json", "vocab.txt")}
ENTRIES = {
    name: pinned(content, size=len(content), blob_id=hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
    for name, content in SMALL.items()
}
LISTED = Pin(REPO, "c" * 40, ENTRIES, listed=True, info={"tags": ["x"]})
BLOCKS = {CID.parse(ENTRIES[name].cid): content for name, content in SMALL.items()}


class Removing(MemorySource):
    """A source beside whose answer somebody calls `pinformers rm`."""

    def block(self, cid: CID) -> bytes:
        if (pin := self.catalog.pin(REPO, "c" * 40)) is not None:
            remove_pin(self.catalog, pin)
        return super().block(cid)

    catalog: Catalog


def load(folder: Path, pin: Pin, source: MemorySource) -> PinnedRepo:
    """Return the pin in a process of its own."""
    return make_resolver(folder).bind(pin, "main", [source])


@pytest.mark.parametrize("loads", [1, 2])
def test_a_pin_that_is_removed_during_a_load_is_never_again_complete(loads: int, tmp_path: Path) -> None:
    source, catalog = Removing(BLOCKS), make_resolver(tmp_path).catalog
    source.catalog = catalog
    catalog.add(LISTED)
    one = load(tmp_path, LISTED, source)
    two = one if loads == 1 else load(tmp_path, LISTED, source)
    theirs = one.cache.file(LISTED.commit, "config.json")
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(SMALL["config.json"])
    assert one.deliver(["merges.txt"]) and two.deliver(["config.json"])
    pin = make_resolver(tmp_path).catalog.pin(REPO, LISTED.commit)
    assert pin is not None
    assert (set(pin.files), pin.listed, pin.info) == ({"config.json", "merges.txt"}, False, None)
    assert load(tmp_path, pin, MemorySource({})).has("vocab.txt") is None
    # And what came all the same has an owner.
    assert set(remove_pin(make_resolver(tmp_path).catalog, pin).kept) == {theirs}
    assert files_below(tmp_path / "hub") == [theirs.relative_to(tmp_path / "hub").as_posix()]


def test_a_file_that_comes_after_the_removal_is_one_of_the_pin_that_was(tmp_path: Path) -> None:
    source, catalog = Removing(BLOCKS), make_resolver(tmp_path).catalog
    source.catalog = catalog
    was = Pin(REPO, "c" * 40, ENTRIES, listed=True, origin="folder", pinned_at="2026-01-01T00:00:00Z", learned="theirs")
    catalog.add(was)
    assert load(tmp_path, was, source).deliver(["merges.txt"])
    pin = make_resolver(tmp_path).catalog.pin(REPO, was.commit)
    assert pin == was.of_files({"merges.txt": ENTRIES["merges.txt"]})


@pytest.mark.parametrize("recorded", ["nothing", "another file"])
def test_after_a_removal_a_changed_file_is_still_not_what_the_pin_says(recorded: str, tmp_path: Path) -> None:
    held = load(tmp_path, LISTED, MemorySource(BLOCKS))
    if recorded == "another file":
        make_resolver(tmp_path).catalog.add(LISTED.of_files({"merges.txt": ENTRIES["merges.txt"]}))
    changed = held.cache.file(LISTED.commit, "config.json")
    changed.parent.mkdir(parents=True)
    changed.write_bytes(b"somebody's")
    assert not held.deliver(["config.json"])


def test_what_a_full_disk_kept_from_the_record_is_recorded_when_the_file_is_next_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_resolver(tmp_path).catalog
    catalog.add(LISTED)
    resolver = make_resolver(tmp_path)

    def full(*_: object) -> Pin:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "add", full)
        for _ in "12":
            assert resolver.bind(LISTED, "main", [MemorySource(BLOCKS)]).deliver(["vocab.txt"])
    assert catalog.place(LISTED, resolver.default_cache) == Place(resolver.default_cache)
    assert resolver.bind(LISTED, "main", []).deliver(["vocab.txt"])
    assert set(catalog.place(LISTED, resolver.default_cache).files) == {"vocab.txt"}
    remove_pin(catalog, LISTED)
    # What is not of the file itself is owed by nobody: a ref, a listing.
    assert [name for name in files_below(tmp_path / "hub") if "/snapshots/" in name or "/blobs/" in name] == []
