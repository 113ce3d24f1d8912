"""A pipeline without a task, of a folder that was pinned under a name: the pin says what the model is, not the hub."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub

pytestmark = pytest.mark.torch
NAME = "acme/tiny"
TASKLESS = """
from transformers import pipeline
try:
    print(pipeline(model="acme/tiny").task)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("scope", "architecture", "card", "said"),
    [
        ("transformers", "BertForSequenceClassification", None, "text-classification"),
        ("hub", "BertForMaskedLM", "---\npipeline_tag: feature-extraction\n---\n", "feature-extraction"),
        ("transformers", "BertForPreTraining", "# A card\n", "does not seem to have a correct `pipeline_tag`"),
    ],
)
def test_a_pinned_folder_says_its_task_itself(
    hub: HubStub, checkpoints: Path, tmp_path: Path, scope: str, architecture: str, card: str | None, said: str
) -> None:
    folder = shutil.copytree(checkpoints / "bert", tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    (folder / "README.md").unlink(missing_ok=True)
    if card is not None:
        (folder / "README.md").write_text(card)
    # The hub has another model of that name.
    hub.add(NAME, {"config.json": b"{}", "README.md": b"---\npipeline_tag: translation\n---\n"})
    home = tmp_path / "home"
    home.mkdir()
    env = clean_env(home, HF_ENDPOINT=hub.url, PINFORMERS="1", PINFORMERS_SCOPE=scope)
    pin = [sys.executable, "-m", "pinformers", "pin", str(folder), "--as", NAME]
    for command in (pin, [sys.executable, "-c", TASKLESS]):
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert hub.requests == []
