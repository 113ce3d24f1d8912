"""What the hub was heard to say of a repo, told to the resolver once a file of that commit has come."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence

from pinformers.importing.calls import Call, commit_of
from pinformers.importing.protocols import Resolver

# A load asks for one repo, or a few (an adapter and its base), before the first file of it comes.
_KEPT = 8
_SNAPSHOT = re.compile(r"[/\\]snapshots[/\\]([0-9a-f]{40})(?:[/\\]|$)")
_Key = tuple[str, str, str]


class Heard:
    """A repo that is only asked about leaves no record; one that is loaded has its complete listing from there."""

    def __init__(self) -> None:
        self._facts: OrderedDict[_Key, list[Callable[[Resolver], None]]] = OrderedDict()
        self._loaded: set[_Key] = set()
        self._written: set[tuple[str, str]] = set()

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
        for commit in {match[1] for path in paths if (match := _SNAPSHOT.search(path))}:
            key = (call.repo_type, repo, commit)
            self._loaded.add(key)
            for fact in self._facts.pop(key, ()):
                fact(resolver)

    def wrote(self, repo: str, repo_type: str) -> None:
        """Take in that this process has committed to a repo."""
        self._written.add((repo_type, repo))

    def written(self, repo: str, revision: str | None, repo_type: str) -> bool:
        """Whether a branch may have moved by a commit of this process."""
        return (repo_type, repo) in self._written and commit_of(revision) is None

    def _take(self, resolver: Resolver | None, key: _Key, fact: Callable[[Resolver], None]) -> None:
        if resolver is None:
            return
        if key in self._loaded:
            fact(resolver)
            return
        self._facts.setdefault(key, []).append(fact)
        self._facts.move_to_end(key)
        while len(self._facts) > _KEPT:
            self._facts.popitem(last=False)


def files_of(found: str) -> list[str]:
    """Return the paths of the files of a snapshot folder."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(found) for name in names]
