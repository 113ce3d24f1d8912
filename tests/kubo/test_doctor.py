"""``pinformers doctor`` and a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from environment import clean_env
from kubo_repo import KuboDaemon

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]


def doctor(home: Path, code: int = 0, **environ: str) -> dict[str, list[tuple[str, str]]]:
    """Run the command; returns level and sentence of the findings by area."""
    command = [sys.executable, "-m", "pinformers", "doctor", "--json"]
    done = subprocess.run(
        command, env=clean_env(home, **environ), cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["area"], []).append((finding["level"], finding["sentence"]))
    return found


@pytest.mark.parametrize("enabled", [True, False])
def test_a_daemon_with_and_without_its_filestore(enabled: bool, start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon("kubo", Experimental__FilestoreEnabled=str(enabled).lower())
    home = kubo.repo.path.parent
    seen = doctor(home, PINFORMERS_KUBO_API=kubo.multiaddr, PINFORMERS_GATEWAYS=kubo.gateway)
    (answers, filestore, peers), (gateway,) = seen["kubo"], seen["gateways"]
    assert answers[0] == "ok"
    assert f"answers at {kubo.api} (from PINFORMERS_KUBO_API)" in answers[1]
    if enabled:
        assert filestore == ("ok", filestore[1])
        assert f"lies below {home.resolve()}" in filestore[1]
    else:
        assert filestore[0] == "note"
        assert "`ipfs config --json Experimental.FilestoreEnabled true`" in filestore[1]
    assert peers == ("note", peers[1])
    assert "connected to no peer" in peers[1]
    assert gateway == ("ok", f"{kubo.gateway} answers as a trustless gateway.")


def test_a_cache_that_the_filestore_cannot_refer_to(start_daemon: Start, tmp_path: Path) -> None:
    kubo, other = start_daemon("kubo", Experimental__FilestoreEnabled="true"), start_daemon("other")
    kubo.connect(other)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # By the file that the daemon itself writes, as a user has it.
    seen = doctor(elsewhere, PINFORMERS_KUBO_API="", IPFS_PATH=str(kubo.repo.path))["kubo"]
    assert [level for level, _ in seen] == ["ok", "note", "ok"]
    assert f"(from {kubo.repo.path / 'api'})" in seen[0][1]
    assert f"`export PINFORMERS_CACHE_DIR={kubo.repo.path.resolve().parent / 'hub'}`" in seen[1][1]
    assert "connected to 1 peer" in seen[2][1]


def test_a_named_daemon_that_was_stopped(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon()
    address, repo = kubo.multiaddr, kubo.repo.path
    # Killed, it leaves the file with its address behind.
    kubo.process.kill()
    kubo.process.wait(20)
    for origin, environ in (
        ("PINFORMERS_KUBO_API", {"PINFORMERS_KUBO_API": address}),
        (str(repo / "api"), {"PINFORMERS_KUBO_API": "", "IPFS_PATH": str(repo)}),
    ):
        seen = doctor(tmp_path, 1, PINFORMERS_GATEWAYS=kubo.gateway, **environ)
        ((level, sentence),) = seen["kubo"]
        assert level == "wrong"
        assert sentence.startswith(f"No Kubo daemon can be used at {address} (from {origin}): ")
        assert "`ipfs daemon`" in sentence
        assert seen["gateways"][0][0] == "wrong"
        assert {level for level, _ in seen["hub cache"]} == {"ok"}
