"""The download-layer route: everything through which transformers finds a file of a repo, answered from pins.

All classes, pipelines and processors resolve files in ``transformers.utils.hub``; what else asks the hub goes through
the shared ``HfApi`` (5.x) or functions of huggingface_hub that modules have bound by name (4.57, and PEFT).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pinformers.importing.answers import HUB, Answers
from pinformers.importing.client import API, CLIENT, HOMES, ClientRoute
from pinformers.importing.heard import Heard
from pinformers.importing.standing_in import Function
from pinformers.importing.swaps import Swaps, Wrap, executing, loaded, namespace
from pinformers.importing.wrapping import Loading, beside_models

if TYPE_CHECKING:
    from pinformers.importing.protocols import Resolver

PACKAGE = "transformers"
CONVERSION = f"{PACKAGE}.safetensors_conversion"
DYNAMIC = f"{PACKAGE}.dynamic_module_utils"


class Route:
    """Wrappers for the functions of the download layer; each passes through while ``current()`` is None.

    They lie over those of ``client``: what other libraries (PEFT, sentence-transformers) ask, they ask there.
    """

    def __init__(
        self, current: Callable[[], Resolver | None], heard: Heard, loading: Loading, client: ClientRoute
    ) -> None:
        self._answers, self._loading, self._client = Answers(current, heard), loading, client
        self._swaps = Swaps()
        self._shared: list[object] = []

    def executed(self, name: str, module: ModuleType) -> None:
        """Swap in ``module``, which has just run."""
        if name == HUB:
            self._install_hub(module)
        elif name == CONVERSION:
            self._swaps.function(module, "auto_conversion", self._answers.auto_conversion)
        elif name == DYNAMIC:
            self._swaps.function(module, "get_cached_module_file", self._answers.get_cached_module_file)
        self._swaps.place([module])

    def _install_hub(self, module: ModuleType) -> None:
        self._swaps.function(module, "cached_files", self._cached_files)
        for name in ("resolve_revision", "list_repo_templates", "has_file"):
            self._swaps.function(module, name, getattr(self._answers, name))
        self._swaps.function(module, "hf_api", self._hf_api)
        if CLIENT in sys.modules:
            # A package of the same name may never ask the hub.
            self._install_client(module)

    def _install_client(self, hub: ModuleType) -> None:
        for name in HOMES:
            importlib.import_module(name)
        if self._client.pending():
            self._client.install()
        answered: tuple[str, ...] = ("model_info", "list_repo_tree", "repo_exists")
        if "hf_api" not in namespace(hub):
            # 4.57: modules bind these functions of huggingface_hub, some inside a function at call time.
            self._answers.downloads_one = True
            answered = ("model_info", "list_repo_files")
            self._shared.append(namespace(sys.modules[API]).get("api"))
        # In their class: pickle finds a method there.
        for name in answered:
            self._swaps.method(sys.modules[API].HfApi, name, self._method(name))
        if self._answers.downloads_one or not executing(sys.modules.get(PACKAGE)):
            # On 5.x, while the package is being imported, its own modules alone hold something of this.
            self._swaps.place(loaded())

    def _method(self, name: str) -> Wrap:
        def wrap(original: Function) -> Function:
            shared = getattr(self._answers, name)(original)

            def method(api: object, *args: Any, **kwargs: Any) -> Any:
                asked = any(api is one for one in self._shared)
                return (shared if asked else original)(api, *args, **kwargs)

            return method

        return wrap

    def undo(self) -> None:
        """Put every function and method back."""
        self._swaps.undo()
        self._shared.clear()

    def _cached_files(self, original: Function) -> Function:
        return beside_models(self._loading, self._answers.cached_files(original))

    def _hf_api(self, original: Function) -> Function:
        def hf_api() -> Any:
            api = original()
            if not any(api is one for one in self._shared):
                # The one instance that transformers asks; list_repo_files and repo_info go through its methods.
                self._shared.append(api)
            return api

        return hf_api
