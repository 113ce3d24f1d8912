"""Caches and records that others share, damage, forge or race for: never an error of a load, never a false answer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, PIN, REPO, MemorySource, fill_cache, make_resolver, pinned, tree, write_folder
from pinformers._errors import BlockMismatch, PinError
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import read_file
from pinformers.pinning.adoption import Adoption, Facts, Watch
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog, Place, read_ref
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.recorder import Job, Recorder
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver, local_files
from pinformers.sources.base import Chain


class Proven(MemorySource):
    """A source that has verified what it returns."""

    proves = True


def test_a_block_is_hashed_once_and_a_plug_in_is_believed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cid = CID.parse(pinned(b"good").cid)
    chain = Chain([MemorySource({cid: b"evil"}, "forger"), MemorySource({cid: b"good"})])
    assert chain.fetch(cid) == b"good"
    assert chain.dropped == ["forger"]
    assert chain.fetch(cid) == b"good" and chain.served == {"memory": 2}
    monkeypatch.setattr(hashlib, "sha256", None)
    assert Chain([Proven({cid: b"good"})]).fetch(cid) == b"good"


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return make_resolver(tmp_path)


def test_what_we_write_others_may_read(resolver: Resolver, tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    finally:
        os.umask(umask)
    for top in ("hub", "pinformers"):
        files = [path for path in (tmp_path / top).rglob("*") if path.is_file() and path.suffix != ".lock"]
        assert files
        assert {path.stat().st_mode & 0o444 for path in files} == {0o444}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"../../../evil", b"main\n", b"a" * 39])
def test_a_ref_that_holds_no_commit_is_none(resolver: Resolver, tmp_path: Path, content: bytes) -> None:
    for path in (
        tmp_path / "hub/models--org--model/refs/main",
        tmp_path / "pinformers/pins/models--org--model/refs/main",
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        assert read_ref(path) is None
    assert resolver.resolve(REPO, None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"repo": "other/model"},
        {"commit": "d" * 40},
        {"commit": "main"},
        {"repo_type": "../x"},
        {"info": 3},
        {"files": {"a.json": {**PIN.files["a.json"].to_json(), "sha256": "../../x"}}},
        {"files": {"a.json": {**PIN.files["a.json"].to_json(), "hub": {"lfs_sha256": "0" * 64}}}},
        {"files": {"a.json": {**PIN.files["a.json"].to_json(), "size": "many"}}},
        {"files": []},
    ],
)
def test_a_forged_record_is_nobody_s(tmp_path: Path, change: dict[str, object]) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(PIN)
    path = catalog.pin_path(REPO, PIN.commit)
    path.write_text(json.dumps({**PIN.to_json(), **change}))
    assert catalog.pin(REPO, PIN.commit) is None


@pytest.mark.parametrize(
    "content", ['{"format": 1, "files": {"a": {"size": Infinity}}}', "[" * 100_000, "{}", "null", ""]
)
def test_a_record_that_nobody_can_read_is_none(tmp_path: Path, content: str) -> None:
    resolver = make_resolver(tmp_path)
    for path in (resolver.catalog.pin_path(REPO, "c" * 40), resolver.catalog.state_dir / "pending" / "x.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert resolver.resolve(REPO, "c" * 40) is None
    assert resolver.recorder.flush(10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    for path in (resolver.catalog.pin_path(REPO, "c" * 40), resolver.catalog.state_dir / "pending" / "x.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
    assert resolver.resolve(REPO, "c" * 40) is None
    assert resolver.recorder.flush(10)


@pytest.mark.parametrize("made", ["/etc/passwd", "../../victim", "blobs/../../../victim"])
def test_a_forged_place_deletes_nothing(resolver: Resolver, tmp_path: Path, made: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("dear")
    made = made.replace("/etc/passwd", str(victim))
    folder = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    path = resolver.catalog.place_path(folder.pin, resolver.default_cache)
    path.write_text(json.dumps({"cache_dir": resolver.default_cache, "files": {}, "made": [made]}))
    remove_pin(resolver.catalog, folder.pin)
    assert victim.read_text() == "dear"


@pytest.mark.parametrize("field", ["repo", "commit", "revisions", "listing", "cache_dir"])
def test_a_forged_journal_stops_nobody(tmp_path: Path, field: str) -> None:
    resolver = make_resolver(tmp_path)
    job = Job(REPO, "model", "c" * 40, str(tmp_path / "hub"), {"main": 1}, Facts({"a": {}}, {}))
    folder = resolver.catalog.state_dir / "pending"
    folder.mkdir(parents=True)
    for number, value in enumerate(["../../x", 7, ["x"], {"../x": "y"}, None]):
        (folder / f"{number}.json").write_text(json.dumps({**job.to_json(), field: value}))
    assert resolver.resolve(REPO, None) is None
    assert resolver.recorder.flush(10)


@pytest.mark.parametrize("entry", [3, None, "x", {"../x": {}}])
def test_a_malformed_tree_is_no_listing(hub: HubStub, resolver: Resolver, tmp_path: Path, entry: object) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    trees = cache.folder / "trees" / f"{commit}.json"
    trees.parent.mkdir(exist_ok=True)
    files = entry if isinstance(entry, dict) else {"config.json": entry}
    trees.write_text(json.dumps({"format_version": 1, "files": files}))
    assert cache.tree(commit) is None
    pin = Adoption(resolver.catalog, cache, Pin(REPO, commit)).run(Facts(), Watch())
    assert set(pin.files) == set(FILES)


def test_a_file_that_the_listing_does_not_have_is_not_of_the_model(
    hub: HubStub, resolver: Resolver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    cache.file(commit, "planted.py").write_text("import os")
    pin = Adoption(resolver.catalog, cache, Pin(REPO, commit)).run(Facts({path: {} for path in FILES}), Watch())
    assert set(pin.files) == set(FILES)
    assert "planted.py" in caplog.text


def test_unfinished_files_are_of_no_model(resolver: Resolver, tmp_path: Path) -> None:
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    cache.file("c" * 40, "a.json").parent.mkdir(parents=True)
    cache.file("c" * 40, "a.json").write_bytes(b"a")
    cache.file("c" * 40, "b.json.01234567.pinformers.incomplete").write_bytes(b"b")
    assert list(cache.files("c" * 40)) == ["a.json"]


def test_a_blob_is_never_named_by_a_hash_that_it_does_not_have(tmp_path: Path) -> None:
    content = b"abc"
    file = pinned(content, size=3, blob_id="0" * 40)
    pin = Pin(REPO, "c" * 40, {"a.json": file})
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    with pytest.raises(BlockMismatch):
        chain = Chain([MemorySource({CID.parse(file.cid): content})])
        fetch_file(cache, pin, "a.json", chain.fetch, tmp_path / "dag.car")
    assert not [name for name, (kind, _) in tree(cache.folder).items() if kind != "folder"]


def test_a_place_newer_than_the_pin_that_was_read(tmp_path: Path, resolver: Resolver) -> None:
    folder = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    path = resolver.catalog.place_path(folder.pin, resolver.default_cache)
    record = json.loads(path.read_text())
    record["files"]["late.json"] = [1, 2, 3]
    path.write_text(json.dumps(record))
    assert len(list(local_files(resolver.catalog))) == len(FILES)


def test_threads_share_the_store(resolver: Resolver, tmp_path: Path) -> None:
    folder = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    cid = CID.parse(folder.pin.files["model.safetensors"].cid)
    (store,) = make_resolver(tmp_path).sources
    start, found = threading.Barrier(8), []

    def read() -> None:
        start.wait(10)
        found.append(b"".join(read_file(cid, store.block)))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [FILES["model.safetensors"]] * 8


def test_a_source_that_fails_in_its_own_way_is_a_source_that_failed(resolver: Resolver, tmp_path: Path) -> None:
    class Broken:
        name, local = "broken", True

        def block(self, cid: CID) -> bytes:
            raise ValueError("no idea")

    folder = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    bound = resolver.bind(folder.pin, "main", [Broken(), *resolver.sources], cache_dir=str(tmp_path / "other"))
    assert bound.deliver(["config.json"])


def test_local_files_only_asks_no_source_that_may_be_elsewhere(resolver: Resolver, tmp_path: Path) -> None:
    folder = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    file = folder.pin.files["config.json"]
    far = MemorySource({CID.parse(file.cid): FILES["config.json"]}, "far")
    far.local = False
    bound = resolver.bind(folder.pin, "main", [far], cache_dir=str(tmp_path / "other"))
    assert not bound.deliver(["config.json"], local=True)
    assert far.asked == 0
    assert bound.deliver(["config.json"])


@pytest.mark.parametrize("repo", ["./missing", "-x/y", "a--b/c", "a/b.git", "x" * 97])
def test_a_name_that_the_hub_does_not_know_is_left_to_transformers(tmp_path: Path, repo: str) -> None:
    assert make_resolver(tmp_path, on_miss="error").resolve(repo, None) is None
    with pytest.raises(PinError):
        pin_folder(make_resolver(tmp_path), write_folder(tmp_path / "folder"), repo)


def test_an_old_journal_does_not_bring_an_old_main_back(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    old = fill_cache(hub, tmp_path / "hub", {"config.json": b"old"})
    seen = time.time_ns()
    time.sleep(0.02)
    new = fill_cache(hub, tmp_path / "hub", {"config.json": b"new"})
    recorder = Recorder(resolver.catalog)
    for commit in (new, old):
        recorder.add(Job(REPO, "model", commit, str(tmp_path / "hub"), {"main": seen} if commit == old else {}))
    assert recorder.flush(30)
    assert resolver.commit(REPO, "main") == new


def test_a_load_from_an_old_cache_does_not_move_main(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    old = fill_cache(hub, tmp_path / "own", {"config.json": b"old"})
    time.sleep(0.02)
    new = fill_cache(hub, tmp_path / "hub", {"config.json": b"new"})
    for cache_dir, commit in (("hub", new), ("own", old)):
        path = RepoCache(str(tmp_path / cache_dir), REPO).file(commit, "config.json")
        resolver.seen(REPO, None, [str(path)], repo_type="model")
    assert resolver.recorder.flush(30)
    assert resolver.commit(REPO, "main") == new


def test_what_the_hub_has_under_a_folders_name_does_not_count(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"config.json": b"ours"})
    mine = pin_folder(resolver, folder, REPO)
    time.sleep(0.02)
    mine.cache.ref_path("main").unlink()
    fill_cache(hub, tmp_path / "hub", {"config.json": b"theirs"})
    assert resolver.commit(REPO, "main") == mine.commit
    assert pin_folder(resolver, folder, REPO).commit == resolver.commit(REPO, "main") == mine.commit


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_that_is_half_copied_changes_no_name(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    first = pin_folder(resolver, write_folder(tmp_path / "one"), REPO)
    before = tree(tmp_path / "hub" / "models--org--model")
    second = write_folder(tmp_path / "two", {**FILES, "config.json": b"{}", "sub/vocab.txt": b"c"})
    add_file = RepoCache.add_file

    def fails(self: RepoCache, commit: str, path: str, *rest: object) -> list[str]:
        if path.startswith("sub/"):
            raise error
        return add_file(self, commit, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RepoCache, "add_file", fails)
    with pytest.raises((PinError, KeyboardInterrupt)):
        pin_folder(resolver, second, REPO)
    monkeypatch.undo()
    assert tree(tmp_path / "hub" / "models--org--model") == before
    assert [pin.commit for pin in resolver.catalog.pins()] == [first.commit]
    found = resolver.find(REPO, None)
    assert found is not None
    assert found.commit == first.commit
    assert found.deliver(list(FILES))


def test_pinning_the_same_again_and_failing_keeps_the_model(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "folder")
    first = pin_folder(resolver, folder, REPO)
    first.cache.file(first.commit, "config.json").unlink()

    def full(*_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RepoCache, "add_file", full)
    with pytest.raises(PinError):
        pin_folder(resolver, folder, REPO)
    monkeypatch.undo()
    found = resolver.find(REPO, None)
    assert found is not None
    assert found.deliver(["model.safetensors"])


def test_a_cache_that_cannot_be_written_serves_what_it_has(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    strict = make_resolver(tmp_path, on_miss="error")
    monkeypatch.setattr(RepoCache, "mark_absent", read_only)
    monkeypatch.setattr("pinformers.pinning.catalog.write_json", read_only)
    monkeypatch.setattr("pinformers.pinning.catalog.append", read_only)
    found = strict.resolve(REPO, None)
    assert found is not None
    os.utime(found.cache.file(found.commit, "config.json"), ns=(1, 1))
    for _ in range(3):
        assert found.deliver([*FILES, "tokenizer.model", "added_tokens.json"])
    assert caplog.text.count("cannot be written") == 2


def test_a_record_that_cannot_be_read_counts_as_none(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    denied = PermissionError(13, "Permission denied")

    def deny(*_: object, **__: object) -> bytes:
        raise denied

    monkeypatch.setattr(Path, "read_bytes", deny)
    monkeypatch.setattr(Path, "read_text", deny)
    assert make_resolver(tmp_path).resolve(REPO, None) is None


def test_a_lock_that_cannot_be_opened_stops_no_work(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "pinformers").mkdir()
    (tmp_path / "pinformers" / "locks").write_text("no folder")
    assert pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).deliver(list(FILES))


def test_many_small_files_are_recorded_together(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    for number in range(300):
        cache.file("c" * 40, f"{number}.txt").parent.mkdir(parents=True, exist_ok=True)
        cache.file("c" * 40, f"{number}.txt").write_text(str(number))
    written: list[object] = []
    add = Catalog.add
    monkeypatch.setattr(Catalog, "add", lambda self, *a: written.append(a) or add(self, *a))
    pin = Adoption(resolver.catalog, cache, Pin(REPO, "c" * 40)).run(Facts(), Watch())
    assert len(pin.files) == 300
    assert len(written) < 30


def test_a_copy_of_cache_and_records_speaks_of_itself_alone(tmp_path: Path) -> None:
    pin_folder(make_resolver(tmp_path / "one"), write_folder(tmp_path / "folder"), REPO)
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    before = tree(tmp_path / "one" / "hub")
    copy = make_resolver(tmp_path / "two")
    found = copy.find(REPO, None)
    assert found is not None
    assert found.deliver(list(FILES))
    assert remove_pin(copy.catalog, found.pin).freed > 0
    assert tree(tmp_path / "one" / "hub") == before
    assert not [name for name, (kind, _) in tree(found.cache.folder).items() if kind != "folder"]


def test_a_move_within_a_file_system_is_not_even_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_folder(make_resolver(tmp_path / "one"), write_folder(tmp_path / "folder"), REPO)
    (tmp_path / "one").rename(tmp_path / "two")
    moved = make_resolver(tmp_path / "two").find(REPO, None)
    assert moved is not None
    assert {moved.state(path) for path in FILES} == {"here"}


def test_a_place_is_found_by_its_cache_alone(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(PIN, Place("/one", {"a.json": (1, 2, 3)}))
    assert catalog.place(PIN, "/two").files == {}
