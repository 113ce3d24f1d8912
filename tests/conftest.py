"""Fixtures for every test."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from environment import clean_env
from hub_stub import HubStub

TESTS = Path(__file__).parent


@pytest.fixture
def hub() -> Iterator[HubStub]:
    """A local hub that is up and empty."""
    with HubStub() as stub:
        yield stub


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds a checkpoint of every family, built once a session, whatever the number of xdist workers.

    Built in a process of its own: torch warns on import, and warnings are errors here.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        pytest.skip("needs torch and transformers")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "checkpoints", shared / "checkpoints.done"
    with FileLock(shared / "checkpoints.lock"):
        if not done.exists():
            command = [sys.executable, "-m", "families", str(folder)]
            subprocess.run(command, cwd=TESTS, env=clean_env(shared / "builder"), check=True, timeout=300)
            done.touch()
    return folder
