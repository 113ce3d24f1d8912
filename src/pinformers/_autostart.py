"""The start-up line's target: turn pinformers on when the environment or ``pinformers activate`` says so.

Runs at every start of every Python of this environment, before Python knows where the program's own modules lie: what
is imported here is the standard library's, whatever the program has under that name. So nothing is, until the program
asks for what we patch.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pinformers.importing.finder import Finder

SWITCH = "PINFORMERS"
MARKER = "pinformers_activated.pth"
# Python runs it at each start, also where the package it names was taken away.
_TRIED = f"try:\\n from {__name__} import main\\n main(activated=True)\\nexcept ModuleNotFoundError:\\n pass"
LINE = f'import os; exec("{_TRIED}")\n'
PACKAGES = ("transformers", "huggingface_hub")
_FALSE = ("", "0", "false", "no", "off")


def marker() -> str | None:
    """Return the path of the start-up line that ``pinformers activate`` leaves beside ours.

    None where Python reads none of ours, as where PYTHONPATH alone names us.
    """
    # deferred: to import it has effects where Python did not (`-S`), and a start-up that is on does not ask.
    import site

    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    places = [*user, *site.getsitepackages()]
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if ours not in places:
        # An editable installation has its modules elsewhere.
        places = [place for place in places if os.path.exists(os.path.join(place, "pinformers.pth"))]
        ours = places[0] if places else ""
    return os.path.join(ours, MARKER) if ours else None


def marked() -> bool:
    """Whether that line is there."""
    path = marker()
    return path is not None and os.path.exists(path)


def wanted(*, activated: bool = False) -> str | None:
    """Return what turned us on: ``env``, ``force`` or ``marker``; None when nothing did. The variable wins.

    ``activated`` says that the line of ``pinformers activate`` runs.
    """
    value = os.environ.get(SWITCH)
    if value is not None and value.strip():
        value = value.strip().lower()
        return None if value in _FALSE else "force" if value == "force" else "env"
    return "marker" if activated or marked() else None


def main(*, activated: bool = False) -> None:
    """Install the finder if we are ``wanted``; everything else waits for ``import transformers``."""
    how = wanted(activated=activated)
    if how is None:
        return
    # deferred: with the switch off, this module is all that start-up costs.
    from pinformers import _waiting

    if _waiting.finder is not None:
        # In a virtual environment, site reads every .pth file twice.
        return
    if any(name in sys.modules for name in (*PACKAGES, f"{__package__}._activation")):
        # deferred: see above.
        from pinformers import _activation

        _activation.start(how)
    else:
        _waiting.finder = _waiting.Waiting(how, PACKAGES, _started)
        sys.meta_path.insert(0, _waiting.finder)


def _started() -> Finder | None:
    # deferred: see above. It starts at its import where somebody waits.
    from pinformers import _activation

    return _activation.finder()
