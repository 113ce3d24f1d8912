"""Programs that tests build and run: Go tools out of a go.mod, and processes that are ended for sure."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from filelock import FileLock


def build(name: str, sources: Path, probe: str) -> str:
    """Return a tool of the go.mod in ``sources``, built once into the user's cache; ``probe`` shows that it works."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinformers-kubo"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / name
    # Minutes of compiling: a second test process waits for the first.
    with FileLock(cache / f"build-{name}.lock"):
        if not _works(binary, probe):
            environ = os.environ | {"GOBIN": str(cache)}
            subprocess.run(["go", "install", "tool"], cwd=sources, env=environ, check=True, capture_output=True)
    return str(binary)


def _works(binary: Path, probe: str) -> bool:
    try:
        return subprocess.run([binary, probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a daemon, in good order if it does so in time."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
