"""Data sets and spaces in the pin wing: names of their own, refused where a lockfile alone counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import snapshot_download

from hub_stub import HubStub
from pin_rooms import make_resolver
from pinformers._errors import NotLocked, NotPinned
from pinformers.cli import root
from pinformers.pinning.pin import parse_name

TYPES = ("dataset", "model", "space")


@pytest.fixture
def pinned(hub: HubStub, tmp_path: Path) -> dict[str, str]:
    """One name of three types, recorded from what the hub's client brought; the commit of each."""
    resolver, commits = make_resolver(tmp_path), {}
    for kind in TYPES:
        commits[kind] = hub.add("org/name", {f"{kind}.txt": kind}, repo_type=kind)  # type: ignore[arg-type]
        path = snapshot_download("org/name", repo_type=kind, endpoint=hub.url, cache_dir=tmp_path / "hub")
        resolver.seen("org/name", None, [f"{path}/{kind}.txt"], repo_type=kind)
    assert resolver.recorder.flush(10)
    resolver.recorder.close()
    return commits


def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("PINFORMERS_STATE_DIR", str(tmp_path / "pinformers"))
    done = CliRunner().invoke(root, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_types_are_pins_of_their_own(pinned: dict[str, str], tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    for kind in TYPES:
        found = resolver.resolve("org/name", None, repo_type=kind)
        assert found is not None
        assert (found.commit, list(found.pin.files)) == (pinned[kind], [f"{kind}.txt"])


def test_the_command_line_tells_them_apart(
    pinned: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = json.loads(cli(tmp_path, monkeypatch, "ls", "--json"))
    names = {line["model"]: (line["commit"], line["revisions"]) for line in listed}
    full = {"dataset": "datasets/org/name", "model": "org/name", "space": "spaces/org/name"}
    assert names == {full[kind]: (pinned[kind], ["main"]) for kind in TYPES}
    said = json.loads(cli(tmp_path, monkeypatch, "explain", "datasets/org/name", "--json"))
    assert (said["commit"], [file["path"] for file in said["files"]]) == (pinned["dataset"], ["dataset.txt"])
    cli(tmp_path, monkeypatch, "rm", "datasets/org/name")
    assert [line["model"] for line in json.loads(cli(tmp_path, monkeypatch, "ls", "--json"))] == [
        "org/name",
        "spaces/org/name",
    ]


def test_only_a_model_can_be_locked(pinned: dict[str, str], tmp_path: Path) -> None:
    locked = make_resolver(tmp_path, locked=True)
    with pytest.raises(NotLocked, match=r"datasets/org/name cannot be in pinformers.lock"):
        locked.resolve("org/name", None, repo_type="dataset")
    strict = make_resolver(tmp_path, on_miss="error")
    with pytest.raises(NotPinned, match="spaces/org/other"):
        strict.resolve("org/other", None, repo_type="space")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("org/name", ("org/name", "model")),
        ("datasets/org/name", ("org/name", "dataset")),
        ("spaces/app", ("app", "space")),
        ("datasets", ("datasets", "model")),
    ],
)
def test_a_full_name(name: str, meant: tuple[str, str]) -> None:
    assert parse_name(name) == meant
