"""A PEP 451 meta-path finder that lets a package be found as always and tells when each of its modules has run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder

Executed = Callable[[str, ModuleType], None]


class RelayLoader:
    """Stand in for a spec's own loader until the module executes, then step aside.

    The real loader is back in ``__spec__`` and ``__loader__`` before the module's code runs: pkg_resources,
    ``python -m`` and importlib.resources look there.
    """

    def __init__(self, loader: Loader, executed: Executed) -> None:
        self._loader, self._executed = loader, executed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # isinstance() asks here: a spec that nobody executes (importlib.util.find_spec) shows the loader it had.
        return type(self._loader)

    def get_source(self, fullname: str) -> Any:
        # Jedi asks the class for it: with us on, completion (IPython, notebooks) knew nothing of a covered package.
        found = getattr(self._loader, "get_source", None)
        if found is None:
            raise ImportError(f"the loader of {fullname} knows no source", name=fullname)
        return found(fullname)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Another finder's loader, which asks this one, stays where it is.
        if module.__spec__ is not None and cast(object, module.__spec__.loader) is self:
            module.__spec__.loader = self._loader
        if cast(object, getattr(module, "__loader__", None)) is self:
            module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._executed(module.__name__, module)


class Finder:
    """Find ``package``, each of ``more`` and everything below them through the finders that come after this one.

    ``executed(name, module)`` is called once each module has run, before its importer sees it.
    """

    def __init__(self, package: str, executed: Executed, *more: str) -> None:
        self._packages, self._executed = frozenset((package, *more)), executed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        spec = self._next_spec(fullname, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Loader", RelayLoader(cast("Loader", spec.loader), self._executed))
        return spec

    def _next_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        # Only the finders after this one: importlib.util.find_spec would come back here.
        for finder in self._after():
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec(fullname, path, target) if find_spec is not None else None
            if spec is not None:
                return cast(ModuleSpec, spec)
        return None

    def _after(self) -> Sequence[object]:
        finders = list(sys.meta_path)
        for position, finder in enumerate(finders):
            if cast(object, finder) is self:
                return finders[position + 1 :]
        return finders

    def install(self) -> None:
        """Put this finder first, once."""
        if not self.installed:
            sys.meta_path.insert(0, cast("MetaPathFinder", self))

    def remove(self) -> None:
        """Take this finder, and no other, out of ``sys.meta_path``."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if cast(object, finder) is not self]

    @property
    def installed(self) -> bool:
        """Whether ``sys.meta_path`` still holds this finder."""
        return any(cast(object, finder) is self for finder in sys.meta_path)
