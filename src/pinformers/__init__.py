"""Code that nobody edits loads its Hugging Face models from IPFS."""

from __future__ import annotations

# Names are resolved on first use: the start-up line imports this package in every process of the environment.
_HOMES = {
    "Handle": "_activation",
    "disable": "_activation",
    "enable": "_activation",
    "explain": "_activation",
    "flush": "_activation",
    "get_status": "_activation",
    "PinformersError": "_errors",
    "SettingsError": "_errors",
    "NotPinned": "_errors",
    "NotLocked": "_errors",
    "LockMismatch": "_errors",
    "BadLock": "_errors",
    "PinError": "_errors",
}
__all__ = [
    "BadLock",
    "Handle",
    "LockMismatch",
    "NotLocked",
    "NotPinned",
    "PinError",
    "PinformersError",
    "SettingsError",
    "__version__",
    "disable",
    "enable",
    "explain",
    "flush",
    "get_status",
]
__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pinformers._activation import Handle, disable, enable, explain, flush, get_status
    from pinformers._errors import (
        BadLock,
        LockMismatch,
        NotLocked,
        NotPinned,
        PinError,
        PinformersError,
        SettingsError,
    )


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # deferred: see above.
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
