"""What is installed, by importlib-metadata, without what its import does to the interpreter.

It puts a finder of its own on ``sys.meta_path`` and takes ``find_distributions`` from the standard one; both are put
back, for ``disable()`` promises that nothing of ours stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib_metadata import Distribution, EntryPoint

_METHOD = "find_distributions"


def version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    return next((found.version for found in _distributions(name)), None)


def entry_points(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of ``group`` by name; of two with one name, the one found first on ``sys.path``."""
    found: dict[str, EntryPoint] = {}
    for distribution in _distributions(None):
        for entry in distribution.entry_points.select(group=group):
            found.setdefault(entry.name, entry)
    return found


def _distributions(name: str | None) -> Iterator[Distribution]:
    library = _library()
    finder = library.MetadataPathFinder
    yield from finder.find_distributions(library.DistributionFinder.Context(name=name))


def _library() -> ModuleType:
    if "importlib_metadata" not in sys.modules:
        before, method = list(sys.meta_path), vars(PathFinder).get(_METHOD)
        # deferred: to be undone at once, see above.
        import importlib_metadata  # noqa: F401

        sys.meta_path[:] = [finder for finder in sys.meta_path if any(finder is known for known in before)]
        if method is not None:
            setattr(PathFinder, _METHOD, method)
    return sys.modules["importlib_metadata"]
