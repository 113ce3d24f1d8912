"""Every argument means what it means in plain transformers, and every error is transformers' own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_workers_pinned import offline

from environment import clean_env
from hub_stub import HubStub
from running import publish

CASES = Path(__file__).parent / "argument_cases.py"
TOKEN = "hf_right"
# 4.57 says this of an absent file in the first way when it asked the hub and in the second when the cache knew.
_ABSENT = re.compile(
    r"(?:(\S+) does not appear to have a file named (\S+)\. .*)|(?:Could not locate (\S+) inside (\S+)\.)", re.DOTALL
)
pytestmark = pytest.mark.torch
Answers = dict[str, list[str]]

# What only the hub can answer, or what it is asked on purpose.
NEEDS_THE_HUB = {
    "none",
    "force_download",
    "unknown branch",
    "unknown repo",
    "private, no token",
    "private, wrong token",
    "local_files_only, not here",
    # The pin of tiny/vit knows all its files; that of a repo never loaded knows none.
    "no tokenizer",
    "unknown subfolder",
}


def run(env: Mapping[str, str], checkpoints: Path, commit: str, *left_out: str) -> Answers:
    own = Path(env["HOME"]) / "own"
    command = [sys.executable, str(CASES), str(checkpoints / "bert"), str(own), commit, TOKEN, *left_out]
    done = subprocess.run(command, env=dict(env), cwd=env["HOME"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answers: Answers = json.loads(done.stdout.splitlines()[-1])
    return {name: [_ABSENT.sub(_absent, text) for text in answer] for name, answer in answers.items()}


def _absent(found: re.Match[str]) -> str:
    return f"{found[1] or found[4]} lacks {found[2] or found[3]}"


def test_arguments_and_errors_are_those_of_plain_transformers(hub: HubStub, checkpoints: Path, tmp_path: Path) -> None:
    for family in ("bert", "gpt2", "mpnet", "vit", "custom", "qwen2", "llama"):
        publish(hub, checkpoints, family)
    hub.add("tiny/private", checkpoints / "bert", private_token=TOKEN)
    hub.add("tiny/bert", checkpoints / "distilbert", branch="other")
    commit = publish(hub, checkpoints, "bert")
    homes = {name: tmp_path / name / "home" for name in ("plain", "pinned")}
    for home in homes.values():
        home.mkdir(parents=True)
    plain = clean_env(homes["plain"], HF_ENDPOINT=hub.url)
    pinned = clean_env(homes["pinned"], HF_ENDPOINT=hub.url, PINFORMERS="1")

    cold = run(plain, checkpoints, commit)
    assert cold["repo"][0] == cold["cache_dir"][0] == cold["private"][0] == cold["custom code"][0] == "returned"
    asked = len(hub.requests)
    hub.reset()
    first = run(pinned, checkpoints, commit)
    assert first == cold
    assert len(hub.requests) <= asked

    warm = run(plain, checkpoints, commit)
    hub.reset()
    second = run(pinned, checkpoints, commit)
    assert second == warm
    assert [request.file for request in hub.requests if request.kind == "file"].count("config.json") == 1

    hub.stop()
    log = tmp_path / "connections.log"
    alone = run(offline(pinned, log), checkpoints, commit, *NEEDS_THE_HUB)
    assert alone == {name: warm[name] for name in warm if name not in NEEDS_THE_HUB}
    assert not log.exists(), log.read_text()


def test_an_explicit_cache_dir_is_filled_by_cid(hub: HubStub, checkpoints: Path, tmp_path: Path) -> None:
    publish(hub, checkpoints, "bert")
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, PINFORMERS="1", USE_TORCH="0")
    load = "from transformers import AutoConfig; print(AutoConfig.from_pretrained('tiny/bert'{}).model_type)"
    subprocess.run([sys.executable, "-c", load.format("")], env=env, check=True, capture_output=True, timeout=120)
    hub.stop()
    log = tmp_path / "connections.log"
    own = tmp_path / "own"
    command = [sys.executable, "-c", load.format(f", cache_dir={str(own)!r}")]
    done = subprocess.run(command, env=offline(env, log), capture_output=True, text=True, timeout=120)
    assert done.stdout == "bert\n", done.stderr
    assert not log.exists(), log.read_text()
    (config,) = own.glob("models--tiny--bert/snapshots/*/config.json")
    assert config.read_bytes() == (checkpoints / "bert" / "config.json").read_bytes()
    assert not list(own.glob("models--tiny--bert/snapshots/*/*.safetensors"))
