from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, fill_cache, make_resolver, tree
from pinformers._errors import PinError
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.hub_pins import Pinned, Wanted, pin_model
from pinformers.pinning.resolver import Resolver


@pytest.fixture
def resolver(tmp_path: Path, hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    # Where huggingface_hub builds URLs: 2.x in the first module, 0.x in the second.
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    # Its client tries again for many seconds.
    monkeypatch.setattr("time.sleep", lambda _: None)
    return make_resolver(tmp_path)


def pin(resolver: Resolver, repo: str = REPO, **wanted: object) -> Pinned:
    counted: list[int] = []
    pinned = pin_model(resolver, Wanted(repo, **wanted), lambda total: counted.append)  # type: ignore[arg-type]
    return pinned


def test_a_whole_snapshot_is_adopted_without_a_request(resolver: Resolver, hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    if RepoCache(resolver.default_cache, REPO).tree(commit) is None:
        pytest.skip("huggingface_hub before 2.4 keeps no listing")
    before = tree(tmp_path / "hub")
    pinned = pin(resolver)
    assert pinned.how == "adopted"
    assert hub.requests == []
    assert tree(tmp_path / "hub") == before
    assert pinned.pin.complete
    assert pinned.pin.commit == commit
    assert resolver.catalog.refs(REPO) == {"main": commit}


def test_a_model_that_is_not_here_is_downloaded_to_where_it_always_goes(
    resolver: Resolver, hub: HubStub, tmp_path: Path
) -> None:
    commit = hub.add(REPO, dict(FILES), pipeline_tag="fill-mask")
    pinned = pin(resolver)
    assert pinned.how == "downloaded"
    assert set(pinned.pin.files) == set(FILES)
    assert pinned.pin.complete
    assert pinned.pin.info is not None
    assert pinned.pin.info["pipeline_tag"] == "fill-mask"
    assert RepoCache(resolver.default_cache, REPO).ref_path("main").read_text() == commit
    assert resolver.catalog.place(pinned.pin, resolver.default_cache).made == frozenset()
    hub.reset()
    assert pin(resolver).how == "adopted"
    assert hub.requests == []


def test_what_is_missing_of_a_part_is_downloaded(resolver: Resolver, hub: HubStub, tmp_path: Path) -> None:
    fill_cache(hub, tmp_path / "hub", paths=["*.json"])
    assert pin(resolver).how == "downloaded"
    assert hub.count(kind="file", file="config.json") == 0
    (found,) = resolver.catalog.pins()
    assert set(found.files) == set(FILES)


def test_patterns_choose_files_and_the_others_are_known(resolver: Resolver, hub: HubStub) -> None:
    hub.add(REPO, dict(FILES))
    pinned = pin(resolver, include=["*.json", "sub/"], exclude=["*vocab*"])
    assert set(pinned.pin.files) == {"config.json"}
    assert set(pinned.pin.others) == set(FILES) - {"config.json"}
    hub.reset()
    assert pin(resolver, include=["config.json"]).how == "adopted"
    assert hub.requests == []


def test_update_follows_the_branch(resolver: Resolver, hub: HubStub) -> None:
    hub.add(REPO, dict(FILES))
    first = pin(resolver).pin
    hub.add(REPO, {"config.json": b"{}"})
    assert pin(resolver).pin.commit == first.commit
    assert pin(resolver, update=True).pin.commit != first.commit
    found = resolver.find(REPO, None)
    assert found is not None
    assert found.commit != first.commit


def test_a_hub_that_is_down_leaves_what_is_here_and_says_so(resolver: Resolver, hub: HubStub, tmp_path: Path) -> None:
    fill_cache(hub, tmp_path / "hub")
    hub.stop()
    pinned = pin(resolver, update=True)
    assert set(pinned.pin.files) == set(FILES)
    assert "the hub did not answer" in pinned.unasked


def test_a_model_that_the_hub_does_not_have_is_one_sentence(resolver: Resolver, hub: HubStub) -> None:
    with pytest.raises(PinError, match=r"org/none: the hub shows no model of that name; .*`hf auth login`"):
        pin(resolver, "org/none")


def test_the_hub_is_not_asked_where_the_settings_forbid_it(hub: HubStub, tmp_path: Path) -> None:
    with pytest.raises(PinError, match="does not name the hub"):
        pin(make_resolver(tmp_path, sources=("embedded",)))
    assert hub.requests == []


@pytest.mark.parametrize("name", ["./folder", "a/b/c", "", "../x"])
def test_a_name_that_is_none_is_refused(resolver: Resolver, hub: HubStub, name: str) -> None:
    with pytest.raises(PinError, match="a model is named like"):
        pin(resolver, name)
    assert hub.requests == []


def test_bytes_that_contradict_the_hub_are_named(resolver: Resolver, hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    RepoCache(resolver.default_cache, REPO).file(commit, "config.json").resolve().write_bytes(b"0" * 22)
    pinned = pin(resolver)
    assert list(pinned.rejected) == ["config.json"]
    assert "config.json" not in pinned.pin.files


def test_update_follows_the_branch_also_where_the_clock_was_set_back(resolver: Resolver, hub: HubStub) -> None:
    hub.add(REPO, dict(FILES))
    first = pin(resolver).pin
    tomorrow = time.time_ns() + 86400 * 10**9
    for noted, path in enumerate(
        (
            RepoCache(resolver.default_cache, REPO).ref_path("main"),
            resolver.catalog.pin_path(REPO, first.commit).parent / "refs" / "main",
        )
    ):
        os.utime(path, ns=(tomorrow + noted, tomorrow + noted))
    hub.add(REPO, {"config.json": b"{}"})
    newer = pin(resolver, update=True).pin
    assert newer.commit != first.commit
    assert resolver.commit(REPO, None) == newer.commit


def test_a_full_disk_is_not_the_hub_s_fault(
    resolver: Resolver, hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    place = re.escape(str(tmp_path / "hub"))
    with pytest.raises(PinError, match=rf"^org/model: it cannot be written to {place} \(No space left on device\)$"):
        pin(resolver)


def test_sources_that_cannot_deliver_leave_it_to_the_hub_without_a_word(
    resolver: Resolver, hub: HubStub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add(REPO, dict(FILES))
    first = pin(resolver).pin
    shutil.rmtree(RepoCache(resolver.default_cache, REPO).folder)
    assert pin(resolver).how == "downloaded"
    assert list(resolver.catalog.pins()) == [first]
    assert "Plain transformers goes on" not in caplog.text
