"""The download-layer route: everything through which transformers finds a file of a repo, answered from pins.

All classes, pipelines and processors resolve files in ``transformers.utils.hub``; what else asks the hub goes through
the shared ``HfApi`` (5.x) or functions of huggingface_hub that modules have bound by name (4.57).
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from pinformers.importing import hub_types
from pinformers.importing.calls import Call, commit_of, joined, names_repo
from pinformers.importing.protocols import Pinned, Resolver
from pinformers.importing.swaps import Function, Swaps

HUB = "transformers.utils.hub"
CONVERSION = "transformers.safetensors_conversion"
TEMPLATES = "additional_chat_templates"


class Route:
    """Wrappers for the functions of the download layer; each passes through while ``current()`` is None."""

    def __init__(self, current: Callable[[], Resolver | None]) -> None:
        self._current = current
        self._swaps = Swaps()
        self._routed: list[tuple[object, list[str]]] = []
        self._downloads_one = False

    # -- installing -------------------------------------------------------------------------------------------

    def executed(self, name: str, module: ModuleType) -> None:
        """Swap in ``module``, which has just run."""
        if name == HUB:
            self._install_hub(module)
        elif name == CONVERSION:
            self._swaps.define(module, "auto_conversion", self._auto_conversion)
        self._swaps.sweep(module)

    def _install_hub(self, module: ModuleType) -> None:
        for name in ("cached_files", "resolve_revision", "list_repo_templates", "has_file", "hf_api"):
            self._swaps.define(module, name, getattr(self, f"_{name}"))
        if "hf_api" not in vars(module):
            # 4.57: modules bind these functions of huggingface_hub, some inside a function at call time.
            hub = sys.modules["huggingface_hub"]
            self._swaps.define(module, "hf_hub_download", self._hf_hub_download)
            self._downloads_one = True
            self._swaps.define(hub, "model_info", self._model_info)
            self._swaps.define(hub, "list_repo_files", self._list_repo_files)

    def undo(self) -> None:
        """Put every function back and take our methods off the shared ``HfApi``."""
        self._swaps.undo()
        for api, names in self._routed:
            for name in names:
                vars(api).pop(name, None)
        self._routed.clear()

    # -- asking -----------------------------------------------------------------------------------------------

    def _ask(self, call: Call) -> tuple[Resolver | None, Pinned | None]:
        resolver = self._current()
        if resolver is None or not names_repo(call.repo) or not call.regular:
            return None, None
        call.cache_dir = call.cache_dir or resolver.cache_dir or _transformers_cache()
        return resolver, resolver.resolve(
            str(call.repo), call.revision, repo_type=call.repo_type, cache_dir=call.cache_dir
        )

    # -- transformers.utils.hub -------------------------------------------------------------------------------

    def _cached_files(self, original: Function) -> Function:
        @functools.wraps(original)
        def cached_files(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            if call.cache_dir is not None:
                call.put("cache_dir", call.cache_dir)
            if pinned is not None and not call.get("force_download"):
                call.put("revision", hub_types.resolved_revision(call, pinned.commit))
                if pinned.deliver(call.paths, local=bool(call.get("local_files_only"))):
                    # 4.57 asks hf_hub_download for a single file; only that can say that a file is absent.
                    alone = len(call.paths) == 1 and self._downloads_one
                    return call.run() if alone else call.run(local_files_only=True)
            found = call.run_beyond(pinned or resolver)
            resolver.seen(str(call.repo), call.revision, found or (), repo_type=call.repo_type)
            return found

        return cached_files

    def _hf_hub_download(self, original: Function) -> Function:
        @functools.wraps(original)
        def hf_hub_download(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            _, pinned = self._ask(call)
            if pinned is None or call.get("local_files_only") or call.get("force_download"):
                return original(*args, **kwargs)
            path = joined(call.get("subfolder"), str(call.get("filename")))
            if pinned.has(path) is False:
                # What the hub's client raises after a 404: the caller makes its own words of it.
                error = sys.modules["huggingface_hub"].utils.EntryNotFoundError
                raise error(f"{path} is not among the files of {call.repo} at {pinned.commit}.")
            return original(*args, **kwargs)

        return hf_hub_download

    def _resolve_revision(self, original: Function) -> Function:
        @functools.wraps(original)
        def resolve_revision(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None or os.path.exists(str(call.repo)):
                return original(*args, **kwargs)
            return call.run_beyond(resolver) if pinned is None else hub_types.resolved_revision(call, pinned.commit)

        return resolve_revision

    def _list_repo_templates(self, original: Function) -> Function:
        @functools.wraps(original)
        def list_repo_templates(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            if pinned is None or pinned.listing is None:
                return call.run_beyond(pinned or resolver)
            return [name for name in hub_types.children(pinned.listing, TEMPLATES) if name.endswith(".jinja")]

        return list_repo_templates

    def _has_file(self, original: Function) -> Function:
        @functools.wraps(original)
        def has_file(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            known = None if pinned is None or call.get("local_files_only") else pinned.has(str(call.get("filename")))
            return call.run_beyond(pinned or resolver) if known is None else known

        return has_file

    # -- the hub's API ----------------------------------------------------------------------------------------

    def _hf_api(self, original: Function) -> Function:
        @functools.wraps(original)
        def hf_api() -> Any:
            api = original()
            if self._current() is not None and "model_info" not in vars(api):
                # On the one shared instance; list_repo_files and repo_info go through these by themselves.
                routes = {
                    "model_info": self._model_info,
                    "list_repo_tree": self._list_repo_tree,
                    "repo_exists": self._repo_exists,
                }
                for name, wrap in routes.items():
                    setattr(api, name, wrap(getattr(api, name)))
                self._routed.append((api, list(routes)))
            return api

        return hf_api

    def _model_info(self, original: Function) -> Function:
        @functools.wraps(original)
        def model_info(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None and pinned.info is not None and not _asks_more(call):
                return hub_types.model_info(str(call.repo), pinned)
            hub_types.forbid(call, pinned or resolver)
            info = original(*args, **kwargs)
            if resolver is not None and info.sha is not None:
                resolver.informed(str(call.repo), info.sha, repo_type="model", info=info)
            return info

        return model_info

    def _list_repo_tree(self, original: Function) -> Function:
        @functools.wraps(original)
        def list_repo_tree(*args: Any, **kwargs: Any) -> Iterator[Any]:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None and pinned.listing is not None and not call.get("expand"):
                yield from hub_types.tree(
                    pinned.listing, str(call.get("path_in_repo") or ""), bool(call.get("recursive"))
                )
                return
            hub_types.forbid(call, pinned or resolver)
            commit = commit_of(call.get("revision"))
            if commit is not None:
                # A ResolvedRevision is sent as the branch that it was; the branch may have moved on since.
                call.put("revision", commit)
            entries = []
            for entry in call.run():
                entries.append(entry)
                yield entry
            if resolver is not None and commit and call.get("recursive") and not call.get("path_in_repo"):
                resolver.listed(str(call.repo), commit, repo_type=call.repo_type, entries=entries)

        return list_repo_tree

    def _list_repo_files(self, original: Function) -> Function:
        @functools.wraps(original)
        def list_repo_files(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None and pinned.listing is not None:
                return sorted(pinned.listing)
            hub_types.forbid(call, pinned or resolver)
            commit = _settled(resolver, call) if resolver is not None else None
            if resolver is None or commit is None or not hasattr(original, "__self__"):
                return original(*args, **kwargs)
            # The request that list_repo_files makes, at the commit that the files of this load came from.
            ask = original.__self__.list_repo_tree
            entries = list(ask(call.repo, recursive=True, revision=commit, token=call.get("token")))
            resolver.listed(str(call.repo), commit, repo_type=call.repo_type, entries=entries)
            return [entry.path for entry in entries if hasattr(entry, "blob_id")]

        return list_repo_files

    def _repo_exists(self, original: Function) -> Function:
        @functools.wraps(original)
        def repo_exists(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None:
                return True
            hub_types.forbid(call, resolver)
            return original(*args, **kwargs)

        return repo_exists

    def _auto_conversion(self, original: Function) -> Function:
        @functools.wraps(original)
        def auto_conversion(*args: Any, **kwargs: Any) -> Any:
            # The background thread after a .bin load asks the hub to convert; for a pinned model there is no need.
            call = Call(original, args, kwargs, repo="pretrained_model_name_or_path")
            beside = call.get("ignore_errors_during_conversion")
            pinned = self._ask(call)[1] if beside else None
            return None if pinned is not None else original(*args, **kwargs)

        return auto_conversion


def _settled(resolver: Resolver, call: Call) -> str | None:
    return resolver.commit(str(call.repo), call.revision, repo_type=call.repo_type, cache_dir=call.cache_dir)


def _asks_more(call: Call) -> bool:
    return any(call.get(name) for name in ("securityStatus", "files_metadata", "expand"))


def _transformers_cache() -> str | None:
    # 4.57 still has a default of its own, from the old variable TRANSFORMERS_CACHE.
    return getattr(sys.modules.get(HUB), "TRANSFORMERS_CACHE", None)
