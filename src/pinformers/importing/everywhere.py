"""Replace functions under every name by which modules hold them, and put every one back."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import MethodType, ModuleType
from typing import cast

from pinformers.importing.standing_in import stand_in
from pinformers.importing.swaps import Function, Wrap

_Pairs = dict[int, tuple[object, object]]


class Everywhere:
    """What stands in the place of what. Both are held, so that no id comes to mean another object."""

    def __init__(self) -> None:
        self._wrappers: _Pairs = {}
        self._originals: _Pairs = {}
        self._methods: dict[int, tuple[Function, type, str, Function]] = {}
        self._unwrapped: dict[int, Function] = {}

    def function(self, module: ModuleType, name: str, wrap: Wrap) -> None:
        """Have what ``module`` defines as ``name`` replaced by the next ``place``; without it, nothing happens."""
        original = vars(module).get(name)
        if original is not None and id(original) not in self._originals:
            self._pair(original, stand_in(original, wrap(original)))

    def method(self, owner: type, name: str, wrap: Wrap) -> None:
        """Replace a method in its class; the next ``place`` finds what holds it bound to an instance."""
        original = vars(owner).get(name)
        if original is not None and not getattr(original, "__pinformers__", False):
            wrapper = stand_in(original, wrap(original))
            self._methods[id(original)] = (original, owner, name, wrapper)
            setattr(owner, name, wrapper)

    def place(self, modules: Iterable[ModuleType]) -> None:
        """Put the replacements wherever ``modules`` hold an original, under whatever name."""
        for module in modules:
            for name, value in list(vars(module).items()):
                new = self._wrapper(value)
                if new is not None:
                    setattr(module, name, new)

    def here(self, module: ModuleType, name: str, wrap: Wrap) -> None:
        """Give one module another wrapper of what it holds replaced as ``name``."""
        _, original = self._originals.get(id(vars(module).get(name)), (None, None))
        if original is not None:
            wrapper = stand_in(original, wrap(cast(Function, original)))
            self._originals[id(wrapper)] = (wrapper, original)
            setattr(module, name, wrapper)

    def undo(self) -> None:
        """Put the originals back into their classes and into every module that holds a replacement."""
        for original, owner, name, wrapper in self._methods.values():
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)
        self._unwrapped = {id(wrapper): original for original, _, _, wrapper in self._methods.values()}
        for module in loaded() if self._originals else []:
            for name, value in list(vars(module).items()):
                held = self._original(value)
                if held is not None:
                    setattr(module, name, held)
        self._wrappers.clear()
        self._originals.clear()
        self._methods.clear()
        self._unwrapped.clear()

    def _wrapper(self, value: object) -> object | None:
        known = self._wrappers.get(id(value))
        if known is not None:
            return known[1]
        method = self._methods.get(id(value.__func__)) if isinstance(value, MethodType) else None
        # One new object for each old one: what is one object under two names stays one.
        return None if method is None else self._pair(value, MethodType(method[3], getattr(value, "__self__")))  # noqa: B009

    def _original(self, value: object) -> object | None:
        known = self._originals.get(id(value))
        if known is not None:
            return known[1]
        # Bound while the class had the wrapper.
        method = self._unwrapped.get(id(value.__func__)) if isinstance(value, MethodType) else None
        return None if method is None else MethodType(method, getattr(value, "__self__"))  # noqa: B009

    def _pair(self, original: object, wrapper: object) -> object:
        self._wrappers[id(original)] = (original, wrapper)
        self._originals[id(wrapper)] = (wrapper, original)
        return wrapper


def loaded() -> list[ModuleType]:
    """Every module object that is loaded now."""
    return [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
