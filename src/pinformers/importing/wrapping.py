"""Wrap ``from_pretrained`` of every public Auto* class, in place and reversibly.

The classes stay the original objects: a subclass would break identity, pickle and ``issubclass`` the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

from pinformers.importing.standing_in import stand_in

METHOD = "from_pretrained"

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


class _Loading:
    """What is entered around a load. cloudpickle writes methods by value: another process then enters nothing."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading

    def __call__(self, name: str) -> AbstractContextManager[object]:
        return self._loading(name)

    def __reduce__(self) -> Any:
        return functools.partial, (nullcontext,)


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
        # Through the dictionaries: a dummy class of a missing backend raises on getattr, even on hasattr. The base
        # that has the method is wrapped: an entry of our own in a class that inherits it would be seen in help().
        owner = next((base for base in value.__mro__ if METHOD in vars(base)), None)
        before = vars(owner)[METHOD] if owner is not None else None
        # Somebody's mock, or their plain function, is not called with the class; it stays as it is.
        if owner is not None and owner not in self._before and isinstance(before, classmethod):
            wrapper: classmethod[Any, Any, Any] = classmethod(self._wrapper(owner.__name__, before.__func__))
            self._before[owner] = (before, wrapper)
            setattr(owner, METHOD, wrapper)

    def _wrapper(self, name: str, original: Any) -> Any:
        loading = _Loading(self._loading)

        def from_pretrained(*args: Any, **kwargs: Any) -> Any:
            with loading(name):
                return original(*args, **kwargs)

        return stand_in(original, from_pretrained)

    def undo(self) -> None:
        """Put back exactly what was in each class, unless somebody else replaced the wrapper since."""
        for owner, (before, wrapper) in self._before.items():
            if vars(owner).get(METHOD) is wrapper:
                setattr(owner, METHOD, before)
        self._before.clear()

    @property
    def names(self) -> list[str]:
        """The names of the wrapped classes."""
        return sorted(owner.__name__ for owner in self._before)
