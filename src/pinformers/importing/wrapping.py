"""Wrap ``from_pretrained`` of every public Auto* class, in place and reversibly, and know when a model loads.

The classes stay the original objects: a subclass would break identity, pickle and ``issubclass`` the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, FunctionType, ModuleType
from typing import Any

from pinformers.importing.standing_in import Function, stand_in
from pinformers.importing.swaps import namespace

METHOD = "from_pretrained"
MODELS = "transformers.modeling_utils"
# What PreTrainedModel reads the files of weights by, in 4.57 and in 5.x.
WEIGHTS = "_load_pretrained_model"

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


def beside_models(loading: Loading, function: Function) -> Function:
    """Have ``loading`` entered around each call of ``function`` that a model's own ``from_pretrained`` makes.

    That one is not wrapped: it warns of arguments with ``stacklevel=2``, which is to name the file of its caller.
    """

    def called(*args: Any, **kwargs: Any) -> Any:
        frame: FrameType | None = sys._getframe()
        while frame is not None and not (frame.f_code.co_name == METHOD and frame.f_globals.get("__name__") == MODELS):
            frame = frame.f_back
        with nullcontext() if frame is None else loading("PreTrainedModel"):
            return function(*args, **kwargs)

    return called


class AutoWrappers:
    """The wrapped classes and what stood in each before.

    ``loading(name)`` is entered around every call, unless it is switched off by then.
    """

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        # It stays after undo, which may have to be done once more (see the hook).
        self._before: dict[tuple[type, str], tuple[object, object]] = {}

    def wrap_module(self, module: ModuleType) -> None:
        """Wrap the Auto* classes that ``module`` defines."""
        names = namespace(module)
        for name, value in list(names.items()):
            if name.startswith("Auto"):
                self.wrap(value, names["__name__"])

    def wrap(self, value: Any, home: str | None = None, *, method: str = METHOD) -> None:
        """Wrap ``method`` of ``value`` if that is a class with such a one, defined in ``home`` when that is given."""
        if not issubclass(type(value), type) or (home is not None and value.__module__ != home):
            return
        # Through the dictionaries: a dummy class of a missing backend raises on getattr, even on hasattr. The base
        # that has the method is wrapped: an entry of our own in a class that inherits it would be seen in help().
        owner = next((base for base in value.__mro__ if method in vars(base)), None)
        before: Any = vars(owner)[method] if owner is not None else None
        if owner is None or (owner, method) in self._before or type(before) not in (classmethod, staticmethod):
            # Somebody's mock, or their plain function, is not called with the class; it stays as it is.
            return
        if type(before.__func__) is FunctionType:
            wrapper = type(before)(self._wrapper(owner.__name__, before.__func__))
            self._before[owner, method] = (before, wrapper)
            setattr(owner, method, wrapper)

    def _wrapper(self, name: str, original: FunctionType) -> FunctionType:
        loading = self._loading

        def from_pretrained(*args: Any, **kwargs: Any) -> Any:
            with loading(name):
                return original(*args, **kwargs)

        return stand_in(original, from_pretrained)

    def undo(self) -> None:
        """Put back exactly what was in each class, unless somebody else replaced the wrapper since."""
        for (owner, method), (before, wrapper) in self._before.copy().items():
            if vars(owner).get(method) is wrapper:
                setattr(owner, method, before)
