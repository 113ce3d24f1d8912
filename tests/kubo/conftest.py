"""A real Kubo: found, or built once from the go.mod beside this file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kubo_repo import KuboDaemon, KuboRepo
from programs import build

_SOURCES = Path(__file__).parent
StartDaemon = Callable[..., KuboDaemon]


@pytest.fixture(scope="session")
def kubo_binary() -> str:
    """The path of an ``ipfs`` command."""
    try:
        return _find() or build("ipfs", _SOURCES, "version")
    except (OSError, subprocess.CalledProcessError) as exc:
        reason = f"there is no Kubo and it could not be built: {exc}"
        if os.environ.get("PINFORMERS_REQUIRE_KUBO") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def ipfs(kubo_binary: str, tmp_path_factory: pytest.TempPathFactory) -> KuboRepo:
    """An offline repo under the profile unixfs-v1-2025, which talks to nobody."""
    return KuboRepo.create(kubo_binary, tmp_path_factory.mktemp("kubo") / "repo")


@pytest.fixture
def start_daemon(kubo_binary: str, tmp_path: Path) -> Iterator[StartDaemon]:
    """Start daemons on fresh repos below ``tmp_path``: ``start_daemon("a", Experimental__FilestoreEnabled="true")``."""
    with ExitStack() as stack:

        def start(name: str = "kubo", *options: str, **settings: str) -> KuboDaemon:
            repo = KuboRepo.create(kubo_binary, tmp_path / name / "repo", **settings)
            return stack.enter_context(repo.daemon(*options))

        yield start


def _find() -> str | None:
    # The explicit one first: the ipfs on a PATH may be too old to know the profile.
    return os.environ.get("PINFORMERS_TEST_KUBO") or shutil.which("ipfs")
