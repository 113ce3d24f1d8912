"""What the import wing asks of whoever knows about models, and of whoever installed it. It never learns who that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Listing = Mapping[str, Mapping[str, Any]]


class Pinned(Protocol):
    """One repo at one commit, as far as pins know it."""

    @property
    def repo(self) -> str:
        """The name under which the hub cache has the files: a reference is called otherwise."""

    @property
    def folder(self) -> str:
        """The name of its folder in a hub cache."""

    @property
    def commit(self) -> str: ...
    @property
    def revision(self) -> str:
        """The branch, tag or commit that was asked for."""

    @property
    def listing(self) -> Listing | None:
        """Every path of the commit with what the hub's tree says of it, or None when only some are known."""

    @property
    def info(self) -> Mapping[str, Any] | None:
        """What the hub said of the model beside its files (``pipeline_tag``, ``tags``), or None."""

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for what the pin does not hold."""

    @property
    def kept(self) -> bool:
        """Whether the hub keeps it private or gated, and the settings keep to that."""

    def entry(self, path: str) -> Mapping[str, Any] | None:
        """What the hub's tree says of ``path``, as far as it is known; None where nothing is."""

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

    @property
    def locked(self) -> bool:
        """Whether nothing may be loaded but what a lockfile names."""

    def refer(
        self, name: str, revision: str | None, paths: Sequence[str], *, local: bool, cache_dir: str | None
    ) -> Pinned | None:
        """What a name that is no hub name stands for, or None; ``paths`` are going to be asked for.

        What answers here brings all that it has, or raises; the hub knows nothing of it.
        """

    def resolve(
        self, repo: str, revision: str | None, *, repo_type: str, cache_dir: str | None, moved: bool
    ) -> Pinned | None:
        """The pin that answers, or None; ``moved``: this process may have moved the revision since it was pinned."""

    def commit(self, repo: str, revision: str | None, *, repo_type: str, cache_dir: str | None) -> str | None:
        """The commit at which this machine last saw a revision, or None."""

    def seen(self, repo: str, revision: str | None, paths: Sequence[str], *, repo_type: str) -> None:
        """Files of ``repo`` that plain transformers put at ``paths``."""

    def listed(self, repo: str, commit: str, *, repo_type: str, entries: Sequence[object]) -> None:
        """The complete tree of a commit, as the hub's client returned it."""

    def informed(self, repo: str, commit: str, *, repo_type: str, info: object) -> None:
        """The hub's account of a model at a commit."""


class Events(Protocol):
    """What the hook asks, and tells, the one who installed it."""

    def importing(self) -> bool:
        """The package is about to be patched; False leaves it as it is."""

    def patched(self, names: list[str]) -> None:
        """The package stands, with these Auto* classes."""

    def routing(self) -> bool:
        """huggingface_hub's own functions could be routed; False leaves them as they are."""

    def everything(self) -> bool:
        """Whether, at this moment, pins answer what huggingface_hub's own functions are asked."""
