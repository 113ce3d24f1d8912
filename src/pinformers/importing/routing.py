"""The download-layer route: everything through which transformers finds a file of a repo, answered from pins.

All classes, pipelines and processors resolve files in ``transformers.utils.hub``; what else asks the hub goes through
the shared ``HfApi`` (5.x) or functions of huggingface_hub that modules have bound by name (4.57, and PEFT).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pinformers.importing.answers import HUB, Answers
from pinformers.importing.client import CLIENT
from pinformers.importing.protocols import Resolver
from pinformers.importing.swaps import Function, Swaps, Wrap

CONVERSION = "transformers.safetensors_conversion"
DYNAMIC = "transformers.dynamic_module_utils"


class Route:
    """Wrappers for the functions of the download layer; each passes through while ``current()`` is None."""

    def __init__(self, current: Callable[[], Resolver | None]) -> None:
        self._current = current
        self._answers, self._references = Answers(current), Answers(current, references=True)
        self._swaps = Swaps()
        self._shared: list[object] = []

    def executed(self, name: str, module: ModuleType) -> None:
        """Swap in ``module``, which has just run."""
        if name == HUB:
            self._install_hub(module)
        elif name == CONVERSION:
            self._swaps.define(module, "auto_conversion", self._answers.auto_conversion)
        elif name == DYNAMIC:
            self._swaps.define(module, "get_cached_module_file", self._references.get_cached_module_file)
        self._swaps.sweep(module)

    def _install_hub(self, module: ModuleType) -> None:
        for name in ("cached_files", "resolve_revision", "list_repo_templates", "has_file"):
            self._swaps.define(module, name, getattr(self._answers, name))
        self._swaps.define(module, "hf_api", self._hf_api)
        client = sys.modules.get(CLIENT)
        if client is not None:
            # A package of the same name may never ask the hub.
            self._install_client(client, module)

    def _install_client(self, client: ModuleType, hub: ModuleType) -> None:
        answered: tuple[str, ...] = ("model_info", "list_repo_tree", "repo_exists")
        if "hf_api" not in vars(hub):
            # 4.57: modules bind these functions of huggingface_hub, some inside a function at call time.
            self._answers.downloads_one = True
            self._swaps.define(hub, "hf_hub_download", self._answers.hf_hub_download, here=True)
            answered = ("model_info", "list_repo_files")
            self._shared.append(getattr(client.model_info, "__self__", None))
        # In their own modules and classes: pickle finds a function by where it is defined, a method by its class.
        for name in ("list_repo_tree", *_METHODS, *_FUNCTIONS):
            self._swaps.method(client.HfApi, name, self._method(name, answered=name in answered))
        # Other libraries (PEFT, sentence-transformers) ask these by themselves.
        for name in _FUNCTIONS:
            self._swaps.define(client, name, getattr(self._references, name))
        for name in _METHODS:
            self._swaps.define(client, name, self._bound(name))
        for other in list(sys.modules.values()):
            if isinstance(other, ModuleType):
                self._swaps.sweep(other)

    def _method(self, name: str, *, answered: bool) -> Wrap:
        def wrap(original: Function) -> Function:
            others = original if name == "list_repo_tree" else getattr(self._references, name)(original)
            shared = getattr(self._answers, name)(original) if answered else others

            @functools.wraps(original)
            def method(api: object, *args: Any, **kwargs: Any) -> Any:
                asked = any(api is one for one in self._shared)
                return (shared if asked else others)(api, *args, **kwargs)

            return method

        return wrap

    def _bound(self, name: str) -> Wrap:
        def wrap(original: Function) -> Function:
            api = getattr(original, "__self__", None)
            found: Function = getattr(self._references, name)(original) if api is None else getattr(api, name)
            return found

        return wrap

    def undo(self) -> None:
        """Put every function and method back."""
        self._swaps.undo()
        self._shared.clear()

    def _hf_api(self, original: Function) -> Function:
        @functools.wraps(original)
        def hf_api() -> Any:
            api = original()
            if not any(api is one for one in self._shared):
                # The one instance that transformers asks; list_repo_files and repo_info go through its methods.
                self._shared.append(api)
            return api

        return hf_api


_FUNCTIONS = ("hf_hub_download", "snapshot_download")
_METHODS = ("file_exists", "resolve_revision", "model_info", "list_repo_files", "repo_exists")
