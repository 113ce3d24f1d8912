"""Every worker runs as its author meant it, without pinformers: what the comparisons stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub
from running import WORKERS, publish, run_worker, run_workers

pytestmark = pytest.mark.torch

NAMES = sorted(worker.stem for worker in WORKERS.glob("*.py"))
SHAPES = (
    "bloom/pytorch_model.bin",
    "custom/modeling_pebble.py",
    "mistral/model-00002-of-00004.safetensors",
    "mistral/model.safetensors.index.json",
    "mpnet/encoder/config.json",
    "qwen2/additional_chat_templates/tool_use.jinja",
    "qwen2/chat_template.jinja",
    "t5/generation_config.json",
)


def test_every_family_has_one_worker(checkpoints: Path) -> None:
    assert sorted(folder.name for folder in checkpoints.iterdir()) == NAMES
    assert len(NAMES) == 27


@pytest.mark.parametrize("file", SHAPES)
def test_the_special_shapes_are_there(file: str, checkpoints: Path) -> None:
    assert (checkpoints / file).is_file()


def test_checkpoints_are_tiny(checkpoints: Path) -> None:
    sizes = {f.name: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in checkpoints.iterdir()}
    assert max(sizes.values()) < 300_000, sizes


def test_no_worker_knows_of_pinformers() -> None:
    assert not [worker.name for worker in WORKERS.glob("*.py") if "pinformers" in worker.read_text().lower()]


@pytest.mark.parametrize("name", NAMES)
def test_plain_worker_runs_cold_and_again_offline(name: str, checkpoints: Path, hub: HubStub, tmp_path: Path) -> None:
    publish(hub, checkpoints, name)
    env = clean_env(tmp_path / "home", HF_ENDPOINT=hub.url)
    cold = run_worker(name, env)
    assert cold["name_or_path"] == f"tiny/{name}"
    assert hub.count(kind="file") > 0
    hub.reset()
    assert run_worker(name, env | {"HF_HUB_OFFLINE": "1"}) == cold
    assert hub.requests == []


def test_workers_share_a_process(checkpoints: Path, hub: HubStub, tmp_path: Path) -> None:
    for name in NAMES:
        publish(hub, checkpoints, name)
    results = run_workers(NAMES, clean_env(tmp_path / "home", HF_ENDPOINT=hub.url))
    assert {name: result["name_or_path"] for name, result in results.items()} == {n: f"tiny/{n}" for n in NAMES}
