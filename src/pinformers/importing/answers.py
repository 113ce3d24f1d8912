"""What the functions of the download layer answer where a pin does, and how they are asked where none does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import FunctionType
from typing import TYPE_CHECKING, Any

from pinformers.importing import hub_types
from pinformers.importing.calls import Call, commit_of, names_repo
from pinformers.importing.heard import Heard
from pinformers.importing.standing_in import Function
from pinformers.importing.swaps import namespace

if TYPE_CHECKING:
    from pinformers.importing.protocols import Pinned, Resolver

HUB = "transformers.utils.hub"
TEMPLATES = "additional_chat_templates"
# What looks for a file in the cache.
_CLIENT, _LOOKS = "huggingface_hub.file_download", ("try_to_load_from_cache", "hf_hub_download")


class Answers:
    """A wrapper for each function; all pass through while ``current()`` is None."""

    def __init__(self, current: Callable[[], Resolver | None], heard: Heard) -> None:
        self._current, self._heard = current, heard
        self.downloads_one = False
        """Whether ``cached_files`` asks ``hf_hub_download`` for a single file, as in 4.57."""

    def _ask(self, call: Call) -> tuple[Resolver | None, Pinned | None]:
        resolver = self._current()
        if resolver is None or not call.regular or not isinstance(call.repo, str) or call.names_folder:
            return None, None
        call.cache_dir = call.cache_dir or resolver.cache_dir or _transformers_cache()
        if (referred := call.refer(resolver)) is not None:
            return resolver, referred
        if not names_repo(call.repo):
            return None, None
        return resolver, self._heard.resolve(resolver, call.repo, call.revision, call.repo_type, call.cache_dir)

    # -- transformers.utils.hub -------------------------------------------------------------------------------

    def cached_files(self, original: Function) -> Function:
        # What another's loader has compiled, as that of typeguard, looks at the arguments that it is given.
        written = type(namespace(sys.modules.get(HUB)).get("__loader__")) is SourceFileLoader
        own = written and original.__module__ == HUB and not hasattr(original, "__wrapped__")

        def cached_files(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            if call.cache_dir is not None:
                call.put("cache_dir", call.cache_dir)
            if pinned is not None and not call.forces(resolver):
                call.put("revision", hub_types.resolved_revision(call, pinned.commit))
                if pinned.deliver(call.paths, local=bool(call.get("local_files_only"))):
                    # What somebody has put in its place, or under it, is called.
                    if own and _looks_itself(original):
                        placed = call.placed(pinned, call.cache_dir or _hub_cache())
                        if placed is not None:
                            return placed or None
                    # 4.57 asks hf_hub_download for a single file; only that can say that a file is absent.
                    alone = len(call.paths) == 1 and self.downloads_one
                    return call.run_within(pinned, **({} if alone else {"local_files_only": True}))
            found = call.run_beyond(pinned or resolver)
            resolver.seen(str(call.repo), call.revision, found or (), repo_type=call.repo_type)
            return found

        return cached_files

    def resolve_revision(self, original: Function) -> Function:
        def resolve_revision(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            if hub_types.resolved_for(call):
                # Told before, and asked a few times a load; the original gives it back too.
                return call.asked
            resolver, pinned = self._ask(call)
            if resolver is None or os.path.exists(str(call.repo)):
                return original(*args, **kwargs)
            return call.run_beyond(resolver) if pinned is None else hub_types.resolved_revision(call, pinned.commit)

        return resolve_revision

    def list_repo_templates(self, original: Function) -> Function:
        def list_repo_templates(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            if pinned is None or pinned.listing is None:
                return call.run_beyond(pinned or resolver)
            return [name for name in hub_types.children(pinned.listing, TEMPLATES) if name.endswith(".jinja")]

        return list_repo_templates

    def has_file(self, original: Function) -> Function:
        def has_file(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            # What is no path as the hub writes it, and what is no path at all, is the original's to answer.
            path = call.get("filename") if call.exact and not call.get("local_files_only") else None
            known = None if pinned is None or path is None else pinned.has(path)
            return call.run_beyond(pinned or resolver) if known is None else known

        return has_file

    # -- the hub's API ------------------------------------------------------------------------------------------

    def model_info(self, original: Function) -> Function:
        def model_info(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            # A folder's is read out of its files: once.
            if pinned is not None and not call.asks_more and (account := pinned.info) is not None:
                return hub_types.repo_info(str(call.repo), "model", pinned, account)
            hub_types.forbid(call.repo, pinned or resolver)
            info = original(*args, **kwargs)
            if resolver is not None and info.sha is not None:
                resolver.informed(str(call.repo), info.sha, repo_type="model", info=info)
            return info

        return model_info

    def list_repo_tree(self, original: Function) -> Function:
        def list_repo_tree(*args: Any, **kwargs: Any) -> Iterator[Any]:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            folder, recursive = str(call.get("path_in_repo") or ""), bool(call.get("recursive"))
            if pinned is not None and pinned.listing is not None and not call.get("expand"):
                return hub_types.tree(pinned.listing, folder, recursive)
            hub_types.forbid(call.repo, pinned or resolver)
            commit = commit_of(call.get("revision"))
            if commit is not None:
                # A ResolvedRevision is sent as the branch that it was; the branch may have moved on since.
                call.put("revision", commit)
            # What the original says of its arguments, it says now; it asks when the first entry is wanted.
            entries = call.run()
            return self._listed(resolver, call, commit, entries) if commit and recursive and not folder else entries

        return list_repo_tree

    def _listed(self, resolver: Resolver | None, call: Call, commit: str, entries: Iterator[Any]) -> Iterator[Any]:
        complete = []
        for entry in entries:
            complete.append(entry)
            yield entry
        if resolver is not None:
            resolver.listed(str(call.repo), commit, repo_type=call.repo_type, entries=complete)

    def list_repo_files(self, original: Function) -> Function:
        def list_repo_files(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None and pinned.listing is not None:
                return sorted(pinned.listing)
            hub_types.forbid(call.repo, pinned or resolver)
            commit = _settled(resolver, call) if resolver is not None else None
            api = call.get("self")
            if resolver is None or commit is None or api is None:
                return original(*args, **kwargs)
            # The request that list_repo_files makes, at the commit that the files of this load came from.
            said = {"revision": commit, "repo_type": call.get("repo_type"), "token": call.get("token")}
            entries = list(api.list_repo_tree(call.repo, recursive=True, **said))
            resolver.listed(str(call.repo), commit, repo_type=call.repo_type, entries=entries)
            return [entry.path for entry in entries if hasattr(entry, "blob_id")]

        return list_repo_files

    def repo_exists(self, original: Function) -> Function:
        def repo_exists(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver, pinned = self._ask(call)
            if pinned is not None:
                return True
            hub_types.forbid(call.repo, resolver)
            return original(*args, **kwargs)

        return repo_exists

    def auto_conversion(self, original: Function) -> Function:
        def auto_conversion(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="pretrained_model_name_or_path")
            # Beside a .bin load a thread asks the hub to convert; for a pinned model there is no need.
            beside = call.get("ignore_errors_during_conversion")
            pinned = self._ask(call)[1]
            if pinned is not None and beside:
                return None
            # Without, its caller waits for the weights, and says then that there are none.
            return (None, call.asked, False) if call.referred else original(*args, **kwargs)

        return auto_conversion

    # -- transformers.dynamic_module_utils --------------------------------------------------------------------

    def get_cached_module_file(self, original: Function) -> Function:
        def get_cached_module_file(*args: Any, **kwargs: Any) -> Any:
            # Modules are named after the repo, and not every reference can be a module's name.
            call = Call(original, args, kwargs, repo="pretrained_model_name_or_path")
            resolver = self._current() if call.regular else None
            referred = None if resolver is None else call.refer(resolver)
            return original(*args, **kwargs) if referred is None else call.run()

        return get_cached_module_file


def _settled(resolver: Resolver, call: Call) -> str | None:
    return resolver.commit(str(call.repo), call.revision, repo_type=call.repo_type, cache_dir=call.cache_dir)


def _looks_itself(function: Function) -> bool:
    names, client = function.__globals__, namespace(sys.modules.get(_CLIENT))
    return all(type(names.get(name)) is FunctionType and names[name] is client.get(name) for name in _LOOKS)


def _hub_cache() -> str:
    return str(sys.modules["huggingface_hub"].constants.HF_HUB_CACHE)


def _transformers_cache() -> str | None:
    # 4.57 still has a default of its own, from the old variable TRANSFORMERS_CACHE.
    return getattr(sys.modules.get(HUB), "TRANSFORMERS_CACHE", None)
