"""What is installed, by importlib-metadata, without what its import does to the interpreter.

It puts a finder of its own on ``sys.meta_path`` and takes ``find_distributions`` from the standard one; both are put
back, for ``disable()`` promises that nothing of ours stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
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
    ours, method = "importlib_metadata" not in sys.modules, vars(PathFinder).get(_METHOD)
    # deferred: to be undone at once, see above. It waits where another thread is importing it.
    import importlib_metadata

    if ours:
        for finder in [*sys.meta_path]:
            if type(finder).__module__ == importlib_metadata.__name__:
                # Another thread of ours undoes the same.
                with suppress(ValueError):
                    sys.meta_path.remove(finder)
        if method is not None:
            setattr(PathFinder, _METHOD, method)
    return importlib_metadata
