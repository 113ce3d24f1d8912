"""The command line in this process, for a user whose cache and records lie under a folder of the test's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinformers.cli import root


def settle(monkeypatch: pytest.MonkeyPatch, home: Path, **settings: str) -> None:
    """Set the environment of that user; whoever runs the tests adds nothing to it."""
    for name in [*os.environ]:
        if name == "CI" or name.startswith("PINFORMERS"):
            monkeypatch.delenv(name)
    own = {"cache_dir": str(home / "hub"), "state_dir": str(home / "pinformers"), "sources": "embedded", "config": ""}
    for name, value in {**own, **settings}.items():
        monkeypatch.setenv(f"PINFORMERS_{name.upper()}", value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))


def invoke(*arguments: str, code: int = 0, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Result:
    """Run a command; it must end with ``code``, and never with a traceback."""
    result = CliRunner().invoke(root, arguments, prog_name="pinformers", env=env, input=stdin)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result
