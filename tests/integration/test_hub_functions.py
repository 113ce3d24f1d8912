"""Scope "hub": huggingface_hub's own functions answer as plain, and once pinned without a request."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from test_workers_pinned import offline

from environment import clean_env
from hub_stub import HubStub

CASES = Path(__file__).parent / "hub_cases.py"
FILES = {
    "config.json": b"{}",
    "big.safetensors": bytes(range(256)) * 9000,
    "sub/a.txt": b"a\n",
    "sub/deep/b.txt": b"b\n",
    "README.md": b"# A model\n",
}
ON = {"PINFORMERS": "1", "PINFORMERS_SCOPE": "hub"}
# What only the hub can answer, or what it is asked on purpose.
NEEDS_THE_HUB = {
    "private, no token",
    "force_download",
    "out of the repo",
    "no file",
    "file_exists of another writing",
    "unknown repo",
    "unknown branch",
    "snapshot of an unknown repo",
    "snapshot, unknown branch",
    "snapshot, force_download",
    "info of an unknown repo",
    "list_repo_tree of nothing in a pull request",
}
# With the hub away, plain fails at these and a pin answers; each asks the hub first, which knows more than a pin.
ASKED_FIRST = {
    "model_info",
    "model_info, method",
    "dataset_info",
    "space_info",
    "repo_info",
    "repo_exists",
    "revision_exists",
    "metadata",
    "metadata, method",
    "metadata of nothing",
    "file system",
    "resolve_revision",
    "resolve_revision of a tag",
}
Answers = dict[str, list[str]]


def publish(hub: HubStub) -> str:
    hub.add("org/model", {**FILES, "config.json": b'{"tag": 1}'}, branch="v1")
    hub.add("org/model", {**FILES, "sub/a.txt": b"changed\n"}, branch="refs/pr/1")
    hub.add("org/model", {"rows.csv": b"a,b\n1,2\n", "README.md": b"# Rows\n"}, repo_type="dataset")
    hub.add("org/model", {"app.py": b"print()\n"}, repo_type="space")
    hub.add("org/private", FILES, private_token="hf_right")
    hub.add("org/private2", FILES, private_token="hf_right")
    return hub.add("org/model", FILES)


def run(env: Mapping[str, str], commit: str, *left_out: str) -> Answers:
    own = Path(env["HOME"]) / "own"
    for folder in own.parent.glob("own*"):
        shutil.rmtree(folder)
    command = [sys.executable, str(CASES), str(own), commit, *left_out]
    done = subprocess.run(command, env=dict(env), cwd=env["HOME"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answers: Answers = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_every_call_answers_as_plain(hub: HubStub, tmp_path: Path) -> None:
    commit = publish(hub)
    homes = {name: tmp_path / name / "home" for name in ("plain", "pinned")}
    for home in homes.values():
        home.mkdir(parents=True)
    plain = clean_env(homes["plain"], HF_ENDPOINT=hub.url)
    pinned = clean_env(homes["pinned"], HF_ENDPOINT=hub.url, **ON)

    cold = run(plain, commit)
    asked = len(hub.requests)
    hub.reset()
    assert run(pinned, commit) == cold
    assert len(hub.requests) <= asked

    warm = run(plain, commit)
    hub.reset()
    assert run(pinned, commit) == warm
    hub.reset()
    assert run(pinned, commit, *NEEDS_THE_HUB, *ASKED_FIRST) == {
        name: said for name, said in warm.items() if name not in NEEDS_THE_HUB | ASKED_FIRST
    }
    assert hub.requests == []

    hub.stop()
    alone = run(pinned, commit, *NEEDS_THE_HUB)
    assert alone == {name: said for name, said in warm.items() if name not in NEEDS_THE_HUB}
    assert run({**pinned, "HF_HUB_OFFLINE": "1"}, commit, *NEEDS_THE_HUB) == alone
    log = tmp_path / "connections.log"
    run(offline(pinned, log), commit, *NEEDS_THE_HUB, *ASKED_FIRST)
    assert not log.exists(), log.read_text()


PART = """
import pinformers
from huggingface_hub import HfApi, hf_hub_download
HfApi().model_info("org/model")
hf_hub_download("org/model", "config.json")
assert pinformers.flush(30)
"""
WHOLE = """
import json, os, sys
from huggingface_hub import snapshot_download

def files(folder):
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder) for path in found if ".cache" not in path)

here = os.path.join(os.environ["HOME"], "here")
print(json.dumps([
    files(snapshot_download("org/model")),
    files(snapshot_download("org/model", allow_patterns=(name for name in ["*.md"]), local_dir=here)),
    files(snapshot_download("org/model", ignore_patterns=iter(["sub/*"]), local_dir=here + "2")),
]))
"""


def test_a_snapshot_is_whole_where_a_part_was_pinned_and_patterns_are_read_once(hub: HubStub, tmp_path: Path) -> None:
    publish(hub)
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url) | ON
    done = subprocess.run([sys.executable, "-c", PART], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # The second time all of it is pinned.
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", WHOLE], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rest = [name for name in sorted(FILES) if not name.startswith("sub/")]
        assert json.loads(done.stdout) == [sorted(FILES), ["README.md"], rest]
        shutil.rmtree(tmp_path / "here")
        shutil.rmtree(tmp_path / "here2")
