"""Wrap ``from_pretrained`` of every public Auto* class, in place and reversibly.

The classes stay the original objects: a subclass would break identity, pickle and ``issubclass`` the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

METHOD = "from_pretrained"
_ABSENT = object()

Loading = Callable[[str], AbstractContextManager[object]]


def public_auto_classes(module: ModuleType) -> list[str]:
    """Name the Auto* classes that the package offers, by its own lazy table and without importing any of them.

    A name whose backend is missing resolves to a dummy that raises even on ``hasattr``; it is left out.
    """
    homes: dict[str, str] = getattr(module, "_class_to_module", {})
    missing = getattr(module, "_object_missing_backend", {})
    return sorted(
        name
        for name, home in homes.items()
        if name.startswith("Auto") and home.startswith("models.auto.") and name not in missing
    )


class AutoWrappers:
    """The wrapped classes and what stood in each before.

    ``loading(name)`` is entered around every call, unless it is switched off by then.
    """

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._before: dict[type, tuple[object, object]] = {}

    def wrap_module(self, module: ModuleType) -> None:
        """Wrap the Auto* classes that ``module`` defines."""
        for name, value in list(vars(module).items()):
            if name.startswith("Auto"):
                self.wrap(value, module.__name__)

    def wrap(self, value: object, home: str | None = None) -> None:
        """Wrap ``value`` if it is a class with a ``from_pretrained``, defined in ``home`` when that is given."""
        if not isinstance(value, type) or value in self._before:
            return
        if home is not None and value.__module__ != home:
            return
        # Through the dictionaries: a dummy class of a missing backend raises on getattr, even on hasattr.
        if not any(METHOD in vars(base) for base in value.__mro__):
            return
        before = vars(value).get(METHOD, _ABSENT)
        wrapper = self._wrapper(value, before)
        self._before[value] = (before, wrapper)
        setattr(value, METHOD, wrapper)

    def _wrapper(self, owner: type, before: object) -> classmethod[Any, Any, Any]:
        loading, name = self._loading, owner.__name__
        inherited = before is _ABSENT
        found: Any = getattr(super(owner, owner), METHOD) if inherited else before
        function = getattr(found, "__func__", found)

        @functools.wraps(function)
        def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> Any:
            with loading(name):
                if inherited:
                    return getattr(super(owner, cls), METHOD)(*args, **kwargs)
                return function(cls, *args, **kwargs)

        return classmethod(from_pretrained)

    def undo(self) -> None:
        """Put back exactly what was in each class, unless somebody else replaced the wrapper since."""
        for owner, (before, wrapper) in self._before.items():
            if vars(owner).get(METHOD) is not wrapper:
                continue
            if before is _ABSENT:
                delattr(owner, METHOD)
            else:
                setattr(owner, METHOD, before)
        self._before.clear()

    @property
    def names(self) -> list[str]:
        """The names of the wrapped classes."""
        return sorted(owner.__name__ for owner in self._before)
