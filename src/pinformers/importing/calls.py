"""One call of a download-layer function, read without caring how its arguments came."""

from __future__ import annotations

import enum
import functools
import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pinformers.importing.standing_in import Function

if TYPE_CHECKING:
    from pinformers.importing.protocols import Pinned, Resolver

# Compiled when first used, which an import need not wait for.
_REPO = r"[\w.-]+(/[\w.-]+)?"
_COMMIT = r"[0-9a-f]{40}"


class _Plain(enum.Enum):
    PLAIN = "plain"


PLAIN: Final = _Plain.PLAIN
Outer: TypeAlias = "Pinned | Literal[_Plain.PLAIN] | None"
_OUTER: ContextVar[Outer] = ContextVar("pinformers_outer", default=None)


def within() -> Outer:
    """What the call that this one is part of is answered from: a pin, or PLAIN for none; None: it is part of none."""
    return _OUTER.get()


@contextmanager
def answered_by(outer: Outer) -> Iterator[None]:
    """Answer the calls that the original makes by itself as the call it was made for; they are not asked for again."""
    token = _OUTER.set(outer)
    try:
        yield
    finally:
        _OUTER.reset(token)


def names_repo(value: object) -> bool:
    """Whether ``value`` has the form of the hub's names."""
    return isinstance(value, str) and re.fullmatch(_REPO, value) is not None


def commit_of(revision: object) -> str | None:
    """The commit that a revision says by itself: a hash, or a ``ResolvedRevision``."""
    resolved = getattr(revision, "resolved", revision)
    return resolved if isinstance(resolved, str) and re.fullmatch(_COMMIT, resolved) else None


class Call:
    """One call of a download-layer function, its arguments by name however they came."""

    def __init__(self, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any], *, repo: str) -> None:
        self._original, self._args, self._kwargs = original, args, kwargs
        self._positional = dict(zip(_parameters(original), args, strict=False))
        self._repo = repo
        self.repo = self.get(repo)
        self.asked: str | None = _own(self.get("revision"), self.repo)
        self.referred = False
        """Whether the name is no hub name; the original is then called with the name that it stands for."""
        self.revision = self.asked
        if self.revision is None:
            # 4.57 says by this that an earlier file of the same load settled the commit.
            self.revision = commit_of(self.get("_commit_hash"))
        self.repo_type = str(self.get("repo_type") or "model")
        cache_dir = self.get("cache_dir")
        self.cache_dir: str | None = os.fspath(cache_dir) if isinstance(cache_dir, os.PathLike) else cache_dir

    @property
    def regular(self) -> bool:
        """Whether every argument is of the kind that names a file of a repo; what else it means is not ours to say."""
        folder, files = self.get("subfolder") or ".", self._filenames or (".",)
        return (
            (self.revision is None or (isinstance(self.revision, str) and self.revision != ""))
            # An empty one is the working directory to transformers, and not the default.
            and (self.cache_dir is None or (self.cache_dir != "" and _encodable(self.cache_dir)))
            and isinstance(files, list | tuple)
            and all(isinstance(name, str) and _names_file(name) for name in (folder, *files))
            and not any(name.endswith("/") for name in files)
        )

    @functools.cached_property
    def names_folder(self) -> bool:
        """Whether a folder of this machine has the name."""
        return isinstance(self.repo, str) and os.path.isdir(self.repo)

    def get(self, name: str) -> Any:
        return self._kwargs.get(name, self._positional.get(name))

    def put(self, name: str, value: object) -> None:
        if name in self._positional:
            place = _parameters(self._original)[name]
            self._args = (*self._args[:place], value, *self._args[place + 1 :])
        else:
            self._kwargs = {**self._kwargs, name: value}

    @functools.cached_property
    def paths(self) -> list[str]:
        """The POSIX paths inside the repo that the call asks for."""
        return [joined(self.get("subfolder"), name) for name in self._filenames]

    @property
    def exact(self) -> bool:
        """Whether the paths are written as the hub writes them: it has no ``a//b``, no ``./a`` and no ``.``."""
        written = ["/".join(filter(None, (self.get("subfolder"), name))) for name in self._filenames]
        return written == self.paths and "." not in written

    def placed(self, pinned: Pinned, cache_dir: str) -> list[str] | None:
        """The files of these that there are, where ``pinned`` has put them in place; None where the original says more.

        It would look for the pin's folder, and list it, for each of them.
        """
        words = self._kwargs.keys() <= _parameters(self._original).keys()
        # 4.57 looks first among the files of the commit that an earlier one settled, whatever the revision is by now.
        other = self.get("_commit_hash") not in (None, pinned.commit)
        if other or not (words and self.paths and self.exact):
            return None
        there = [pinned.has(path) for path in self.paths]
        # Of one that is missing it raises unless it is told not to.
        if None in there or (False in there and self.get("_raise_exceptions_for_missing_entries") is not False):
            return None
        snapshot = os.path.join(cache_dir, pinned.folder, "snapshots", pinned.commit)
        names = [name for name, has in zip(self._filenames, there, strict=True) if has]
        found = [os.path.join(snapshot, self.get("subfolder") or "", name) for name in names]
        # Not by a name that means another folder to the original: one with ~ in it.
        return found if all(map(os.path.isfile, found)) else None

    @functools.cached_property
    def _filenames(self) -> Any:
        alone = self.get("filename")
        return self.get("filenames") or ([alone] if alone is not None else [])

    @property
    def asks_more(self) -> bool:
        """Whether a question about a repo wants more than a pin says of it."""
        return any(self.get(name) for name in ("securityStatus", "files_metadata", "expand"))

    def refer(self, resolver: Resolver) -> Pinned | None:
        """Have the original called with what the name of this call stands for, where it is no hub name."""
        if self.repo_type != "model" or not isinstance(self.repo, str) or self.names_folder:
            return None
        local = bool(self.get("local_files_only"))
        referred = resolver.refer(self.repo, self.asked, self.paths, local=local, cache_dir=self.cache_dir)
        if referred is not None:
            self._stand_for(referred)
        return referred

    def _stand_for(self, pinned: Pinned) -> None:
        self.referred = True
        self.put(self._repo, pinned.repo)
        if "revision" in _parameters(self._original):
            self.put("revision", pinned.commit)
        if self.cache_dir is not None:
            self.put("cache_dir", self.cache_dir)
        # The same name never has other bytes.
        self._unforce()

    def forces(self, resolver: Resolver) -> bool:
        """Whether the caller wants the hub's files anew; not where none but those of a lockfile may be loaded."""
        if resolver.locked:
            self._unforce()
        return bool(self.get("force_download"))

    def _unforce(self) -> None:
        if self.get("force_download"):
            self.put("force_download", False)

    def run(self, **kwargs: object) -> Any:
        for name, value in kwargs.items():
            self.put(name, value)
        return self._original(*self._args, **self._kwargs)

    def run_within(self, pinned: Pinned, **kwargs: object) -> Any:
        """Run the original over files that ``pinned`` has put in place."""
        with answered_by(pinned):
            return self.run(**kwargs)

    def run_beyond(self, answer: Pinned | Resolver) -> Any:
        """Ask as the caller did, or local files only where the hub may not be asked."""
        with answered_by(PLAIN):
            return self.run() if answer.hub_allowed else self.run(local_files_only=True)


def _own(revision: Any, repo: object) -> Any:
    # A commit that was resolved for another repo says nothing here (an adapter's, when its base model is loaded).
    return revision.initial if getattr(revision, "_repo_id", None) not in (None, repo) else revision


def _encodable(name: object) -> bool:
    if not isinstance(name, str) or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# A load asks for the same few names again and again.
@functools.lru_cache(maxsize=1024)
def _names_file(name: str) -> bool:
    return _encodable(name) and _relative(name)


def _relative(name: str) -> bool:
    parts = name.replace(os.sep, "/").split("/")
    # No file system of today takes a longer name; its error is then the original's.
    return not os.path.isabs(name) and ".." not in parts and bool(name) and all(len(part) < 255 for part in parts)


@functools.lru_cache(maxsize=1024)
def joined(folder: str | None, name: str) -> str:
    return os.path.normpath(os.path.join(folder or "", name)).replace(os.sep, "/")


@functools.lru_cache(maxsize=64)
def _parameters(function: Function) -> dict[str, int]:
    """The names of the parameters, and their places."""
    return {name: place for place, name in enumerate(inspect.signature(function).parameters)}
