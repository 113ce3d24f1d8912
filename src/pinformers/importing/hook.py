"""The import hook: finder, module proxy, wrappers and route installed together and undone together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING

from pinformers.importing import proxy
from pinformers.importing.client import CLIENT, ClientRoute
from pinformers.importing.finder import Finder
from pinformers.importing.heard import Heard
from pinformers.importing.routing import PACKAGE, Route
from pinformers.importing.swaps import executing, is_module, namespace, weakly
from pinformers.importing.wrapping import MODELS, WEIGHTS, AutoWrappers, Loading, public_auto_classes

if TYPE_CHECKING:
    from pinformers.importing.protocols import Events, Resolver

AUTO = f"{PACKAGE}.models.auto."


class ImportHook:
    """Patch ``transformers``, and where wanted huggingface_hub, when it is imported, or at once when it already is."""

    def __init__(self, current: Callable[[], Resolver | None], loading: Loading, events: Events) -> None:
        self._events, heard = events, Heard()
        # Until the interpreter's end, atexit holds functions of huggingface_hub and typing its classes; what stands in
        # them may not hold us, and by us all of transformers. All three arguments are bound methods.
        current, loading = weakly(current, None), weakly(loading, nullcontext())
        self._client = ClientRoute(current, weakly(events.everything, False), heard)
        self._route = Route(current, heard, loading, self._client)
        self._wrappers = AutoWrappers(loading)
        self.finder = Finder(PACKAGE, self._executed, CLIENT)
        self._proxies: list[ModuleType] = []
        self._unfinished = self._ended = self._routed = False
        # The module that is being imported, and whether it is going to be patched.
        self._judged: tuple[object, bool] | None = None
        self.names: list[str] = []
        self.applied = False
        """Whether ``transformers`` is imported and patched."""

    def install(self, instead_of: object = None) -> None:
        """Install the finder, in the place of another where one is given, and patch what is loaded already."""
        self.finder.install(instead_of)
        self.widen()
        module = sys.modules.get(PACKAGE)
        if is_module(module) and self._events.importing():
            self._patch_loaded()
            self._finish(module)

    def widen(self, executed: str = "") -> None:
        """Route huggingface_hub where that is wanted and not done; ``executed`` is a module of it that has just run."""
        fresh = self._client.pending(executed)
        if not self._routed and (fresh or self._client.installed):
            self._routed = self._events.routing()
        if fresh and (self._routed or self._client.installed or self._coming()):
            # The route of transformers lies over this one.
            self._route.undo()
            self._client.install(executed)
            if self.applied:
                self._patch_loaded()

    def _coming(self) -> bool:
        """Whether the package is being imported, to be patched; what huggingface_hub defines is held by nobody yet."""
        module = sys.modules.get(PACKAGE)
        return executing(module) and self._admitted(module)

    def _admitted(self, executed: object) -> bool:
        if self._judged is None or self._judged[0] is not executed:
            self._judged = executed, self._events.importing()
        return self._judged[1]

    def undo(self) -> None:
        """Leave the interpreter as it was: meta_path, classes, functions, module objects."""
        self._ended = True
        self.finder.remove()
        self._wrappers.undo()
        self._route.undo()
        self._client.undo()
        for module in self._proxies:
            proxy.unseat(module)
        self.names, self.applied, self._judged = [], False, None

    @property
    def displaced(self) -> bool:
        """Whether somebody took the finder out of ``sys.meta_path``, or found the package before it was asked."""
        module = sys.modules.get(PACKAGE)
        missed = module is not None and not self.applied and not executing(module)
        return missed or not self.finder.installed

    def _executed(self, name: str, module: ModuleType) -> None:
        # A spec that was found before the end may be executed after it.
        if not self._ended:
            try:
                self._take_in(name, module)
            finally:
                # Another thread has undone what it saw. A lock against that would meet those of the import system.
                if self._ended:
                    self.undo()

    def _take_in(self, name: str, module: ModuleType) -> None:
        self.widen(name)
        if name.partition(".")[0] == CLIENT:
            return
        if name == PACKAGE:
            self._replaced(module)
        elif self.applied:
            self._patch(name, module)
            if self._unfinished:
                self._patch_loaded()
            self._finish(sys.modules.get(PACKAGE, module))

    def _replaced(self, executed: ModuleType) -> None:
        module = sys.modules.get(PACKAGE, executed)
        if not self.applied and not self._admitted(executed):
            return
        if module is not executed:
            proxy.forward(executed)
            self._proxies.append(executed)
        # Children that ran while the package was still importing itself were seen before anything was decided.
        self._patch_loaded()
        self._finish(module)

    def _finish(self, module: ModuleType) -> None:
        self.applied = True
        self._seat()
        # Installed while another thread imports the package: it names its classes only at its end.
        if not self.names:
            self.names = [f"{PACKAGE}.{name}" for name in public_auto_classes(module)]
            if self.names:
                self._events.patched(self.names)

    def _patch_loaded(self) -> None:
        self._unfinished = False
        # In the order in which they ended: what a module has bound is known by then.
        for name, child in sys.modules.copy().items():
            if not name.startswith(f"{PACKAGE}.") or not is_module(child):
                continue
            # Another thread is still in it, and may have found it before our finder came: look again at the next one.
            if executing(child):
                self._unfinished = True
            else:
                self._patch(name, child)

    def _patch(self, name: str, module: ModuleType) -> None:
        self._route.executed(name, module)
        if name.startswith(AUTO):
            self._wrappers.wrap_module(module)
        elif name == MODELS:
            # Concrete classes load by this: while one does, nothing is hashed beside it.
            self._wrappers.wrap(namespace(module).get("PreTrainedModel"), method=WEIGHTS)

    def _seat(self) -> None:
        # processing_utils runs the package again past every finder and replaces it in sys.modules.
        module = sys.modules.get(PACKAGE)
        if module is not None and not proxy.seated(module):
            proxy.seat(module, self._resolved)
            self._proxies.append(module)

    def _resolved(self, name: str, value: object) -> None:
        # A module that ran without our finder (somebody else's came first) is caught here, at the latest.
        if name.startswith("Auto") and f"{PACKAGE}.{name}" in self.names:
            self._wrappers.wrap(value)
