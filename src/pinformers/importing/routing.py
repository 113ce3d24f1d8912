"""The download-layer route: everything through which transformers finds a file of a repo, answered from pins.

All classes, pipelines and processors resolve files in ``transformers.utils.hub``; what else asks the hub goes through
the shared ``HfApi`` (5.x) or functions of huggingface_hub that modules have bound by name (4.57).
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

from pinformers.importing.swaps import Function, Swaps

HUB = "transformers.utils.hub"
CONVERSION = "transformers.safetensors_conversion"
TEMPLATES = "additional_chat_templates"
_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SNAPSHOT = re.compile(r"snapshots[/\\]([0-9a-f]{40})[/\\]")


Listing = Mapping[str, Mapping[str, Any]]


class Pinned(Protocol):
    """One repo at one commit, as far as pins know it."""

    @property
    def commit(self) -> str: ...
    @property
    def listing(self) -> Listing | None:
        """Every path of the commit with what the hub's tree says of it, or None when only some are known."""

    @property
    def info(self) -> Mapping[str, Any] | None:
        """What the hub said of the model beside its files (``pipeline_tag``, ``tags``), or None."""

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for what the pin does not hold."""

    def has(self, path: str) -> bool | None:
        """Whether ``path`` exists at the commit; None when that is not known."""

    def deliver(self, paths: Sequence[str], *, local: bool) -> bool:
        """Put ``paths`` in place; True when each now lies in the hub cache or is known to be absent."""


class Resolver(Protocol):
    """What the route asks, and what it tells. ``None`` for a revision is the default branch."""

    @property
    def cache_dir(self) -> str | None:
        """The cache that a call without ``cache_dir`` uses; None for the default of transformers."""

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for a model that no pin names."""

    def resolve(self, repo: str, revision: str | None, *, repo_type: str, cache_dir: str | None) -> Pinned | None: ...
    def commit(self, repo: str, revision: str | None, *, repo_type: str, cache_dir: str | None) -> str | None:
        """The commit at which this machine last saw a revision, or None."""
    def seen(self, repo: str, revision: str | None, paths: Sequence[str], *, repo_type: str) -> None:
        """Files of ``repo`` that plain transformers put at ``paths``."""

    def listed(self, repo: str, commit: str, *, repo_type: str, entries: Sequence[object]) -> None:
        """The complete tree of a commit, as the hub's client returned it."""

    def informed(self, repo: str, commit: str, *, repo_type: str, info: object) -> None:
        """The hub's account of a model at a commit."""


def names_repo(value: object) -> bool:
    """Whether ``value`` can name a repo: a string of the hub's form that is no folder here."""
    return isinstance(value, str) and _REPO.fullmatch(value) is not None and not os.path.isdir(value)


def commit_of(revision: object) -> str | None:
    """The commit that a revision says by itself: a hash, or a ``ResolvedRevision``."""
    resolved = getattr(revision, "resolved", revision)
    return resolved if isinstance(resolved, str) and _COMMIT.fullmatch(resolved) else None


class Route:
    """Wrappers for the functions of the download layer; each passes through while ``current()`` is None."""

    def __init__(self, current: Callable[[], Resolver | None]) -> None:
        self._current = current
        self._swaps = Swaps()
        self._routed: list[tuple[object, list[str]]] = []

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
        if resolver is None or not names_repo(call.repo):
            return None, None
        call.cache_dir = call.cache_dir or resolver.cache_dir or _transformers_cache()
        return resolver, resolver.resolve(
            str(call.repo), call.revision, repo_type=call.repo_type, cache_dir=call.cache_dir
        )

    # -- transformers.utils.hub -------------------------------------------------------------------------------

    def _cached_files(self, original: Function) -> Function:
        commit_argument = "_commit_hash" in inspect.signature(original).parameters

        @functools.wraps(original)
        def cached_files(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None:
                return original(*args, **kwargs)
            if call.cache_dir is not None:
                call.put("cache_dir", call.cache_dir)
            if pinned is not None and not call.get("force_download"):
                call.pin_to(pinned, commit_argument)
                if pinned.deliver(call.paths, local=bool(call.get("local_files_only"))):
                    return call.run(local_files_only=True)
            found = call.run_beyond(pinned or resolver)
            resolver.seen(str(call.repo), call.revision, found or (), repo_type=call.repo_type)
            return found

        return cached_files

    def _resolve_revision(self, original: Function) -> Function:
        @functools.wraps(original)
        def resolve_revision(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo_id")
            resolver, pinned = self._ask(call)
            if resolver is None or os.path.exists(str(call.repo)):
                return original(*args, **kwargs)
            return call.run_beyond(resolver) if pinned is None else _resolved(call, pinned.commit)

        return resolve_revision

    def _list_repo_templates(self, original: Function) -> Function:
        @functools.wraps(original)
        def list_repo_templates(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            _, pinned = self._ask(call)
            if pinned is None or pinned.listing is None:
                return original(*args, **kwargs)
            return [name for name in _children(pinned.listing, TEMPLATES) if name.endswith(".jinja")]

        return list_repo_templates

    def _has_file(self, original: Function) -> Function:
        @functools.wraps(original)
        def has_file(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="path_or_repo")
            _, pinned = self._ask(call)
            known = None if pinned is None or call.get("local_files_only") else pinned.has(str(call.get("filename")))
            return original(*args, **kwargs) if known is None else known

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
                return _model_info(str(call.repo), pinned)
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
                yield from _tree(pinned.listing, str(call.get("path_in_repo") or ""), bool(call.get("recursive")))
                return
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
            _, pinned = self._ask(call)
            return True if pinned is not None else original(*args, **kwargs)

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


class Call:
    """One call of a download-layer function, its arguments by name however they came."""

    def __init__(self, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any], *, repo: str) -> None:
        self._original, self._args, self._kwargs = original, args, kwargs
        self._positional = dict(zip(_parameters(original), args, strict=False))
        self.repo = self.get(repo)
        self.revision: str | None = self.get("revision")
        if self.revision is None:
            # 4.57 says by this that an earlier file of the same load settled the commit.
            self.revision = commit_of(self.get("_commit_hash"))
        self.repo_type = str(self.get("repo_type") or "model")
        cache_dir = self.get("cache_dir")
        self.cache_dir: str | None = None if cache_dir is None else os.fspath(cache_dir)

    def get(self, name: str) -> Any:
        return self._kwargs.get(name, self._positional.get(name))

    def put(self, name: str, value: object) -> None:
        if name in self._positional:
            place = _parameters(self._original).index(name)
            self._args = (*self._args[:place], value, *self._args[place + 1 :])
        else:
            self._kwargs = {**self._kwargs, name: value}

    @property
    def paths(self) -> list[str]:
        """The POSIX paths inside the repo that the call asks for."""
        folder = self.get("subfolder") or ""
        return [os.path.normpath(os.path.join(folder, name)).replace(os.sep, "/") for name in self.get("filenames")]

    def pin_to(self, pinned: Pinned, commit_argument: bool) -> None:
        """Ask for the pinned commit, under the revision's own name where the version has a type for that."""
        self.put("revision", _resolved(self, pinned.commit))
        if commit_argument:
            self.put("_commit_hash", pinned.commit)

    def run(self, **kwargs: object) -> Any:
        for name, value in kwargs.items():
            self.put(name, value)
        return self._original(*self._args, **self._kwargs)

    def run_beyond(self, answer: Pinned | Resolver) -> Any:
        """Ask as the caller did, or local files only where the hub may not be asked."""
        return self.run() if answer.hub_allowed else self.run(local_files_only=True)


@functools.lru_cache(maxsize=64)
def _parameters(function: Function) -> list[str]:
    return list(inspect.signature(function).parameters)


def _transformers_cache() -> str | None:
    # 4.57 still has a default of its own, from the old variable TRANSFORMERS_CACHE.
    return getattr(sys.modules.get(HUB), "TRANSFORMERS_CACHE", None)


def _resolved(call: Call, commit: str) -> str:
    resolved = getattr(sys.modules["huggingface_hub"], "ResolvedRevision", None)
    if resolved is None:
        return commit
    revision = getattr(call.revision, "initial", call.revision)
    value: str = resolved(resolved=commit, initial=revision, repo_id=str(call.repo), repo_type=call.repo_type)
    return value


def _settled(resolver: Resolver, call: Call) -> str | None:
    return resolver.commit(str(call.repo), call.revision, repo_type=call.repo_type, cache_dir=call.cache_dir)


def _asks_more(call: Call) -> bool:
    return any(call.get(name) for name in ("securityStatus", "files_metadata", "expand"))


def _model_info(repo: str, pinned: Pinned) -> Any:
    api = sys.modules["huggingface_hub"].hf_api
    siblings = [{"rfilename": path} for path in sorted(pinned.listing or ())]
    return api.ModelInfo(**{**(pinned.info or {}), "id": repo, "sha": pinned.commit, "siblings": siblings})


def _children(listing: Collection[str], folder: str) -> list[str]:
    rest = (path[len(folder) + 1 :] for path in sorted(listing) if path.startswith(f"{folder}/"))
    return [name for name in rest if "/" not in name]


def _tree(listing: Listing, folder: str, recursive: bool) -> Iterator[Any]:
    api = sys.modules["huggingface_hub"].hf_api
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    names = sorted(path for path in listing if path.startswith(prefix))
    folders = {path[: place + len(prefix)] for path in names if (place := path[len(prefix) :].find("/")) >= 0}
    yield from (api.RepoFolder(path=path, oid="") for path in sorted(folders))
    for path in names:
        if recursive or "/" not in path[len(prefix) :]:
            yield _repo_file(api, path, listing[path])


def _repo_file(api: Any, path: str, entry: Mapping[str, Any]) -> Any:
    sha256 = entry.get("lfs_sha256")
    lfs = {"lfs": {"oid": sha256, "size": entry.get("lfs_size"), "pointerSize": 0}} if sha256 else {}
    xet = {"xetHash": entry["xet_hash"]} if entry.get("xet_hash") else {}
    return api.RepoFile(path=path, size=entry.get("size", 0), oid=entry.get("blob_id", ""), **lfs, **xet)
