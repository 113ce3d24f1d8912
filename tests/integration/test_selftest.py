from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env


@pytest.mark.torch
def test_the_selftest_loads_both_ways_and_says_what_it_saw(tmp_path: Path) -> None:
    # CI is set on purpose: whoever asks for a selftest means it.
    env = clean_env(tmp_path, CI="true")
    command = [sys.executable, "-m", "pinformers", "selftest", "--json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True
