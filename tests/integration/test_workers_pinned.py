"""Every family, by its unedited worker: plain against pinned, then again with no network at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub
from pin_rooms import make_resolver
from pinformers.pinning.folder import pin_folder
from running import WORKERS, publish, run_worker, run_workers

NO_SOCKETS = Path(__file__).parent / "no_sockets"
NAMES = sorted(path.stem for path in WORKERS.glob("*.py"))
pytestmark = pytest.mark.torch


def offline(env: Mapping[str, str], log: Path) -> dict[str, str]:
    """Return ``env`` for a process that may not connect to anything."""
    return {**env, "PYTHONPATH": str(NO_SOCKETS), "NO_SOCKETS_LOG": str(log)}


@dataclass(frozen=True, slots=True)
class Runs:
    """What every worker printed: plain, pinned beside the load, with no network at all, from pinned folders."""

    plain: dict[str, dict[str, object]]
    first: dict[str, dict[str, object]]
    second: dict[str, dict[str, object]]
    folder: dict[str, dict[str, object]]
    requests: tuple[int, int]
    connections: Path


@pytest.fixture(scope="module")
def runs(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All 27 workers in one process for each way: what costs time is to import transformers and torch."""
    home = tmp_path_factory.mktemp("runs")
    log = home / "connections.log"
    with HubStub() as hub:
        for family in NAMES:
            publish(hub, checkpoints, family)
        env = clean_env(home, HF_ENDPOINT=hub.url)
        plain = run_workers(NAMES, {**env, "HF_HOME": str(home / "plain")})
        asked = len(hub.requests)
        hub.reset()
        first = run_workers(NAMES, {**env, "PINFORMERS": "1"})
        requests = (asked, len(hub.requests))
    second = run_workers(NAMES, {**offline(env, log), "PINFORMERS": "1"})
    resolver = make_resolver(home / "folders")
    for family in NAMES:
        pin_folder(resolver, checkpoints / family, f"tiny/{family}")
    pinned = {**offline(env, log), "PINFORMERS": "1", "HF_HOME": str(home / "folders")}
    return Runs(plain, first, second, run_workers(NAMES, pinned), requests, log)


@pytest.mark.parametrize("family", NAMES)
def test_a_worker_sees_the_same_pinned_as_plain(family: str, runs: Runs) -> None:
    assert runs.plain[family]["name_or_path"] == f"tiny/{family}"
    assert runs.first[family] == runs.plain[family]
    assert runs.second[family] == runs.plain[family]
    assert runs.folder[family] == runs.plain[family]


def test_the_first_load_asks_no_more_than_plain(runs: Runs) -> None:
    plain, first = runs.requests
    assert first <= plain


def test_the_second_process_opens_no_connection(runs: Runs) -> None:
    assert not runs.connections.exists(), runs.connections.read_text()


@pytest.mark.parametrize("family", ["bert", "custom", "mistral"])
def test_in_processes_of_their_own_too(family: str, hub: HubStub, checkpoints: Path, tmp_path: Path) -> None:
    publish(hub, checkpoints, family)
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url)
    plain = run_worker(family, {**env, "HF_HOME": str(tmp_path / "plain")})
    assert run_worker(family, {**env, "PINFORMERS": "1"}) == plain
    hub.stop()
    log = tmp_path / "connections.log"
    assert run_worker(family, {**offline(env, log), "PINFORMERS": "1"}) == plain
    assert not log.exists(), log.read_text()


def test_there_are_27_families() -> None:
    assert len(NAMES) == 27
