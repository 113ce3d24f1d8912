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
from pinformers.importing.swaps import Function, Swaps

CONVERSION = "transformers.safetensors_conversion"
DYNAMIC = "transformers.dynamic_module_utils"


class Route:
    """Wrappers for the functions of the download layer; each passes through while ``current()`` is None."""

    def __init__(self, current: Callable[[], Resolver | None]) -> None:
        self._current = current
        self._answers, self._references = Answers(current), Answers(current, references=True)
        self._swaps = Swaps()
        self._routed: list[tuple[object, list[str]]] = []

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
        client = sys.modules[CLIENT]
        if "hf_api" not in vars(module):
            # 4.57: modules bind these functions of huggingface_hub, some inside a function at call time.
            self._answers.downloads_one = True
            self._swaps.define(module, "hf_hub_download", self._answers.hf_hub_download, here=True)
            self._swaps.define(client, "model_info", self._answers.model_info, over=True)
            self._swaps.define(client, "list_repo_files", self._answers.list_repo_files)
        # Other libraries (PEFT, sentence-transformers) ask these by themselves.
        for name in _DIRECT:
            self._swaps.define(client, name, getattr(self._references, name))
        for name, other in sys.modules.copy().items():
            if isinstance(other, ModuleType) and not name.startswith(CLIENT):
                self._swaps.sweep(other)

    def undo(self) -> None:
        """Put every function back and take our methods off the shared ``HfApi``."""
        self._swaps.undo()
        for api, names in self._routed:
            for name in names:
                vars(api).pop(name, None)
        self._routed.clear()

    def _hf_api(self, original: Function) -> Function:
        @functools.wraps(original)
        def hf_api() -> Any:
            api = original()
            if self._current() is not None and "model_info" not in vars(api):
                # On the one shared instance; list_repo_files and repo_info of a hub name go through these.
                routes = dict.fromkeys(("model_info", "list_repo_tree", "repo_exists"), self._answers)
                routes |= dict.fromkeys(("list_repo_files", "hf_hub_download", "snapshot_download"), self._references)
                for name, answers in routes.items():
                    setattr(api, name, getattr(answers, name)(getattr(api, name)))
                self._routed.append((api, list(routes)))
            return api

        return hf_api


_DIRECT = (
    "hf_hub_download",
    "snapshot_download",
    "file_exists",
    "resolve_revision",
    "model_info",
    "list_repo_files",
    "repo_exists",
)
