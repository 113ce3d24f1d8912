"""The module proxy: the package's own module object, seated in a subclass of its own class.

The object stays the same, so that reload, identity checks and undo keep working, and an attribute costs what it cost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pinformers.importing.swaps import is_module

Resolved = Callable[[str, object], None]
_SEATS: dict[type, type] = {}


def _proxy_class(base: type[ModuleType], resolved: Resolved) -> type[ModuleType]:
    def __getattr__(self: ModuleType, name: str) -> Any:
        value = base.__getattr__(self, name)
        resolved(name, value)
        return value

    def __reduce__(self: ModuleType) -> Any:
        # By reference to the class that a process without us knows: pickle finds it by module and name.
        reduced = base.__reduce__(self)
        return (base, *reduced[1:]) if reduced[0] is type(self) else reduced

    names = {"__doc__": base.__doc__, "__module__": base.__module__, "__qualname__": base.__qualname__}
    members: dict[str, Any] = {**names, "__reduce__": __reduce__}
    if hasattr(base, "__getattr__"):
        members["__getattr__"] = __getattr__
    return type(base.__name__, (base,), members)


def _forwarding_class(base: type[ModuleType]) -> type[ModuleType]:
    def __getattr__(self: ModuleType, name: str) -> Any:
        seated = sys.modules.get(self.__name__)
        if seated is None or seated is self:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(seated, name)

    return type(base.__name__, (base,), {"__module__": base.__module__, "__getattr__": __getattr__})


def seat(module: ModuleType, resolved: Resolved) -> None:
    """Seat ``module`` in its proxy class; ``resolved(name, value)`` hears of each lazily resolved attribute. Once."""
    if is_module(module) and not seated(module):
        original = type(module)
        proxy = _proxy_class(original, resolved)
        _SEATS[proxy] = original
        module.__class__ = proxy


def forward(module: ModuleType) -> None:
    """Let a module object that was replaced in ``sys.modules`` answer with the one that replaced it.

    A thread that imported while the package replaced itself holds the old object, which lacks every lazy name.
    """
    if is_module(module) and not seated(module):
        original = type(module)
        proxy = _forwarding_class(original)
        _SEATS[proxy] = original
        module.__class__ = proxy


def unseat(module: ModuleType) -> None:
    """Give ``module`` its own class back."""
    original = _SEATS.pop(type(module), None)
    if original is not None:
        module.__class__ = original


def seated(module: ModuleType) -> bool:
    """Whether ``module`` sits in a proxy class."""
    return type(module) in _SEATS
