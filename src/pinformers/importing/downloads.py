"""What huggingface_hub itself downloads: what is pinned comes from the pin; what is not is plain, and recorded."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pinformers.importing import hub_types
from pinformers.importing.calls import PLAIN, Call, answered_by, commit_of, names_repo, within
from pinformers.importing.heard import Heard, Recent, files_of
from pinformers.importing.questions import About, elsewhere
from pinformers.importing.standing_in import Function

if TYPE_CHECKING:
    from pinformers.importing.protocols import Pinned, Resolver


class Downloads:
    """A wrapper for each function; while ``everything()`` is false they answer for names by content alone."""

    def __init__(self, current: Callable[[], Resolver | None], everything: Callable[[], bool], heard: Heard) -> None:
        self._current, self._everything, self._heard = current, everything, heard
        self._snapshots: Recent[tuple[str, str, str], Pinned] = Recent()

    def hf_hub_download(self, original: Function) -> Function:
        def hf_hub_download(*args: Any, **kwargs: Any) -> Any:
            if within() is not None:
                return original(*args, **kwargs)
            call = Call(original, args, kwargs, repo="repo_id")
            return self._download(call, functools.partial(_file, call), lambda found: [found])

        return hf_hub_download

    def snapshot_download(self, original: Function) -> Function:
        def snapshot_download(*args: Any, **kwargs: Any) -> Any:
            if within() is not None:
                return original(*args, **kwargs)
            call = Call(original, args, kwargs, repo="repo_id")
            return self._download(call, functools.partial(_chosen, call), files_of, _alone)

        return snapshot_download

    def file_of_snapshot(self, original: Function) -> Function:
        """Wrap what the threads of a snapshot call: they are part of it, and do not know that it was answered."""

        def hf_hub_download(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            with answered_by(self._snapshots.get((call.repo_type, str(call.repo), str(call.revision)), PLAIN)):
                return original(*args, **kwargs)

        return hf_hub_download

    def _download(
        self,
        call: Call,
        paths: Callable[[Pinned], list[str] | None],
        files: Callable[[str], list[str]],
        alone: Callable[[Call, Pinned], bool] = lambda call, pinned: False,
    ) -> Any:
        resolver, pinned = self._ask(call)
        if resolver is None:
            with answered_by(PLAIN):
                return call.run()
        if pinned is not None and not call.forces(resolver):
            # Whatever the pin lacks comes from the same commit.
            call.put("revision", pinned.commit)
            wanted = paths(pinned)
            if wanted is not None and _served(call, pinned, wanted):
                # What is known of a commit never changes: another snapshot of it may overwrite this, or use it.
                self._snapshots.keep((call.repo_type, pinned.repo, pinned.commit), pinned)
                return call.run_within(pinned, **({"local_files_only": True} if alone(call, pinned) else {}))
        try:
            found = call.run_beyond(pinned or resolver)
        except hub_types.client_errors() as exc:
            if pinned is not None and not call.referred:
                hub_types.reword(exc, pinned.commit, pinned.revision)
            raise
        if isinstance(found, str):
            self._heard.seen(resolver, call, files(found))
        return found

    def _ask(self, call: Call) -> tuple[Resolver | None, Pinned | None]:
        resolver = self._current()
        if resolver is None or not call.regular or not isinstance(call.repo, str):
            return None, None
        call.cache_dir = call.cache_dir or resolver.cache_dir
        if (referred := call.refer(resolver)) is not None:
            return resolver, referred
        about = About(call.repo, call.revision, call.repo_type, call.get("endpoint"))
        if not self._everything() or not names_repo(call.repo) or not call.exact or elsewhere(about):
            return None, None
        if call.cache_dir is not None:
            call.put("cache_dir", call.cache_dir)
        return resolver, self._heard.resolve(resolver, call.repo, call.revision, call.repo_type, call.cache_dir)


def _file(call: Call, pinned: Pinned) -> list[str]:
    absent = pinned.has(*call.paths) is False
    if absent and call.referred:
        # What the hub's client raises after a 404, without the URL of a hub that knows nothing of it.
        error = sys.modules["huggingface_hub"].utils.EntryNotFoundError
        raise error(f"{call.paths[0]} is not among the files of {call.repo} at {pinned.commit}.")
    if absent and commit_of(call.revision) is None and not call.get("local_files_only"):
        # The original, given a commit, takes a folder of it for the file; of a branch it would have asked the hub.
        pinned.deliver(call.paths, local=False)
        hub_types.raise_no_file(call, pinned)
    return call.paths


def _chosen(call: Call, pinned: Pinned) -> list[str] | None:
    """The files that a snapshot is to have, or None where not all of them are known."""
    if pinned.listing is None:
        return None
    patterns = {name: call.get(name) for name in ("allow_patterns", "ignore_patterns")}
    for name, value in patterns.items():
        if isinstance(value, Iterator):
            # A generator can be read once, and the original reads it too.
            patterns[name] = list(value)
            call.put(name, patterns[name])
    return list(sys.modules["huggingface_hub"].utils.filter_repo_objects(sorted(pinned.listing), **patterns))


def _alone(call: Call, pinned: Pinned) -> bool:
    # From 2.4 on the client keeps the listing that it is given; it may not be given half of one.
    return call.get("local_dir") is None and not call.get("dry_run") and not hub_types.described(pinned.listing or {})


def _served(call: Call, pinned: Pinned, paths: list[str]) -> bool:
    # A dry run brings nothing: what it says of each file, it is told by the pin.
    return bool(call.get("dry_run")) or pinned.deliver(paths, local=bool(call.get("local_files_only")))
