from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, MemorySource, fill_cache, make_resolver, write_folder
from pinformers._errors import PinError
from pinformers.ipfs.cid import CID
from pinformers.pinning.adoption import Adoption, Facts, Watch, keep_blocks, kept_blocks
from pinformers.pinning.cache import STAGING, RepoCache
from pinformers.pinning.checking import Finding, bytes_to_check, check, check_file, repair
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.journal import drop
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import write_json
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.sweeping import Garbage, find_garbage


@pytest.fixture(params=["links", "plain files"])
def resolver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    links = request.param == "links"
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: links)
    return make_resolver(tmp_path)


@pytest.fixture
def ours(resolver: Resolver, tmp_path: Path) -> Pin:
    """A pin that we brought from a folder."""
    return pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin


@pytest.fixture
def theirs(resolver: Resolver, hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """A pin of what huggingface_hub's client wrote."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    # Where huggingface_hub builds URLs: 2.x in the first module, 0.x in the second.
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    commit = fill_cache(hub, tmp_path / "hub")
    return Adoption(resolver.catalog, cache_of(resolver), Pin(REPO, commit)).run(Facts(), Watch())


def cache_of(resolver: Resolver) -> RepoCache:
    return RepoCache(resolver.default_cache, REPO)


def spoil(resolver: Resolver, pin: Pin, path: str = "model.safetensors") -> Path:
    """Flip one bit and leave size and mtime as they were."""
    target = cache_of(resolver).file(pin.commit, path).resolve()
    stat = target.stat()
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return target


def findings(resolver: Resolver, pin: Pin) -> list[Finding]:
    return list(check(resolver.catalog, pin))


def only_bad(resolver: Resolver, pin: Pin) -> Finding:
    (bad,) = [finding for finding in findings(resolver, pin) if finding.state != "good"]
    return bad


def test_good_files_are_good_and_all_bytes_are_read(resolver: Resolver, ours: Pin) -> None:
    read: list[int] = []
    found = list(check(resolver.catalog, ours, read.append))
    assert {finding.path for finding in found} == set(FILES)
    assert {finding.state for finding in found} == {"good"}
    assert sum(read) == bytes_to_check(resolver.catalog, ours) == sum(map(len, FILES.values()))


def test_one_flipped_bit_is_found_where_the_file_looks_unchanged(resolver: Resolver, ours: Pin) -> None:
    spoil(resolver, ours)
    pinned = resolver.find(REPO, None)
    assert pinned is not None
    assert pinned.state("model.safetensors") == "here"
    bad = only_bad(resolver, ours)
    assert (bad.path, bad.state) == ("model.safetensors", "bad")
    assert bad.to_json()["file"] == str(cache_of(resolver).file(ours.commit, "model.safetensors"))


def test_a_size_that_is_wrong_and_a_file_that_is_gone_are_named(resolver: Resolver, ours: Pin) -> None:
    cache_of(resolver).file(ours.commit, "config.json").resolve().write_bytes(b"{}")
    cache_of(resolver).file(ours.commit, "sub/vocab.txt").unlink()
    found = {finding.path: finding for finding in findings(resolver, ours)}
    assert "2 bytes" in found["config.json"].why
    assert found["sub/vocab.txt"].state == "missing"


def test_a_good_file_that_looks_changed_is_recorded_as_it_looks_now(resolver: Resolver, ours: Pin) -> None:
    os.utime(cache_of(resolver).file(ours.commit, "config.json"), (1, 1))
    pinned = resolver.find(REPO, None)
    assert pinned is not None
    assert pinned.state("config.json") == "changed"
    assert {finding.state for finding in findings(resolver, ours)} == {"good"}
    assert pinned.state("config.json") == "here"


def test_blocks_that_are_damaged_are_written_again(
    resolver: Resolver, ours: Pin, caplog: pytest.LogCaptureFixture
) -> None:
    kept = resolver.catalog.dag_path(ours.files["model.safetensors"].cid)
    before = kept_blocks(kept)
    for damage in (b"garbage", b""):
        kept.write_bytes(damage)
        findings(resolver, ours)
        assert kept_blocks(kept) == before
    keep_blocks(resolver.catalog, CID.parse(ours.root), ours.directory().nodes)
    kept.write_bytes(resolver.catalog.dag_path(ours.root).read_bytes())
    findings(resolver, ours)
    assert kept_blocks(kept) == before


def test_a_repair_fetches_from_another_copy_on_this_machine(resolver: Resolver, ours: Pin, tmp_path: Path) -> None:
    copy = resolver.find(REPO, ours.commit, cache_dir=str(tmp_path / "other"))
    assert copy is not None
    assert copy.deliver(list(FILES))
    spoil(resolver, ours)
    assert repair(resolver, only_bad(resolver, ours)) == "embedded"
    assert {finding.state for finding in findings(resolver, ours)} == {"good"}
    assert "blobs/" in str(resolver.catalog.place(ours, resolver.default_cache).made) or not list(
        cache_of(resolver).folder.glob("blobs/*")
    )


def test_a_spoiled_blob_without_its_link_is_repaired_at_once(
    resolver: Resolver, theirs: Pin, hub: HubStub, tmp_path: Path
) -> None:
    target = spoil(resolver, theirs, "config.json")
    only_bad(resolver, theirs).file.unlink()
    assert only_bad(resolver, theirs).state == "missing"
    assert repair(resolver, only_bad(resolver, theirs)) == "hub"
    assert {finding.state for finding in findings(resolver, theirs)} == {"good"}
    assert target.read_bytes() == FILES["config.json"]


def test_a_repair_that_nobody_can_make_leaves_the_bytes_and_says_so(resolver: Resolver, ours: Pin) -> None:
    spoil(resolver, ours)
    bad = only_bad(resolver, ours)
    with pytest.raises(PinError, match="pin the folder it came from again"):
        repair(resolver, bad)
    # What is wrong may still be the only copy of most of it.
    assert bad.file.exists()
    assert not list(cache_of(resolver).folder.rglob("*.incomplete"))


def test_a_repair_asks_the_hub_client_for_a_file_of_the_hub(resolver: Resolver, theirs: Pin, hub: HubStub) -> None:
    spoil(resolver, theirs, "config.json")
    assert repair(resolver, only_bad(resolver, theirs)) == "hub"
    assert hub.count(kind="file") == 1
    assert {finding.state for finding in findings(resolver, theirs)} == {"good"}
    assert resolver.catalog.place(theirs, resolver.default_cache).made == frozenset()


def test_a_repair_from_given_sources_asks_nobody_else(resolver: Resolver, theirs: Pin, hub: HubStub) -> None:
    spoil(resolver, theirs, "config.json")
    with pytest.raises(PinError, match="it cannot be mended"):
        repair(resolver, only_bad(resolver, theirs), [])
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_one_sentence(
    resolver: Resolver, theirs: Pin, hub: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its client tries again for 23 seconds.
    monkeypatch.setattr("time.sleep", lambda _: None)
    spoil(resolver, theirs, "config.json")
    hub.stop()
    with pytest.raises(PinError, match="the hub did not answer for it"):
        repair(resolver, only_bad(resolver, theirs))


def test_the_hub_is_not_asked_where_the_settings_forbid_it(theirs: Pin, hub: HubStub, tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path, sources=("embedded",))
    spoil(resolver, theirs, "config.json")
    with pytest.raises(PinError, match="no source delivers it"):
        repair(resolver, only_bad(resolver, theirs))
    assert hub.requests == []


def test_bad_bytes_in_the_cache_wide_store_go_too(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin
    cache = cache_of(resolver)
    copy = resolver.find(REPO, None, cache_dir=str(tmp_path / "other"))
    assert copy is not None
    assert copy.deliver(["model.safetensors"])
    blob = cache.blob(cache.etag(pin.commit, "model.safetensors") or "")
    store = tmp_path / "hub" / "blobs" / "ab" / ("ab" * 32)
    store.parent.mkdir(parents=True)
    os.replace(blob, store)
    blob.symlink_to(os.path.relpath(store, blob.parent))
    spoil(resolver, pin)
    (source,) = resolver.sources
    assert repair(resolver, only_bad(resolver, pin)) == source.name
    assert not store.exists()
    assert not blob.is_symlink()
    assert blob.read_bytes() == FILES["model.safetensors"]


def test_a_link_to_somebody_elses_file_loses_the_link_only(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin
    link = cache_of(resolver).file(pin.commit, "config.json")
    (tmp_path / "mine.json").write_bytes(b"mine")
    link.unlink()
    link.symlink_to(tmp_path / "mine.json")
    # The blob itself is good and still there.
    assert repair(resolver, only_bad(resolver, pin)) == "hub cache"
    assert (tmp_path / "mine.json").read_bytes() == b"mine"
    assert link.read_bytes() == FILES["config.json"]


def test_a_link_to_another_file_of_the_model_loses_the_link_only(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin
    cache = cache_of(resolver)
    link, other = cache.file(pin.commit, "config.json"), cache.file(pin.commit, "model.safetensors")
    link.unlink()
    link.symlink_to(os.path.relpath(other.resolve(), link.parent))
    assert repair(resolver, only_bad(resolver, pin)) == "hub cache"
    assert other.read_bytes() == FILES["model.safetensors"]


def test_a_pin_that_is_removed_while_its_files_are_read_stays_removed(resolver: Resolver, theirs: Pin) -> None:
    def remove(_: int) -> None:
        remove_pin(resolver.catalog, theirs)

    assert {finding.state for finding in check(resolver.catalog, theirs, remove)} == {"good"}
    assert list(resolver.catalog.pins()) == []
    assert resolver.catalog.places(theirs) == []


def test_a_check_says_no_more_of_a_pin_than_it_has_read(resolver: Resolver, theirs: Pin) -> None:
    """Removed and brought anew by a load, while a check had the whole of it in hand."""
    held = theirs._replace(listed=True)
    remove_pin(resolver.catalog, theirs)
    again = resolver.catalog.add(theirs.of_files({"config.json": theirs.files["config.json"]}))
    assert check_file(resolver.catalog, held, cache_of(resolver), "config.json").state == "good"
    assert resolver.catalog.pin(REPO, theirs.commit) == again
    cache_of(resolver).file(theirs.commit, "config.json").unlink()
    repair(resolver, Finding(held, cache_of(resolver), "config.json", "missing"))
    assert resolver.catalog.pin(REPO, theirs.commit) == again


def test_a_record_that_cannot_be_written_stops_no_check(
    resolver: Resolver, ours: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    for path in FILES:
        os.utime(cache_of(resolver).file(ours.commit, path), (1, 1))
    monkeypatch.setattr("pinformers.pinning.catalog.write_json", read_only)
    monkeypatch.setattr("pinformers.pinning.catalog.append", read_only)
    found = findings(resolver, ours)
    assert {finding.path for finding in found} == set(FILES)
    assert {(finding.state, finding.unrecorded) for finding in found} == {("good", "Read-only file system")}


def test_a_folder_that_never_came_into_a_cache_is_missing(resolver: Resolver, ours: Pin) -> None:
    (place,) = resolver.catalog.places(ours)
    cache_of(resolver).file(ours.commit, "config.json").unlink()
    drop(resolver.catalog.place_path(ours, place.cache_dir))
    write_json(
        resolver.catalog.place_path(ours, place.cache_dir),
        {**place.to_json(), "files": {path: stat for path, stat in place.files.items() if path != "config.json"}},
    )
    bad = only_bad(resolver, ours)
    assert (bad.path, bad.state) == ("config.json", "missing")
    assert "pin the folder it came from again" in bad.why
    resolver.catalog.place_path(ours, place.cache_dir).unlink()
    assert findings(resolver, ours) == []
    found = list(check(resolver.catalog, ours, default_cache=resolver.default_cache))
    assert {finding.path for finding in found if finding.state == "missing"} >= {"config.json"}
    assert all(finding.file.is_relative_to(cache_of(resolver).folder) for finding in found)


def test_a_pin_of_others_that_is_not_here_misses_nothing(resolver: Resolver, ours: Pin) -> None:
    learned = ours._replace(commit="d" * 40, learned="a catalog")
    resolver.catalog.add(learned)
    assert list(check(resolver.catalog, learned, default_cache=resolver.default_cache)) == []


def test_what_a_repair_has_set_aside_is_no_garbage_meanwhile(resolver: Resolver, ours: Pin) -> None:
    target = spoil(resolver, ours)
    os.utime(target, (1, 1))
    os.utime(cache_of(resolver).file(ours.commit, "model.safetensors"), (1, 1), follow_symlinks=False)

    class Looking(MemorySource):
        def block(self, cid: CID) -> bytes:
            garbage.extend(find_garbage(resolver.catalog, resolver.default_cache))
            aside.extend(cache_of(resolver).folder.rglob(f"*{STAGING}"))
            return super().block(cid)

    garbage: list[Garbage] = []
    aside: list[Path] = []
    with pytest.raises(PinError):
        repair(resolver, only_bad(resolver, ours), [Looking({})])
    assert aside
    assert garbage == []


def test_a_repair_brings_nothing_of_a_pin_that_was_removed_meanwhile(
    resolver: Resolver, ours: Pin, tmp_path: Path
) -> None:
    copy = pin_folder(resolver, tmp_path / "folder", "other/model")
    cache_of(resolver).file(ours.commit, "config.json").unlink()
    bad = only_bad(resolver, ours)
    remove_pin(resolver.catalog, ours)
    with pytest.raises(PinError, match="removed meanwhile"):
        repair(resolver, bad)
    assert not cache_of(resolver).folder.exists()
    assert list(resolver.catalog.pins()) == [copy.pin]


def test_a_file_that_came_meanwhile_needs_no_repair(resolver: Resolver, ours: Pin, tmp_path: Path) -> None:
    cache_of(resolver).file(ours.commit, "config.json").unlink()
    bad = only_bad(resolver, ours)
    pin_folder(resolver, tmp_path / "folder", REPO)
    inode = cache_of(resolver).file(ours.commit, "config.json").lstat().st_ino
    assert repair(resolver, bad, []) == "hub cache"
    assert cache_of(resolver).file(ours.commit, "config.json").lstat().st_ino == inode
