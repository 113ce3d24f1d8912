"""Scope "hub": on, off, nested, started by the environment, beside transformers; what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from test_hub_functions import FILES, ON, publish

from environment import clean_env
from hub_stub import HubStub
from pinformers import _gate
from pinformers.importing.heard import WRITES
from running import publish as publish_family

PROGRAMS = Path(__file__).parent / "hub_programs.py"
ROUTING = "[INFO] Routing the downloads of huggingface_hub...\n"


def run(program: str, home: Path, hub: HubStub, **extra: str) -> tuple[Any, str]:
    """Run a program; returns what it printed and what it said on stderr."""
    home.mkdir(exist_ok=True)
    env = clean_env(home, HF_ENDPOINT=hub.url, USE_TORCH="0", **extra)
    command = [sys.executable, str(PROGRAMS), program]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def changed() -> set[str]:
    """What the scope replaces: functions, methods of the class, and what is bound to them."""
    info = {"model_info", "dataset_info", "space_info"}
    methods = {*info, "file_exists", "get_paths_info", *WRITES}
    methods |= (
        {"resolve_revision", "_iter_repo_tree_pages"} if hasattr(HfApi, "resolve_revision") else {"list_repo_tree"}
    )
    bound = {name for name in methods if not name.startswith("_")}
    return {
        *(f"HfApi.{name}" for name in methods),
        *(f"huggingface_hub.hf_api.{name}" for name in bound),
        *(f"early.{name}" for name in ("fetch", "hf_hub_download", "info_of", "model_info")),
        "huggingface_hub.file_download.get_hf_file_metadata",
        "huggingface_hub.file_download.hf_hub_download",
        "huggingface_hub._snapshot_download.hf_hub_download",
        "huggingface_hub._snapshot_download.snapshot_download",
    }


def test_undo_puts_back_every_object(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    found, said = run("undo", tmp_path, hub)
    # Version by version other modules of the client bind them too.
    assert changed() <= set(found.pop("changed"))
    assert found == {
        "restored": True,
        "same while on": True,
        "late": [True, True, True, True],
        "unwrapped": True,
        "here": True,
    }
    assert said == ROUTING


def test_on_and_off_again_leaves_nothing(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    assert run("again", tmp_path, hub)[0] is True


def test_the_innermost_scope_counts(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    found, said = run("nested", tmp_path, hub)
    assert found == [[0, 0], [0, 1], [0, 0], [1, 1], [0, 0]]
    assert said == ROUTING


def test_the_environment_turns_it_on_without_transformers(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    first, said = run("started", tmp_path, hub, **ON)
    expected = {"enabled": True, "applied": False, "scope": "hub", "pins": 1, "here": True, "transformers": False}
    assert {name: first[name] for name in expected} == expected
    # How many, depends on how fast what has come is pinned beside the rest.
    assert first["misses"] >= 1
    assert said == ROUTING
    hub.stop()
    second, _ = run("started", tmp_path, hub, **ON)
    assert {**expected, "hits": len(FILES) + 2, "misses": 0} == second


@pytest.mark.parametrize("scope", ["transformers", ""])
def test_in_the_scope_of_transformers_nothing_of_it_is_touched(scope: str, hub: HubStub, tmp_path: Path) -> None:
    assert run("untouched", tmp_path, hub, PINFORMERS="1", PINFORMERS_SCOPE=scope) == ([], "")


def test_the_gate_is_one_line(hub: HubStub, tmp_path: Path) -> None:
    found, said = run("untouched", tmp_path, hub, **ON, CI="1")
    assert (found, said) == ([], "[INFO] CI environment detected, disabling transformers patching\n")
    forced, said = run("untouched", tmp_path, hub, **{**ON, "PINFORMERS": "force"}, CI="1")
    assert "hf_hub_download" in forced
    assert said == ROUTING
    assert run("untouched", tmp_path, hub, **ON, TRANSFORMERS_PATCH_DISABLE="1")[0] == []


def test_a_wrong_setting_stops_nobody_who_loads_no_model(hub: HubStub, tmp_path: Path) -> None:
    found, said = run("untouched", tmp_path, hub, PINFORMERS="1", PINFORMERS_SCOPE="hub", PINFORMERS_ON_MISS="maybe")
    assert found == []
    assert said.count("The setting on_miss is 'maybe'") == 1


@pytest.mark.torch
def test_beside_transformers_a_file_is_told_of_once(hub: HubStub, checkpoints: Path, tmp_path: Path) -> None:
    publish_family(hub, checkpoints, "bert")
    first, said = run("transformers", tmp_path, hub, **ON)
    assert first == {"applied": True, "hits": 0, "misses": 1, "fallbacks": 0}
    assert [said.count(line) for line in (ROUTING, _gate.PATCHING, "Successfully patched")] == [1, 1, 1]
    second, _ = run("transformers", tmp_path, hub, **ON)
    assert second == {"applied": True, "hits": 1, "misses": 0, "fallbacks": 0}


def test_another_hub_is_left_alone(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    run("started", tmp_path, hub, **ON)
    found, _ = run("elsewhere", tmp_path, hub, **ON)
    # As plain: a cached file of that name answers for a hub that cannot be reached.
    assert found == run("elsewhere", tmp_path, hub)[0]


def test_who_wrote_reads_what_was_written(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    run("started", tmp_path, hub, **ON)
    new = hub.add("org/model", {"config.json": b"new"})
    before, after = run("written", tmp_path, hub, **ON)[0]
    assert before[0] != new and sorted(FILES) == before[1]
    assert after == [new, ["config.json"]]


@pytest.mark.parametrize("write", ["create_commit", "upload_folder", "merge_pull_request", "super_squash_history"])
@pytest.mark.parametrize("scope", ["transformers", "hub"])
def test_who_wrote_loads_what_was_written(scope: str, write: str, hub: HubStub, tmp_path: Path) -> None:
    for size in (16, 32):
        hub.add("org/model", {"config.json": json.dumps({"model_type": "bert", "hidden_size": size}).encode()})
        found = run("pushed", tmp_path, hub, PINFORMERS="1", PINFORMERS_SCOPE=scope, WRITE=write)[0]
    assert found == [1, 16, 32]


def test_whether_a_gated_file_is_there_the_hub_says(hub: HubStub, tmp_path: Path) -> None:
    hub.add("org/gated", FILES, gated_token="hf_right")
    plain, pinned = tmp_path / "plain", tmp_path / "pinned"
    found = run("gated", plain, hub)[0]
    assert run("gated", pinned, hub, **ON)[0] == found
    assert [said[0] for said in found[:2]] == ["GatedRepoError"] * 2 and found[2:] == [True, False]
    assert run("gated", pinned, hub, **ON, PINFORMERS_GATED="share")[0] == [True, False] * 2
    alone = {"HF_HUB_OFFLINE": "1"}
    assert run("gated", pinned, hub, **ON, **alone)[0] == run("gated", plain, hub, **alone)[0]
    assert run("gated", pinned, hub, **ON, **alone, PINFORMERS_GATED="share")[0] == [True, False] * 2


def test_what_is_not_pinned_is_refused(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    run("started", tmp_path, hub, **ON)
    hub.reset()
    found, _ = run("refused", tmp_path, hub, **ON, PINFORMERS_ON_MISS="error")
    assert found == [True, True, "NotPinned", "NotPinned"]
    found, _ = run("refused", tmp_path, hub, **ON, PINFORMERS_SOURCES="embedded")
    assert found == [True, True, "LocalEntryNotFoundError", "OfflineModeIsEnabled"]
    assert hub.requests == []


def test_our_own_command_line_asks_the_hub(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    run("started", tmp_path, hub, **ON)
    new = hub.add("org/model", {**FILES, "config.json": b"new"})
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, **ON, PINFORMERS_ON_MISS="error")
    command = [sys.executable, "-m", "pinformers", "pin", "org/model", "--update", "--json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"] == new
