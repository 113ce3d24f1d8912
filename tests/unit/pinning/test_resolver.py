from __future__ import annotations

import contextvars
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, MemorySource, fill_cache, make_resolver, tree, write_folder
from pinformers._errors import NotLocked, NotPinned, PinError
from pinformers.ipfs.cid import CID
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.recorder import Job
from pinformers.pinning.resolver import Resolver


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return make_resolver(tmp_path)


@pytest.fixture
def pinned(resolver: Resolver, tmp_path: Path) -> PinnedRepo:
    return pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)


def moved(pinned: PinnedRepo, resolver: Resolver, folder: Path) -> PinnedRepo:
    """Return the same pin in another, empty hub cache."""
    found = resolver.find(REPO, None, cache_dir=str(folder))
    assert found is not None
    assert found.commit == pinned.commit
    return found


def test_a_folder_becomes_a_model_of_the_hub_cache(pinned: PinnedRepo, tmp_path: Path) -> None:
    for path, content in FILES.items():
        assert pinned.cache.file(pinned.commit, path).read_bytes() == content
    assert pinned.pin.complete
    assert pinned.commit == CID.parse(pinned.pin.root).digest.hex()[:40]
    assert pinned.cache.ref_path("main").read_text() == pinned.commit
    assert pinned.cache.tree(pinned.commit) == pinned.pin.listing


def test_equal_folders_are_equal_pins_anywhere(pinned: PinnedRepo, tmp_path: Path) -> None:
    other = pin_folder(make_resolver(tmp_path / "other"), write_folder(tmp_path / "again"), REPO)
    assert (other.commit, other.pin.root) == (pinned.commit, pinned.pin.root)


def test_a_changed_folder_pinned_again_moves_main(pinned: PinnedRepo, resolver: Resolver, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"config.json": b"{}"})
    second = pin_folder(resolver, tmp_path / "folder", REPO)
    assert second.commit != pinned.commit
    now = resolver.find(REPO, "main")
    assert now is not None
    assert now.commit == second.commit == second.cache.ref_path("main").read_text()
    assert resolver.find(REPO, pinned.commit) is not None


def test_a_ref_of_the_hub_client_is_never_overwritten(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    mine = pin_folder(resolver, write_folder(tmp_path / "folder", {"config.json": b"{}"}), REPO)
    assert mine.cache.ref_path("main").read_text() == commit
    found = resolver.find(REPO, None)
    assert found is not None
    assert found.commit == mine.commit


def test_whoever_noted_main_last_is_right(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    """A folder was given its name, which stays its own: see test_folder."""
    first = fill_cache(hub, tmp_path / "hub")
    snapshots = tmp_path / "hub" / "models--org--model" / "snapshots"
    resolver.seen(REPO, None, [str(snapshots / first / "config.json")], repo_type="model")
    assert resolver.recorder.flush()
    time.sleep(0.02)
    assert fill_cache(hub, tmp_path / "hub", {"config.json": b"{}"}) != first
    assert resolver.find(REPO, None) is None
    assert resolver.find(REPO, first) is not None


def test_a_hit_reads_no_byte_and_takes_no_lock(pinned: PinnedRepo, resolver: Resolver) -> None:
    locks = tree(Path(pinned.cache.cache_dir) / ".locks")
    fresh = resolver.find(REPO, None)
    assert fresh is not None
    assert fresh.deliver(list(FILES))
    assert tree(Path(pinned.cache.cache_dir) / ".locks") == locks


def test_files_are_materialised_when_they_are_asked_for(pinned: PinnedRepo, resolver: Resolver, tmp_path: Path) -> None:
    other = moved(pinned, resolver, tmp_path / "elsewhere")
    assert other.deliver(["config.json"])
    assert list(other.cache.files(other.commit)) == ["config.json"]
    assert other.deliver(["model.safetensors", "empty.txt"])
    assert other.cache.file(other.commit, "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert other.cache.file(other.commit, "empty.txt").read_bytes() == b""
    served = resolver.ledger.served(REPO, other.commit, "model.safetensors")
    assert served is not None
    assert served.source == "embedded"


def test_known_absence_needs_nobody(pinned: PinnedRepo) -> None:
    assert pinned.has("config.json") is True
    assert pinned.has("nothing.json") is False
    assert pinned.deliver(["nothing.json"])
    assert pinned.cache.marked_absent(pinned.commit, "nothing.json")


def test_what_is_not_known_is_left_to_the_caller(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub", paths=["config.json"])
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    (cache.folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
    resolver.seen(REPO, None, [str(cache.file(commit, "config.json"))], repo_type="model")
    assert resolver.recorder.flush(30)
    found = resolver.find(REPO, None)
    assert found is not None
    assert found.listing is None
    assert found.has("model.safetensors") is None
    # A file of a folder has come, and nobody has recorded it yet.
    assert found.has("sub") is None
    cache.file(commit, "sub/deep").mkdir(parents=True)
    assert [found.has(path) for path in ("sub", "sub/deep", "sub/deep/a.json")] == [False, False, None]
    assert found.deliver(["config.json"])
    assert not found.deliver(["config.json", "model.safetensors"])


def test_the_files_of_a_snapshot_are_told_of_together(
    hub: HubStub, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    cache, jobs = RepoCache(str(tmp_path / "hub"), REPO), list[Job]()
    monkeypatch.setattr(resolver.recorder, "add", jobs.append)
    resolver.seen(REPO, "v1", [str(cache.file(commit, path)) for path in FILES], repo_type="model")
    assert [(job.commit, job.cache_dir, [*job.revisions]) for job in jobs] == [(commit, cache.cache_dir, ["v1"])]
    assert resolver.ledger.counts["misses"] == len(FILES)
    assert all(resolver.ledger.served(REPO, commit, path) for path in FILES)


def test_a_listing_that_the_hub_gave_settles_absence(hub: HubStub, resolver: Resolver, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub", paths=["config.json"])
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    (cache.folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=path) for path in FILES], pipeline_tag="x", tags=["t"])
    resolver.informed(REPO, commit, repo_type="model", info=info)
    resolver.seen(REPO, None, [str(cache.file(commit, "config.json"))], repo_type="model")
    assert resolver.recorder.flush(30)
    found = resolver.find(REPO, None)
    assert found is not None
    assert set(found.listing or ()) == set(FILES)
    assert found.info == {"pipeline_tag": "x", "library_name": None, "tags": ["t"]}
    assert found.has("adapter_config.json") is False
    assert found.has("model.safetensors") is True
    assert not found.deliver(["model.safetensors"])


def test_a_touched_file_is_hashed_again_and_served(pinned: PinnedRepo, resolver: Resolver) -> None:
    os.utime(pinned.cache.file(pinned.commit, "config.json"), ns=(1, 1))
    assert pinned.state("config.json") == "changed"
    assert pinned.deliver(["config.json"])
    assert pinned.state("config.json") == "here"


def test_a_file_that_somebody_changed_is_a_miss_and_stays(
    pinned: PinnedRepo, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    target = pinned.cache.file(pinned.commit, "config.json").resolve()
    target.write_bytes(b'{"model_type": "gpt2"}')
    assert not pinned.deliver(["config.json"])
    assert target.read_bytes() == b'{"model_type": "gpt2"}'
    assert resolver.ledger.counts["fallbacks"] == 1
    assert not pinned.deliver(["config.json"])
    warnings = [record for record in caplog.records if "is pinned but not served" in record.getMessage()]
    assert len(warnings) == 1


def test_a_removed_file_comes_back_from_another_cache(pinned: PinnedRepo, resolver: Resolver, tmp_path: Path) -> None:
    assert moved(pinned, resolver, tmp_path / "elsewhere").deliver(list(FILES))
    for path in ("snapshots", "blobs"):
        os.system(f"rm -rf '{pinned.cache.folder / path}'")
    assert pinned.deliver(list(FILES))
    for path, content in FILES.items():
        assert pinned.cache.file(pinned.commit, path).read_bytes() == content


def test_when_nobody_delivers_the_caller_goes_on(
    pinned: PinnedRepo, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    pinned.cache.file(pinned.commit, "config.json").resolve().unlink()
    assert not pinned.deliver(["config.json"])
    assert "no source delivered it" in caplog.text
    assert not pinned.hub_allowed


def test_a_lying_source_is_dropped_and_the_next_goes_on(pinned: PinnedRepo, resolver: Resolver, tmp_path: Path) -> None:
    (store,) = resolver.sources
    file = pinned.pin.files["model.safetensors"]
    truth: dict[CID, bytes] = {}

    def fetch(cid: CID) -> bytes:
        truth[cid] = store.block(cid)
        return truth[cid]

    from pinformers.ipfs.dag import read_file

    assert b"".join(read_file(CID.parse(file.cid), fetch)) == FILES["model.safetensors"]
    second = list(truth)[2]
    liar = MemorySource({**truth, second: b"\0" * len(truth[second])}, "liar")
    honest = MemorySource(truth, "honest")
    bound = resolver.bind(pinned.pin, "main", [liar, honest], cache_dir=str(tmp_path / "elsewhere"))
    assert bound.deliver(["model.safetensors"])
    assert bound.cache.file(bound.commit, "model.safetensors").read_bytes() == FILES["model.safetensors"]
    served = resolver.ledger.served(REPO, bound.commit, "model.safetensors")
    assert served is not None
    assert served.source == "liar + honest"
    # What the liar delivered truly is not fetched again: the root and the first leaf, and the last if it was quick.
    assert honest.asked in (len(truth) - 3, len(truth) - 2)


def test_a_blob_that_was_spoiled_is_made_visible_by_no_link_of_ours(pinned: PinnedRepo, resolver: Resolver) -> None:
    link = pinned.cache.file(pinned.commit, "config.json")
    blob = link.resolve()
    blob.write_bytes(b"spoiled")
    link.unlink()
    found = resolver.resolve(REPO, "main")
    assert found is not None
    assert not found.deliver(["config.json"])
    assert not os.path.lexists(link) and blob.read_bytes() == b"spoiled"


def test_nothing_false_becomes_visible(pinned: PinnedRepo, resolver: Resolver, tmp_path: Path) -> None:
    file = pinned.pin.files["config.json"]
    liar = MemorySource({CID.parse(file.cid): b"lies"}, "liar")
    bound = resolver.bind(pinned.pin, "main", [liar])
    bound.cache = RepoCache(str(tmp_path / "elsewhere"), REPO)
    assert not bound.deliver(["config.json"])
    assert not [
        name for name, (kind, _) in tree(tmp_path / "elsewhere" / "models--org--model").items() if kind != "folder"
    ]


def test_on_miss_error_refuses_in_one_sentence(tmp_path: Path) -> None:
    strict = make_resolver(tmp_path, on_miss="error")
    with pytest.raises(NotPinned, match="org/model@main is not pinned"):
        strict.resolve(REPO, None)
    pin_folder(strict, write_folder(tmp_path / "folder"), REPO)
    assert strict.resolve(REPO, None) is not None


def test_a_branch_that_may_have_moved_is_the_hub_s_unless_pins_alone_may_answer(
    pinned: PinnedRepo, resolver: Resolver, tmp_path: Path
) -> None:
    assert resolver.resolve(REPO, None, moved=True) is None
    strict, locked = make_resolver(tmp_path, on_miss="error"), make_resolver(tmp_path, locked=True)
    assert strict.resolve(REPO, None, moved=True) is not None
    with pytest.raises(NotPinned):
        strict.resolve("org/other", None, moved=True)
    with pytest.raises(NotLocked):
        locked.resolve(REPO, None, moved=True)
    assert [kind.locked for kind in (resolver, strict, locked)] == [False, False, True]


def test_on_miss_error_asks_nobody_and_serves_nothing_else(tmp_path: Path) -> None:
    strict = make_resolver(tmp_path, on_miss="error")
    pinned = pin_folder(strict, write_folder(tmp_path / "folder"), REPO)
    assert not strict.hub_allowed
    assert not pinned.hub_allowed
    pinned.cache.file(pinned.commit, "config.json").resolve().write_bytes(b"changed")
    with pytest.raises(PinError, match="nothing else may be"):
        pinned.deliver(["config.json"])
    pinned.cache.file(pinned.commit, "empty.txt").resolve().unlink()
    pinned.cache.file(pinned.commit, "sub/vocab.txt").resolve().unlink()
    with pytest.raises(PinError, match="no source delivered it"):
        pinned.deliver(["sub/vocab.txt"])


def test_a_changed_file_is_hashed_once_not_at_every_question(
    pinned: PinnedRepo, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned.cache.file(pinned.commit, "config.json").resolve().write_bytes(b"changed")
    hashed: list[str] = []
    confirm = Adoption.confirm
    monkeypatch.setattr(Adoption, "confirm", lambda self, path, *a: hashed.append(path) or confirm(self, path, *a))
    for _ in range(3):
        again = resolver.find(REPO, None)
        assert again is not None
        assert not again.deliver(["config.json"])
    assert hashed == ["config.json"]


def test_passthrough_records_nothing(hub: HubStub, tmp_path: Path) -> None:
    lax = make_resolver(tmp_path, on_miss="passthrough")
    commit = fill_cache(hub, tmp_path / "hub")
    path = str(RepoCache(str(tmp_path / "hub"), REPO).file(commit, "config.json"))
    lax.seen(REPO, None, [path], repo_type="model")
    assert lax.recorder.flush(5)
    assert lax.find(REPO, None) is None


def test_an_unwritable_state_is_a_warning_not_an_error(
    hub: HubStub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pinformers").write_text("a file where the folder should be")
    resolver = make_resolver(tmp_path)
    commit = fill_cache(hub, tmp_path / "hub")
    path = str(RepoCache(str(tmp_path / "hub"), REPO).file(commit, "config.json"))
    assert resolver.resolve(REPO, None) is None
    resolver.seen(REPO, None, [path], repo_type="model")
    resolver.seen(REPO, None, [path], repo_type="model")
    assert caplog.text.count("Nothing is recorded") == 1


def test_no_fault_in_recording_reaches_the_load(
    hub: HubStub, resolver: Resolver, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    commit = fill_cache(hub, tmp_path / "hub")
    monkeypatch.setattr(resolver.recorder, "add", fault)
    monkeypatch.setattr(resolver.recorder, "take_up", fault)
    assert resolver.resolve(REPO, None) is None
    path = str(RepoCache(str(tmp_path / "hub"), REPO).file(commit, "config.json"))
    resolver.seen(REPO, None, [path], repo_type="model")
    resolver.listed(REPO, commit, repo_type="model", entries=[SimpleNamespace(path="x", blob_id="b" * 40)])
    resolver.informed(REPO, commit, repo_type="model", info=SimpleNamespace())
    assert caplog.text.count("ZeroDivisionError") == 1


@pytest.mark.skipif(os.name != "posix", reason="there a name is text")
def test_folders_whose_names_are_no_text_are_folders(hub: HubStub, tmp_path: Path) -> None:
    folder = tmp_path / "b\udcff"
    commit = fill_cache(hub, folder / "own")
    for _ in range(2):
        resolver = make_resolver(folder)
        path = str(RepoCache(str(folder / "own"), REPO).file(commit, "config.json"))
        resolver.seen(REPO, None, [path], repo_type="model")
        assert resolver.recorder.flush(10)
        resolver.recorder.close()
        found = resolver.find(REPO, commit, cache_dir=str(folder / "own"))
        assert found is not None
        assert found.state("config.json") == "here"
        elsewhere = make_resolver(tmp_path, state_dir=folder / "pinformers").find(REPO, commit)
        assert elsewhere is not None
        assert elsewhere.deliver(["config.json"])
    caches = {place.cache_dir for place in resolver.catalog.places(found.pin)}
    assert caches == {str(tmp_path / "hub"), str(folder / "own")}


def test_a_pin_that_is_removed_while_a_file_is_hashed_stays_removed(
    pinned: PinnedRepo, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm = Adoption.confirm

    def slow(adoption: Adoption, path: str) -> object:
        found = confirm(adoption, path)
        resolver.catalog.remove(pinned.pin)
        return found

    monkeypatch.setattr(Adoption, "confirm", slow)
    os.utime(pinned.cache.file(pinned.commit, "config.json"), ns=(1, 1))
    # Its bytes are right all the same.
    assert pinned.deliver(["config.json"])
    assert list(resolver.catalog.pins()) == []
    assert resolver.catalog.places(pinned.pin) == []


def test_one_load_is_answered_by_one_pin(pinned: PinnedRepo, resolver: Resolver) -> None:
    with resolver.loading("AutoTokenizer"):
        first = resolver.resolve(REPO, None)
        # Records that go meanwhile are looked at again by the next load.
        resolver.catalog.remove(pinned.pin)
        with resolver.loading("AutoConfig"):
            assert resolver.resolve(REPO, None) is first
        again = resolver.resolve(REPO, pinned.commit)
        assert resolver.resolve(REPO, pinned.commit) is again
        assert again is not None
        assert (again.commit, again.revision) == (pinned.commit, pinned.commit)
        after = contextvars.copy_context()
    assert resolver.resolve(REPO, None) is None
    # A thread that was started inside the load has its context for good.
    pin_folder(resolver, Path(resolver.default_cache).parent / "folder", REPO)
    found = after.run(resolver.resolve, REPO, None)
    assert found is not None
    assert after.run(resolver.resolve, REPO, None) is not found


def test_a_load_in_the_context_of_one_that_ended_is_answered_by_one_pin(pinned: PinnedRepo, resolver: Resolver) -> None:
    with resolver.loading("AutoTokenizer"):
        after = contextvars.copy_context()

    def load() -> None:
        with resolver.loading("AutoModel"):
            first = resolver.resolve(REPO, None)
            assert first is not None
            assert resolver.resolve(REPO, None) is first

    after.run(load)


def test_a_miss_is_not_remembered(resolver: Resolver, tmp_path: Path) -> None:
    with resolver.loading("AutoModel"):
        assert resolver.resolve(REPO, None) is None
        pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
        assert resolver.resolve(REPO, None) is not None


def test_a_file_that_changes_within_a_load_is_noticed(pinned: PinnedRepo, resolver: Resolver) -> None:
    with resolver.loading("AutoModel"):
        assert resolver.resolve(REPO, None) is not None
        for content in (b'{"model_type": "t5"}', None):
            found = resolver.resolve(REPO, pinned.commit)
            assert found is not None
            assert found.state("config.json") == "here"
            target = found.cache.file(found.commit, "config.json")
            target.unlink()
            if content is None:
                assert found.state("config.json") == "missing"
                break
            target.write_bytes(content)
            assert found.state("config.json") == "changed"
            target.unlink()
            assert found.deliver(["config.json"])


def test_a_warm_load_asks_little_of_the_disk(
    pinned: PinnedRepo, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    stat = os.stat

    def counting(path: object, **kwargs: object) -> os.stat_result:
        asked.append(str(path))
        return stat(path, **kwargs)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "stat", counting)
    with resolver.loading("AutoModel"):
        for revision in (None, *[pinned.commit] * 11):
            found = resolver.resolve(REPO, revision)
            assert found is not None
            assert found.deliver(["config.json"])
    # Each file each time; what says which pin it is, and (with a journal) how its files looked, once for each name of
    # the revision.
    config = [path for path in asked if path.endswith("config.json")]
    assert len(config) == 12
    assert len(asked) - len(config) <= 9
