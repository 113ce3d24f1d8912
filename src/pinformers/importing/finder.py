"""A PEP 451 meta-path finder that lets a package be found as always and tells when each of its modules has run."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder

Executed = Callable[[str, ModuleType], None]
# How Python up to 3.11 asks a finder that has find_module alone, with its warning; later ones pass such a finder by.
_ASK_LEGACY = getattr(importlib._bootstrap, "_find_spec_legacy", lambda finder, name, path: None)

# Modules make objects by the hundred thousand and next to no garbage, for which Python looks again and again: while one
# runs, it does not. Each puts back what it found, in whatever order threads come and go and whoever is interrupted.
_LENT: list[tuple[int, int, int]] = []


def _put_back(threshold: tuple[int, int, int]) -> None:
    meanwhile = 0
    try:
        meanwhile = gc.get_threshold()[0]
    finally:
        # Also where Ctrl-C comes between the two; not where somebody has set another.
        if not meanwhile:
            gc.set_threshold(*threshold)
        del _LENT[-1:]


def _forked() -> None:
    if _LENT and not gc.get_threshold()[0]:
        # The thread that would put it back may be another one's, and not here.
        gc.set_threshold(*_LENT[0])
    _LENT.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Relay:
    """What a spec's own loader becomes until its module executes: an object of a subclass of the loader's class.

    It shares the loader's attributes, and looks, compares, copies and pickles as the loader does. The real loader is
    back in ``__spec__`` and ``__loader__`` before the module's code runs: pkg_resources, ``python -m`` and
    importlib.resources look there.
    """

    def __init__(self, executed: Executed) -> None:
        self._executed = executed
        self._classes: dict[type, type] = {}

    def stand_for(self, loader: Loader) -> Loader:
        """Return the relay of ``loader``, or ``loader`` where none can be made."""
        if "_relayed" in vars(type(loader)):
            # Somebody kept a spec of ours, or of one who was here before us.
            loader = cast(Any, loader)._relayed
        base = type(loader)
        try:
            if base not in self._classes:
                self._classes[base] = self._class(base)
            relay: Any = object.__new__(self._classes[base])
            relay.__dict__ = loader.__dict__
        except (AttributeError, TypeError):
            # A class written in C, a class without attributes, a class that is itself the loader.
            return loader
        relay._relayed = loader
        return cast("Loader", relay)

    def _class(self, base: type) -> type:
        executed = self._executed

        def exec_module(self: Any, module: ModuleType) -> None:
            loader, spec = self._relayed, module.__spec__
            # Another program's loader, which asks this one, stays where it is.
            if spec is not None and spec.loader is self:
                spec.loader = loader
            if getattr(module, "__loader__", None) is self:
                module.__loader__ = loader
            threshold = gc.get_threshold()
            try:
                # Not where another one lends it: it may have put it back by now.
                if threshold[0]:
                    _LENT.append(threshold)
                    gc.set_threshold(0, *threshold[1:])
                loader.exec_module(module)
            finally:
                if threshold[0]:
                    _put_back(threshold)
            executed(module.__name__, module)

        # Python leaves importlib out of a traceback, but not around a frame of another file.
        exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        members: dict[str, object] = {
            "__slots__": ("_relayed",),
            "__class__": property(lambda self: base),
            "__dir__": lambda self: dir(self._relayed),
            "__reduce_ex__": lambda self, protocol: self._relayed.__reduce_ex__(protocol),
            # What the loader has in __slots__ beside its __dict__.
            "__getattr__": lambda self, name: getattr(object.__getattribute__(self, "_relayed"), name),
            "exec_module": exec_module,
        }
        names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
        return type(base.__name__, (base,), {**names, **members})


class Finder:
    """Find ``package``, each of ``more`` and everything below them through the finders that come after this one.

    ``executed(name, module)`` is called once each module has run, before its importer sees it.
    """

    def __init__(self, package: str, executed: Executed, *more: str) -> None:
        self._packages, self._relay = frozenset((package, *more)), Relay(executed)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        spec = self._next_spec(fullname, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = self._relay.stand_for(cast("Loader", spec.loader))
        return spec

    def _next_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        # Only the finders after this one: importlib.util.find_spec would come back here.
        for finder in self._after():
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec(fullname, path, target) if find_spec else _ASK_LEGACY(finder, fullname, path)
            if spec is not None:
                return cast(ModuleSpec, spec)
        return None

    def _after(self) -> Sequence[object]:
        finders = list(sys.meta_path)
        for position, finder in enumerate(finders):
            if cast(object, finder) is self:
                return finders[position + 1 :]
        return finders

    def install(self, instead_of: object = None) -> None:
        """Put this finder first, once, or in the place of another; where that one was taken away, nowhere."""
        mine = cast("MetaPathFinder", self)
        if instead_of is not None:
            for position in self._positions(instead_of):
                sys.meta_path[position] = mine
        elif not self.installed:
            sys.meta_path.insert(0, mine)

    def remove(self) -> None:
        """Take this finder, and no other, out of ``sys.meta_path``."""
        for position in reversed(self._positions(self)):
            del sys.meta_path[position]

    @property
    def installed(self) -> bool:
        """Whether ``sys.meta_path`` still holds this finder."""
        return bool(self._positions(self))

    def _positions(self, wanted: object) -> list[int]:
        return [position for position, finder in enumerate(sys.meta_path) if cast(object, finder) is wanted]
