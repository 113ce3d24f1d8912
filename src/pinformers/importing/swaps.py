"""Swap functions wherever modules have bound them, and put every one back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType, ModuleType

from pinformers.importing.standing_in import Function as Function
from pinformers.importing.standing_in import stand_in

Wrap = Callable[[Function], Function]
_ABSENT = object()


class Swaps:
    """Original functions, their one wrapper each, and the places where a wrapper was put."""

    def __init__(self) -> None:
        self._wrappers: dict[tuple[int, str], tuple[str, Function, Function]] = {}
        self._lazy: list[tuple[ModuleType, str]] = []
        self._methods: dict[tuple[type, str], tuple[object, Function]] = {}

    def method(self, owner: type, name: str, wrap: Wrap) -> None:
        """Replace a method in its class by ``wrap(original)``, once; a class without it is left alone."""
        original = vars(owner).get(name)
        if original is not None and (owner, name) not in self._methods:
            wrapper = stand_in(original, wrap(original))
            self._methods[owner, name] = (original, wrapper)
            setattr(owner, name, wrapper)

    def define(self, module: ModuleType, name: str, wrap: Wrap, *, here: bool = False) -> None:
        """Replace ``module.name`` by ``wrap(original)``; a module without that name is left alone.

        ``here``: in this module alone; others that bind the same original may get another wrapper, or none.
        """
        lazy = name not in vars(module)
        original = getattr(module, name, None)
        if original is None or getattr(original, "__pinformers__", False):
            return
        key = (id(original), module.__name__ if here else "")
        if key not in self._wrappers:
            wrapper = wrap(original)
            if not isinstance(wrapper, MethodType):
                wrapper = stand_in(original, wrapper)
            self._wrappers[key] = (name, original, wrapper)
        _, _, wrapper = self._wrappers[key]
        setattr(module, name, wrapper)
        if lazy:
            # PEP 562: the module computes this name; undo takes our entry away so that it computes it again.
            self._lazy.append((module, name))

    def sweep(self, module: ModuleType) -> None:
        """Replace the originals that ``module`` has bound by ``from ... import``."""
        names = vars(module)
        for (_, home), (name, original, wrapper) in self._wrappers.items():
            if home in ("", module.__name__) and names.get(name) is original:
                setattr(module, name, wrapper)

    def undo(self) -> None:
        """Put the originals back in every loaded module that binds a wrapper under its name."""
        for (owner, name), (method, wrapper) in self._methods.items():
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, method)
        self._methods.clear()
        for module, name in self._lazy:
            vars(module).pop(name, None)
        back = {id(wrapper): original for _, original, wrapper in self._wrappers.values()}
        names = {name for name, _, _ in self._wrappers.values()}
        for module in list(sys.modules.values()):
            bound = getattr(module, "__dict__", {}) if isinstance(module, ModuleType) else {}
            for name in names:
                original = back.get(id(bound.get(name, _ABSENT)))
                if original is not None:
                    setattr(module, name, original)
        self._lazy.clear()
        self._wrappers.clear()
