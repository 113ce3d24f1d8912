"""Swap functions wherever modules have bound them, and put every one back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Function = Callable[..., Any]
Wrap = Callable[[Function], Function]
_ABSENT = object()


class Swaps:
    """Original functions, their one wrapper each, and the places where a wrapper was put."""

    def __init__(self) -> None:
        self._wrappers: dict[tuple[int, str], tuple[str, Function, Function]] = {}
        self._lazy: list[tuple[ModuleType, str]] = []

    def define(self, module: ModuleType, name: str, wrap: Wrap, *, here: bool = False, over: bool = False) -> None:
        """Replace ``module.name`` by ``wrap(original)``; a module without that name is left alone.

        ``here``: in this module alone; others that bind the same original may get another wrapper, or none.
        ``over``: also what is a wrapper already, put there by somebody else than this object.
        """
        lazy = name not in vars(module)
        original = getattr(module, name, None)
        ours = id(original) in {id(wrapper) for _, _, wrapper in self._wrappers.values()}
        if original is None or ours or (getattr(original, "__pinformers__", False) and not over):
            return
        key = (id(original), module.__name__ if here else "")
        _, _, wrapper = self._wrappers.setdefault(key, (name, original, wrap(original)))
        wrapper.__pinformers__ = True  # type: ignore[attr-defined]
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
