"""The gate: which environment variables keep everything unpatched, and the lines that say so."""

from __future__ import annotations

import os
from typing import NamedTuple

PATCHING = "Auto-patching transformers for distributed storage..."
PATCHED = "Successfully patched {count} transformers classes"
ROUTING = "Routing the downloads of huggingface_hub..."
CI = "CI environment detected, disabling transformers patching"
DISABLED = "Transformers patching disabled via environment variable"
LOCAL = "Using local filesystem (distributed storage disabled)"
_FALSE = ("", "0", "false", "no", "off")


# No dataclass: to make a frozen one takes eight times as long, and every import of transformers waits for it.
class Verdict(NamedTuple):
    """Whether patching may go on, and the line that says why not."""

    open: bool
    line: str = ""


def _says_yes(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in _FALSE


def judge(*, force: bool) -> Verdict:
    """Look at the environment as it is now; ``force`` passes the CI gate, never the two explicit ones."""
    if _says_yes("TRANSFORMERS_PATCH_DISABLE"):
        return Verdict(False, DISABLED)
    if _says_yes("STORAGE_FORCE_LOCAL"):
        return Verdict(False, LOCAL)
    if _says_yes("CI") and not force:
        return Verdict(False, CI)
    return Verdict(True)
