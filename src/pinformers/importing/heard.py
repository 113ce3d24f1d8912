"""What the hub was heard to say of a repo, told to the resolver once a file of that commit has come."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pinformers.importing.calls import Call, commit_of
from pinformers.importing.standing_in import Function

if TYPE_CHECKING:
    from pinformers.importing.protocols import Pinned, Resolver

_SNAPSHOT = r"[/\\]snapshots[/\\]([0-9a-f]{40})(?:[/\\]|$)"
_Key = tuple[str, str, str]
# Those that send several requests: what the last was answered says nothing of the ones before.
SEVERAL = ("upload_folder", "permanently_delete_lfs_files")
# What moves a branch or a tag, or has another repo stand under a name. Every other upload and deletion ends in
# create_commit; upload_folder, in 2.4 with hf_xet, sends its commits past it.
WRITES = (
    *("create_commit", "merge_pull_request", "super_squash_history", *SEVERAL),
    *("create_branch", "delete_branch", "create_tag", "delete_tag", "delete_repo", "move_repo"),
)
# Errors of the hub's client that say that no request arrived: of httpx, and of urllib3 below requests.
_UNSENT = {"ConnectError", "ConnectTimeout", "NewConnectionError"}
K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """The last few of what was kept, by any thread; a process that goes through many repos does not grow by it."""

    def __init__(self, most: int = 256) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> None:
        self.pop(key, None)
        self[key] = value
        while len(self) > self._most:
            # In one step: between the look for the oldest and its end, another thread changes what there is.
            with suppress(KeyError):
                self.popitem(last=False)


class Heard:
    """A repo that is only asked about leaves no record; one that is loaded has its complete listing from there."""

    def __init__(self) -> None:
        # A load asks for one repo, or a few (an adapter and its base), before the first file of it comes.
        self._facts: Recent[_Key, list[Callable[[Resolver], None]]] = Recent(8)
        self._loaded: Recent[_Key, None] = Recent()
        self._written: Recent[tuple[str, str], None] = Recent(4096)

    def info(self, resolver: Resolver | None, repo: str, commit: str, repo_type: str, info: object) -> None:
        """Take in an account of a repo; one that was loaded before is told of at once."""
        fact = lambda to: to.informed(repo, commit, repo_type=repo_type, info=info)  # noqa: E731
        self._take(resolver, (repo_type, repo, commit), fact)

    def tree(
        self, resolver: Resolver | None, repo: str, commit: str, repo_type: str, entries: Sequence[object]
    ) -> None:
        """Take in a complete tree."""
        fact = lambda to: to.listed(repo, commit, repo_type=repo_type, entries=entries)  # noqa: E731
        self._take(resolver, (repo_type, repo, commit), fact)

    def seen(self, resolver: Resolver, call: Call, paths: Sequence[str]) -> None:
        """Tell of files that plain huggingface_hub put at ``paths``, and of what was heard of their commit."""
        repo = str(call.repo)
        resolver.seen(repo, call.revision, paths, repo_type=call.repo_type)
        for commit in {match[1] for path in paths if (match := re.search(_SNAPSHOT, path))}:
            key = (call.repo_type, repo, commit)
            self._loaded.keep(key, None)
            for fact in self._facts.pop(key, ()):
                fact(resolver)

    def writing(self, original: Function) -> Function:
        """Wrap a method of ``WRITES``: who wrote reads what was written, not the pin of before."""

        def write(*args: Any, **kwargs: Any) -> Any:
            calls = [Call(original, args, kwargs, repo=name) for name in ("repo_id", "from_id", "to_id")]
            refused = False
            try:
                return original(*args, **kwargs)
            except Exception as exc:
                refused = _refused(exc, several=getattr(original, "__name__", "") in SEVERAL)
                raise
            finally:
                for call in calls:
                    if call.repo is not None and not refused:
                        self._written.keep((call.repo_type, str(call.repo)), None)

        return write

    def resolve(
        self, resolver: Resolver, repo: str, revision: str | None, repo_type: str, cache_dir: str | None
    ) -> Pinned | None:
        """Ask which pin answers; of a branch that may have moved since, the resolver is told."""
        moved = self.written(repo, revision, repo_type)
        return resolver.resolve(repo, revision, repo_type=repo_type, cache_dir=cache_dir, moved=moved)

    def written(self, repo: str, revision: str | None, repo_type: str) -> bool:
        """Whether a branch may have moved by a commit of this process."""
        return (repo_type, repo) in self._written and commit_of(revision) is None

    def _take(self, resolver: Resolver | None, key: _Key, fact: Callable[[Resolver], None]) -> None:
        if resolver is None:
            return
        if key in self._loaded:
            fact(resolver)
            return
        self._facts.keep(key, [*self._facts.get(key, ()), fact])


def _refused(error: Exception, *, several: bool) -> bool:
    """Whether the hub did nothing; where its answer was lost, it may have done what it was asked for."""
    if type(error).__name__ == "OfflineModeIsEnabled":
        return True
    if several:
        return False
    answer = getattr(error, "response", None)
    if answer is not None:
        return bool(answer.status_code < 500)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return not _UNSENT.isdisjoint(kind.__name__ for cause in (error, reason) for kind in type(cause).__mro__)


def files_of(found: str) -> list[str]:
    """Return the paths of the files of a snapshot folder."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(found) for name in names]
