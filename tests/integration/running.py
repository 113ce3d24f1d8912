"""Publish the tiny checkpoints and run the worker scripts, which know nothing of pinformers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hub_stub import HubStub

WORKERS = Path(__file__).parent.parent / "workers"
PATIENCE = 180


IN_TURN = "import runpy, sys\nfor script in sys.argv[1:]:\n    runpy.run_path(script, run_name='__main__')\n"


class WorkerFailed(AssertionError):
    """A worker ended badly, or did not print its one line of JSON."""

    def __init__(self, families: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
        self.stderr = done.stderr
        names = ", ".join(families)
        super().__init__(f"{names}: exit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")


def run_worker(family: str, env: Mapping[str, str], *, python: str = sys.executable) -> dict[str, object]:
    """Run one worker in exactly this environment and return what it printed; raise WorkerFailed with its stderr.

    It runs in its home folder: in any other, a folder named like the repo would win over the hub.
    """
    return _run([python, _script(family)], [family], env)[0]


def run_workers(
    families: Sequence[str], env: Mapping[str, str], *, python: str = sys.executable
) -> dict[str, dict[str, object]]:
    """Run several workers one after the other in ONE process: `import torch` costs most of what a worker costs."""
    command = [python, "-c", IN_TURN, *map(_script, families)]
    return dict(zip(families, _run(command, families, env), strict=True))


def _script(family: str) -> str:
    return str(WORKERS / f"{family}.py")


def _run(command: Sequence[str], families: Sequence[str], env: Mapping[str, str]) -> list[dict[str, object]]:
    home = Path(env["HOME"])
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, env=dict(env), cwd=home, capture_output=True, text=True, timeout=PATIENCE)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != len(families):
        raise WorkerFailed(families, done)
    return [json.loads(line) for line in lines]


def publish(hub: HubStub, checkpoints: Path, family: str) -> str:
    """Put a built checkpoint on the hub as tiny/<family>; return the commit.

    Like the hub, read what the model is for out of its README: the registry itself needs torch.
    """
    card = (checkpoints / family / "README.md").read_text()
    tags = re.findall(r"^pipeline_tag: (.+)$", card, re.MULTILINE)
    return hub.add(f"tiny/{family}", checkpoints / family, pipeline_tag=tags[0], tags=("transformers", *tags))
