"""The start-up line's target: turn pinformers on when the environment or the marker says so.

Runs at every start of every Python of this environment, so it imports nothing more until the answer is yes.
"""

from __future__ import annotations

import os

SWITCH = "PINFORMERS"
MARKER = "_activated"
_FALSE = ("", "0", "false", "no", "off")


def marker() -> str:
    """Return the path of the file, beside our own, that ``pinformers activate`` leaves."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), MARKER)


def wanted() -> str | None:
    """Return what turned us on: ``env``, ``force`` or ``marker``; None when nothing did. The variable wins."""
    value = os.environ.get(SWITCH)
    if value is not None and value.strip():
        value = value.strip().lower()
        return None if value in _FALSE else "force" if value == "force" else "env"
    return "marker" if os.path.exists(marker()) else None


def main() -> None:
    """Install the finder if we are wanted; everything else waits for ``import transformers``."""
    how = wanted()
    if how is not None:
        # deferred: with the switch off, this module is all that start-up costs.
        from pinformers import _activation

        _activation.start(how)
