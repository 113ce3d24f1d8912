"""What the real transformers loads tells the pin wing when weights are going to be wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env

pytestmark = pytest.mark.torch

PROGRAM = """
import json, sys
import pinformers
from pinformers.pinning.early import weights
from pinformers.pinning.pinned import PinnedRepo
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertModel, pipeline

begin, asked = PinnedRepo._begin, []
PinnedRepo._begin = lambda repo, paths: asked.append(weights(repo.pin.files)) or begin(repo, paths)

def during(load, *args):
    asked.clear()
    load(*args)
    return asked[0], sorted({path for found in asked for path in found})

name = "tiny/bert"
print(json.dumps({
    "tokenizer": during(AutoTokenizer.from_pretrained, name),
    "config": during(AutoConfig.from_pretrained, name),
    "auto": during(AutoModel.from_pretrained, name),
    "concrete": during(BertModel.from_pretrained, name),
    "pipeline": during(lambda: pipeline("feature-extraction", model=name, device="cpu"))[1],
}))
"""


def test_models_want_weights_and_the_rest_does_not(checkpoints: Path, tmp_path: Path) -> None:
    env = clean_env(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    pin = [sys.executable, "-m", "pinformers", "pin", str(checkpoints / "bert"), "--as", "tiny/bert"]
    subprocess.run(pin, env=env, check=True, capture_output=True, timeout=120)
    env |= {"PINFORMERS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # From the first file on, which is the config.
    first = [["model.safetensors"], ["model.safetensors"]]
    assert json.loads(done.stdout) == {
        "tokenizer": [[], []],
        "config": [[], []],
        "auto": first,
        "concrete": first,
        "pipeline": ["model.safetensors"],
    }
