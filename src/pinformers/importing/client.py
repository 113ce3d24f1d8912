"""The route through huggingface_hub itself: its functions, and the methods of every HfApi, wherever they are held.

The methods that download, and most that ask, end in what is replaced here; so do subclasses and other instances.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pinformers.importing.downloads import Downloads
from pinformers.importing.heard import WRITES, Heard
from pinformers.importing.questions import Questions
from pinformers.importing.swaps import Swaps, Wrap, executing, loaded, namespace

if TYPE_CHECKING:
    from pinformers.importing.protocols import Resolver

CLIENT = "huggingface_hub"
DOWNLOAD, SNAPSHOT, API = f"{CLIENT}.file_download", f"{CLIENT}._snapshot_download", f"{CLIENT}.hf_api"
HOMES = (DOWNLOAD, SNAPSHOT, API)
INFOS = ("model_info", "dataset_info", "space_info")
METHODS = (*INFOS, "file_exists", "resolve_revision", "get_paths_info")
# They end in what is replaced here.
NAMED = ("hf_hub_download", "snapshot_download", "list_repo_files", "repo_exists", "repo_info")


class ClientRoute:
    """Wrappers for huggingface_hub's own functions; while ``everything()`` is false, for names by content alone."""

    def __init__(self, current: Callable[[], Resolver | None], everything: Callable[[], bool], heard: Heard) -> None:
        self._heard = heard
        self._downloads = Downloads(current, everything, heard)
        self._questions = Questions(current, everything, heard)
        self._swaps = Swaps()
        self._done: set[str] = set()
        self.installed = False

    def pending(self, executed: str = "") -> bool:
        """Whether a module that is routed stands, or stands anew as ``executed``, and is not routed yet."""
        self._done.discard(executed)
        return any(name == executed or _stands(name) for name in HOMES if name not in self._done)

    def install(self, executed: str = "") -> None:
        """Route every module that stands; but for the one that has just ``executed``, others may hold what it has."""
        fresh = [name for name in HOMES if name not in self._done and (name == executed or _stands(name))]
        for name in fresh:
            module = sys.modules[name]
            if name == API:
                for method, wrap in self._methods(module.HfApi):
                    self._swaps.method(module.HfApi, method, wrap)
            elif name == SNAPSHOT:
                self._swaps.function(module, "snapshot_download", self._downloads.snapshot_download)
            else:
                self._swaps.function(module, "hf_hub_download", self._downloads.hf_hub_download)
                self._swaps.function(module, "get_hf_file_metadata", self._questions.get_hf_file_metadata)
        self._swaps.place([sys.modules[executed]] if fresh == [executed] else loaded())
        self._done.update(fresh)
        if SNAPSHOT in fresh:
            self._swaps.here(sys.modules[SNAPSHOT], "hf_hub_download", self._downloads.file_of_snapshot)
        self.installed = True

    def _methods(self, api: type) -> list[tuple[str, Wrap]]:
        paged = "_iter_repo_tree_pages" in vars(api)
        asked = (*METHODS, "_iter_repo_tree_pages" if paged else "list_repo_tree")
        named = (*NAMED, "list_repo_tree") if paged else NAMED
        return [
            *((name, getattr(self._questions, name)) for name in asked),
            *((name, self._questions.named) for name in named),
            *((name, self._heard.writing) for name in WRITES),
        ]

    def undo(self) -> None:
        """Leave huggingface_hub, and whoever holds something of it, as they were."""
        self._swaps.undo()
        self._done.clear()
        self.installed = False


def _stands(name: str) -> bool:
    module = sys.modules.get(name)
    return bool(namespace(module)) and not executing(module)
