"""Environments for the subprocesses of the tests."""

from __future__ import annotations

import os
from pathlib import Path

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR", "TZ")


def clean_env(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment that inherits next to nothing, so that whoever runs the tests cannot change them.

    Every cache lies under `home`. No CI, HF_*, TRANSFORMERS_*, PINFORMERS_*, STORAGE_*, PYTHON* or proxy variable is
    passed on; `extra` is added last.
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    folders = {
        "HOME": home,
        "HF_HOME": home / "hf",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
    }
    quiet = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # A daemon of whoever runs the tests is not asked: nobody listens at the discard port.
        "PINFORMERS_KUBO_API": "/ip4/127.0.0.1/tcp/9",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return kept | {name: str(folder) for name, folder in folders.items()} | quiet | extra
