"""The place of our finder on ``sys.meta_path`` while nothing was asked for that it patches; imports nothing more."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Protocol

    class Finds(Protocol):
        """A finder of modules (PEP 451) that takes the place of another."""

        @property
        def installed(self) -> bool: ...

        def install(self, instead_of: object = None) -> None: ...

        def find_spec(
            self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None: ...


class Waiting:
    """Let ``started()`` put our finder in this place, and it answer, once one of ``packages`` is asked for.

    ``how`` says what turned us on.
    """

    def __init__(self, how: str, packages: Collection[str], started: Callable[[], Finds | None]) -> None:
        self.how, self._packages, self._started = how, packages, started

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer as our finder does."""
        finder = self._started() if fullname.partition(".")[0] in self._packages else None
        if finder is None:
            return None
        if any(one is self for one in sys.meta_path):
            # Somebody has put back a list that was saved before our finder came.
            if finder.installed:
                return None
            finder.install(self)
        return finder.find_spec(fullname, path, target)


finder: Waiting | None = None
