"""The page "share models between two machines in five minutes": its very commands, run on two homes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "share-between-machines.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
pytestmark = pytest.mark.torch


def commands(machine: str) -> list[str]:
    return re.findall(rf"^{machine}\$ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A home, a working directory and a shell."""

    def __init__(self, home: Path, port: int, **extra: str) -> None:
        self.home, self._port = home, port
        home.mkdir(parents=True)
        bin_folder = home / "bin"
        bin_folder.mkdir()
        for name, module in (("pinformers", "-m pinformers"), ("python", "")):
            script = bin_folder / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            script.chmod(0o755)
        env = clean_env(home, **extra)
        self.env: Mapping[str, str] = {**env, "PATH": f"{bin_folder}:{env['PATH']}"}

    def written(self, command: str) -> str:
        """The command as the page has it, with this test's port on loopback."""
        command = command.replace("0.0.0.0", "127.0.0.1").replace("a.example.org", "127.0.0.1")
        return re.sub(r"\b8090\b", str(self._port), command)

    def run(self, lines: list[str]) -> str:
        script = "\n".join(["set -e", *map(self.written, lines)])
        done = subprocess.run(
            ["sh", "-c", script], env=self.env, cwd=self.home, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, line: str) -> Iterator[str]:
        """Run a command that does not end; yields the first line that it prints."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {self.written(line)}"], env=self.env, cwd=self.home, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()
            assert process.wait(20) == 0
            assert process.stdout is not None
            process.stdout.close()


def test_the_commands_of_the_page(checkpoints: Path, tmp_path: Path) -> None:
    worker = (ROOT / "docs" / "examples" / "worker.py").read_text(encoding="utf-8")
    port = free_port()
    with HubStub() as hub:
        hub.add(MODEL, checkpoints / "bert")
        a = Machine(tmp_path / "a", port, HF_ENDPOINT=hub.url)
        pin, lock, serve = commands("a")
        a.run([pin, lock])
        downloads = {kind: hub.count(kind=kind) for kind in ("file",)}
        (a.home / "worker.py").write_text(worker)
        plain = a.run(["python worker.py"])
    b = Machine(tmp_path / "b", port, HF_ENDPOINT="http://127.0.0.1:9")
    (b.home / "worker.py").write_text(worker)
    (b.home / "pinformers.lock").write_bytes((a.home / "pinformers.lock").read_bytes())
    export, run, explain = commands("b")
    with a.running(serve) as first:
        assert f"http://127.0.0.1:{port}" in first
        assert b.run([export, run]) == plain
        assert "the lockfile names it" in b.run([export, explain])
    assert b.run([run]) == plain, "without A"
    assert downloads["file"] > 0
