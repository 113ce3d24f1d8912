from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from pin_rooms import REPO, write_folder
from pinformers._composition import build_resolver, state_dir
from pinformers._settings import Settings, config_path, load, user_folder
from pinformers.pinning.folder import pin_folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Settings(cache_dir=tmp_path / "hf" / "hub")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without a line in the passwd file, as under `docker run --user 12345`."""
    pwd = pytest.importorskip("pwd")

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root may search every folder; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_records_lie_beside_the_cache(settings: Settings, tmp_path: Path) -> None:
    assert state_dir(settings) == tmp_path / "hf" / "pinformers"


def test_a_place_that_cannot_be_written_counts_where_it_holds_pins(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is mounted read-only brings its pins along; seen from another folder there would be none."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    beside = tmp_path / "hf" / "pinformers"
    beside.mkdir(parents=True)
    assert state_dir(settings) == tmp_path / "data" / "pinformers"
    (beside / "pins").mkdir()
    assert state_dir(settings) == beside


def test_who_has_no_home_has_no_folders(
    homeless: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load({}, {}).settings == Settings()
    assert not config_path(None).exists()
    assert config_path("~/named.toml") == Path("~/named.toml")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert state_dir(settings) == tmp_path / "hf" / "pinformers"


def test_a_folder_that_keeps_its_tilde_is_none() -> None:
    """So platformdirs 4.3 answers for a user without a home; in the working directory it would be another's."""
    assert user_folder(lambda name: f"~/.local/share/{name}") is None


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="needs users and modes")
def test_a_home_that_may_not_be_searched_is_no_error(settings: Settings, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with somebody_else():
        assert state_dir(Settings(cache_dir=closed / "hf" / "hub")) == tmp_path / "data" / "pinformers"


def test_a_hub_cache_that_is_replaced_for_a_while_gets_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As test suites do by ``mock.patch``: huggingface_hub looks at the constant in each call."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    resolver = build_resolver(Settings(state_dir=tmp_path / "pinformers", sources=("embedded",)))
    pinned = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", tmp_path / "other")
    found = resolver.resolve(REPO, None)
    assert found is not None
    assert found.deliver(["config.json"])
    assert found.cache.file(pinned.commit, "config.json").is_relative_to(tmp_path / "other")
    assert {place.cache_dir for place in resolver.catalog.places(pinned.pin)} == {
        str(tmp_path / "hub"),
        str(tmp_path / "other"),
    }
