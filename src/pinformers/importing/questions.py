"""What huggingface_hub's own functions are asked about a repo.

The answer is about the commit that a download would get: a library asks what there is, and then downloads that. What
never changes of a commit, its files, the pin says itself. The rest, such as likes, the hub is asked for at that commit;
where it cannot be reached, the pin answers what it knows.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pinformers.importing import hub_types
from pinformers.importing.calls import PLAIN, Call, answered_by, commit_of, joined, names_repo, within
from pinformers.importing.heard import Heard
from pinformers.importing.standing_in import Function

if TYPE_CHECKING:
    from pinformers.importing.protocols import Pinned, Resolver

T = TypeVar("T")
Pages = Iterator[tuple[list[Any], bool]]
REPO_TYPES = ("model", "dataset", "space")


class About(NamedTuple):
    """What is asked about."""

    repo: object
    revision: str | None
    repo_type: str
    endpoint: object = None


class Questions:
    """A wrapper for each function; while ``everything()`` is false they answer for names by content alone."""

    def __init__(self, current: Callable[[], Resolver | None], everything: Callable[[], bool], heard: Heard) -> None:
        self._current, self._everything, self._heard = current, everything, heard

    def named(self, original: Function) -> Function:
        """Wrap a method that ends in others of these, but checks the name first: a reference is none of the hub's."""

        def method(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            resolver = self._current() if within() is None and call.regular else None
            if resolver is not None:
                call.refer(resolver)
            return call.run()

        return method

    # -- of the files -------------------------------------------------------------------------------------------

    def file_exists(self, original: Function) -> Function:
        def file_exists(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            path = joined(None, str(call.get("filename")))

            def answer(pinned: Pinned) -> bool | None:
                # Whether a token may see what the hub keeps private or gated, the hub alone says; and what it makes of
                # a path that it writes otherwise.
                return None if pinned.kept or (pinned.hub_allowed and not call.exact) else pinned.has(path)

            def ask(commit: str | None) -> Any:
                # The original asks for the metadata of the file, in whose place the pin would stand.
                with answered_by(PLAIN):
                    return _at(call)(commit)

            return self._question(_about(call), ask, answer)

        return file_exists

    def resolve_revision(self, original: Function) -> Function:
        # By itself it would note in the cache, as the hub's word, where a branch stands.
        def resolve_revision(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")

            def answer(pinned: Pinned) -> str:
                return hub_types.resolved_revision(call, _account(call) or pinned.commit)

            return self._question(_about(call), _at(call), answer)

        return resolve_revision

    def list_repo_tree(self, original: Function) -> Function:
        def list_repo_tree(*args: Any, **kwargs: Any) -> Iterator[Any]:
            call = Call(original, args, kwargs, repo="repo_id")
            pages = self._pages(call, lambda entries: (([entry], False) for entry in entries))
            return (entry for entries, _ in pages for entry in entries)

        return list_repo_tree

    def _iter_repo_tree_pages(self, original: Function) -> Function:
        # From 2.4 on list_repo_tree goes through this one, and HfFileSystem asks it too.
        def _iter_repo_tree_pages(*args: Any, **kwargs: Any) -> Pages:
            return self._pages(Call(original, args, kwargs, repo="repo_id"), iter)

        return _iter_repo_tree_pages

    def _pages(self, call: Call, paged: Callable[[Any], Pages]) -> Pages:
        folder, recursive = str(call.get("path_in_repo") or "").strip("/"), bool(call.get("recursive"))

        def ask(commit: str | None) -> Pages:
            pages = paged(_at(call)(commit))
            if commit is None:
                return pages
            # Nothing is asked before the first page is wanted: an unreachable hub shows here.
            return chain([page for _, page in zip(range(1), pages, strict=False)], pages)

        def answer(pinned: Pinned) -> Pages | None:
            if call.get("expand") or pinned.listing is None:
                return None
            return iter([(hub_types.known_tree(call, pinned), True)])

        found = self._question(_about(call), ask, answer)
        commit, listener = commit_of(call.get("revision")), self._listener()
        if listener is None or commit is None or folder or not recursive:
            return found
        return self._heard_of(listener, call, commit, found)

    def _heard_of(self, listener: Resolver, call: Call, commit: str, pages: Pages) -> Pages:
        complete: list[Any] = []
        for entries, finished in pages:
            complete += entries
            yield entries, finished
        if complete:
            self._heard.tree(listener, str(call.repo), commit, call.repo_type, complete)

    def get_paths_info(self, original: Function) -> Function:
        def get_paths_info(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")
            paths = call.get("paths")
            wanted = [paths] if isinstance(paths, str) else list(paths or ())

            def answer(pinned: Pinned) -> list[Any] | None:
                return None if call.get("expand") else hub_types.paths_info(wanted, pinned)

            return self._question(_about(call), _at(call), answer)

        return get_paths_info

    # -- of more than the files ---------------------------------------------------------------------------------

    def get_hf_file_metadata(self, original: Function) -> Function:
        def get_hf_file_metadata(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="url")
            named = hub_types.named_by(call.repo, call.get("endpoint"))
            if named is None:
                return original(*args, **kwargs)

            def ask(commit: str | None) -> Any:
                if commit is not None:
                    call.put("url", hub_types.at_revision(str(call.repo), named.revision, commit))
                return call.run()

            about = About(named.repo, named.revision, named.repo_type, call.get("endpoint"))
            answer = functools.partial(hub_types.file_metadata, str(call.repo), named.path)
            return self._question(about, ask, answer, more=True)

        return get_hf_file_metadata

    def model_info(self, original: Function) -> Function:
        return self._info(original, "model")

    def dataset_info(self, original: Function) -> Function:
        return self._info(original, "dataset")

    def space_info(self, original: Function) -> Function:
        return self._info(original, "space")

    def _info(self, original: Function, repo_type: str) -> Function:
        def repo_info(*args: Any, **kwargs: Any) -> Any:
            call = Call(original, args, kwargs, repo="repo_id")

            def ask(commit: str | None) -> Any:
                info = _at(call)(commit)
                if info.sha is not None and not call.get("expand"):
                    self._heard.info(self._listener(), str(call.repo), info.sha, repo_type, info)
                return info

            def answer(pinned: Pinned) -> Any:
                if call.asks_more or pinned.listing is None:
                    return None
                return hub_types.repo_info(str(call.repo), repo_type, pinned, pinned.info)

            return self._question(_about(call, repo_type), ask, answer, more=True)

        return repo_info

    # -- inner ------------------------------------------------------------------------------------------------

    def _question(
        self, about: About, ask: Callable[[str | None], T], answer: Callable[[Pinned], T | None], *, more: bool = False
    ) -> T:
        """Answer from the pin, or ask at its commit; ``more``: the hub knows more than a pin, so it is asked first."""
        outer, resolver, repo = within(), self._current(), about.repo
        if resolver is None or outer is PLAIN or not isinstance(repo, str):
            return ask(None)
        if outer is not None:
            found = answer(outer) if outer.repo == repo else None
            if found is None and outer.repo == repo:
                hub_types.forbid(repo, outer)
            return ask(None) if found is None else found
        pinned = self._pinned(resolver, repo, about)
        if pinned is None:
            return ask(None)
        found = None if more and pinned.hub_allowed else answer(pinned)
        if found is not None:
            return found
        hub_types.forbid(repo, pinned)
        try:
            return ask(pinned.commit)
        except hub_types.client_errors() as exc:
            found = answer(pinned) if hub_types.unanswered(exc) else None
            if found is None:
                hub_types.reword(exc, pinned.commit, about.revision)
                raise
            return found

    def _pinned(self, resolver: Resolver, repo: str, about: About) -> Pinned | None:
        pinned = None
        if about.repo_type == "model":
            pinned = resolver.refer(repo, about.revision, (), local=False, cache_dir=None)
        if pinned is None and self._everything() and names_repo(repo) and not elsewhere(about):
            pinned = self._heard.resolve(resolver, repo, about.revision, about.repo_type, None)
            if pinned is None:
                hub_types.forbid(repo, resolver)
        return pinned

    def _listener(self) -> Resolver | None:
        return self._current() if self._everything() else None


def elsewhere(about: About) -> bool:
    """Whether it is about what no pin can be of: a repo of another hub, or of a type that is not pinned."""
    endpoint = sys.modules["huggingface_hub"].constants.ENDPOINT
    other = isinstance(about.endpoint, str) and about.endpoint.rstrip("/") != endpoint.rstrip("/")
    return other or about.repo_type not in REPO_TYPES


def _about(call: Call, repo_type: str = "") -> About:
    return About(call.repo, call.revision, repo_type or call.repo_type, getattr(call.get("self"), "endpoint", None))


def _account(call: Call) -> str | None:
    """The commit by an account of the repo that a subclass gives itself: the original goes by that."""
    api, own = call.get("self"), vars(sys.modules["huggingface_hub.hf_api"].HfApi)
    methods = ("repo_info", f"{call.repo_type}_info")
    if commit_of(call.revision) is not None or call.get("local_files_only"):
        return None
    if all(getattr(getattr(api, name, None), "__func__", None) is own.get(name) for name in methods):
        return None
    asked = {"repo_type": call.repo_type, "revision": call.revision, "token": call.get("token")}
    return commit_of(api.repo_info(repo_id=call.repo, **asked).sha)


def _at(call: Call) -> Callable[[str | None], Any]:
    """Ask as the caller did, or about the commit that is given."""

    def ask(commit: str | None) -> Any:
        if commit is not None:
            call.put("revision", commit)
        return call.run()

    return ask
