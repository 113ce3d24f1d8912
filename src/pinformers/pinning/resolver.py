"""Answer for a repo at a revision: the pin that names it, or nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

from pinformers._errors import NotLocked, NotPinned, PinError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.tensors import Chunking
from pinformers.pinning.access import Gate, Gated
from pinformers.pinning.adoption import Facts, folder_nodes, kept_blocks, model_facts, tree_entry
from pinformers.pinning.cache import RepoCache, normal
from pinformers.pinning.catalog import Catalog, read_ref
from pinformers.pinning.early import Early, expecting_weights
from pinformers.pinning.hub import download_file
from pinformers.pinning.ledger import PLAIN, Ledger, Served
from pinformers.pinning.lookup import Lookup
from pinformers.pinning.offering import Publish
from pinformers.pinning.pin import OID, Pin, check_repo, full_name
from pinformers.pinning.pinned import Brought, Means, PinnedRepo
from pinformers.pinning.recorder import Job, Recorder
from pinformers.pinning.records import signature
from pinformers.pinning.references import Reference, References, ReferredRepo, ResolveName
from pinformers.sources.base import Source
from pinformers.sources.embedded import LocalFile

OnMiss = Literal["import", "passthrough", "error"]
DEFAULT_REVISION = "main"
_SNAPSHOT = re.compile(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]")


class _Load:
    """What one outermost ``from_pretrained`` was answered; nothing more once it has ended."""

    def __init__(self) -> None:
        self.pins: dict[tuple[object, ...], PinnedRepo] = {}
        self.running = True


_LOAD: ContextVar[_Load | None] = ContextVar("pinformers_load", default=None)


class Policy(NamedTuple):
    """What the resolver may do: on a miss, ask the hub or not, wait how many seconds for a lock.

    ``locked``: only what the lockfile names is loaded, and nothing that is not verified before. ``gated``: what the hub
    keeps private or gated comes from other machines only where the hub lets this one have it, or like all else.
    ``chunking``: how files are cut that no pin names yet.
    """

    on_miss: OnMiss = "import"
    hub_allowed: bool = True
    lock_timeout: float = 60.0
    locked: bool = False
    gated: Gated = "keep"
    chunking: Chunking = "fixed"

    @property
    def strict(self) -> bool:
        """Whether nothing may be loaded but what is pinned, or locked."""
        return self.locked or self.on_miss == "error"


class Resolver:
    """Pins for repos, in the hub cache that a caller names or in the one that ``hub_cache`` says at that time."""

    def __init__(
        self,
        lookup: Lookup,
        hub_cache: Callable[[], str],
        sources: Sequence[Source],
        policy: Policy,
        cache_dir: str | None,
        publish: Publish | None = None,
        resolve_name: ResolveName | None = None,
    ) -> None:
        self.lookup, self.catalog = lookup, lookup.catalog
        self.cache_dir, self.hub_cache = cache_dir, hub_cache
        self.sources, self.policy = sources, policy
        timeout, chunking = policy.lock_timeout, policy.chunking
        self.recorder = Recorder(self.catalog, lock_timeout=timeout, publish=publish, chunking=chunking)
        self.ledger = Ledger()
        self._gate = Gate(self.catalog, kept=policy.gated == "keep", hub_allowed=self.hub_allowed)
        self.references = References(self.catalog, sources, self.ledger, resolve_name)
        self.early: Early[Brought] = Early()
        self._taken_up = False

    @property
    def default_cache(self) -> str:
        """The hub cache of a call that names none."""
        return normal(self.hub_cache())

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for a model that no pin names."""
        return self.policy.hub_allowed and self.policy.on_miss != "error"

    @property
    def locked(self) -> bool:
        """Whether nothing may be loaded but what a lockfile names."""
        return self.policy.locked

    def resolve(
        self,
        repo: str,
        revision: str | None,
        *,
        repo_type: str = "model",
        cache_dir: str | None = None,
        moved: bool = False,
    ) -> PinnedRepo | None:
        """Return the pin that answers, or None; raises NotLocked, and NotPinned where ``on_miss`` is error.

        Within one ``from_pretrained``, which asks two dozen times, the first pin that answers goes on answering. Of a
        revision that may have ``moved`` since, none does, unless nothing else may be loaded.
        """
        if moved and not self.policy.strict:
            return None
        load, key = _LOAD.get(), (self, repo, _plain(revision), repo_type, cache_dir)
        if load is not None and (known := load.pins.get(key)) is not None:
            return known
        self._take_up()
        try:
            found = self.find(repo, revision, repo_type=repo_type, cache_dir=cache_dir)
        except PinError:
            # No name that the hub knows: the words for that are transformers' own.
            return None
        if found is None and self.policy.on_miss == "error":
            raise NotPinned(full_name(repo, repo_type), _plain(revision) or DEFAULT_REVISION)
        # A thread that was given this context may outlive the load.
        if found is not None and load is not None and load.running:
            load.pins[key] = found
            # From here on transformers asks by the commit that it was told.
            load.pins.setdefault((self, repo, found.commit, repo_type, cache_dir), self._by_commit(found))
        return found

    def refer(
        self,
        name: str,
        revision: str | None,
        paths: Sequence[str] = (),
        *,
        local: bool = False,
        cache_dir: str | None = None,
    ) -> PinnedRepo | None:
        """Return the pin of a name by content, made at its first use, or None for a name of another kind.

        Raises PinError where it cannot be used or nobody delivers its folders, and NotLocked.
        """
        reference = Reference.parse(name)
        if reference is None:
            return None
        asked = _plain(revision) or DEFAULT_REVISION
        if asked != DEFAULT_REVISION and not OID.fullmatch(asked):
            raise PinError(name, f"it has no revisions; leave out revision={asked!r}")
        pin = self.references.pin(reference, paths, local=local)
        if asked not in (DEFAULT_REVISION, pin.commit):
            raise PinError(name, f"it has no revisions; leave out revision={asked!r}")
        self.lookup.admit(name, pin)
        return self._referred(pin, name, cache_dir)

    def find(
        self,
        repo: str,
        revision: str | None,
        *,
        repo_type: str = "model",
        cache_dir: str | None = None,
        note: bool = True,
    ) -> PinnedRepo | None:
        """Return the pin of a revision, or None; raises NotLocked where the lockfile refuses the model.

        What a lockfile or a shared catalog names is recorded, unless ``note`` is false.
        """
        reference = Reference.parse(repo)
        if reference is not None:
            known = self.references.known(reference)
            return None if known is None else self._referred(known, repo, cache_dir)
        name = _plain(revision) or DEFAULT_REVISION
        if repo_type != "model" and self.policy.locked:
            raise NotLocked(full_name(repo, repo_type), name, "pinformers.lock")
        # Lockfiles and shared catalogs speak of models only.
        others = self.lookup if repo_type == "model" else None
        pin = others.locked(repo, name, note=note) if others is not None else None
        holder = others.holder(pin, name) if others is not None and pin is not None else ""
        if pin is None:
            commit = self.commit(repo, revision, repo_type=repo_type, cache_dir=cache_dir)
            pin = self.catalog.pin(repo, commit, repo_type) if commit is not None else None
        if (pin is None or not pin.files) and others is not None:
            pin = others.shared(check_repo(repo), name, note=note)
        if pin is None or not pin.files:
            return None
        return PinnedRepo(pin, self._means(self.sources), self._cache(repo, repo_type, cache_dir), name, holder)

    def commit(
        self, repo: str, revision: str | None, *, repo_type: str = "model", cache_dir: str | None = None
    ) -> str | None:
        """Return the commit at which this machine last saw ``revision``, or None."""
        name = _plain(revision) or DEFAULT_REVISION
        if OID.fullmatch(name):
            return name
        # Whoever noted the branch last is right: the hub's client that followed it, or `pinformers pin`.
        ours = self.catalog.ref(repo, name, repo_type)
        noted = read_ref(self._cache(repo, repo_type, cache_dir).ref_path(name))
        if ours is not None and (noted is None or noted[1] <= ours[1] or self._is_folder(repo, name, repo_type)):
            return ours[0]
        return noted[0] if noted is not None else None

    def bind(self, pin: Pin, revision: str, sources: Sequence[Source], *, cache_dir: str | None = None) -> PinnedRepo:
        """Return ``pin`` with ``sources`` of its own, and without the hub."""
        cache = self._cache(pin.repo, pin.repo_type, cache_dir)
        return PinnedRepo(pin, self._means(sources)._replace(download=None, more=None), cache, revision)

    def seen(self, repo: str, revision: str | None, paths: Sequence[str], *, repo_type: str) -> None:
        """Record, beside the load, the commit whose files plain transformers has put at ``paths``."""
        snapshots: dict[tuple[str, str], list[str]] = {}
        for path in paths:
            match = _SNAPSHOT.search(path)
            if match is not None:
                names = snapshots.setdefault((path[: match.start()], match[1]), [])
                names.append(path[match.end() :].replace("\\", "/"))
        for (folder, commit), names in snapshots.items():
            with self._noted(repo):
                self._missed(repo, repo_type, commit, names)
                cache = self._cache(repo, repo_type, str(Path(folder).parent))
                seen = _seen_at(cache, revision, commit)
                seen = {name: ns for name, ns in seen.items() if not self._is_folder(repo, name, repo_type)}
                self._note(Job(repo, repo_type, commit, cache.cache_dir, seen))

    def listed(self, repo: str, commit: str, *, repo_type: str, entries: Sequence[object]) -> None:
        """Keep the complete tree of a commit."""
        files = [entry for entry in entries if hasattr(entry, "blob_id")]
        with self._noted(repo):
            listing = {str(getattr(entry, "path")): tree_entry(entry) for entry in files}  # noqa: B009
            self._learn(repo, commit, repo_type, Facts(listing=listing))

    def informed(self, repo: str, commit: str, *, repo_type: str, info: object) -> None:
        """Keep what the hub says of a model, and the names of its files."""
        with self._noted(repo):
            self._learn(repo, commit, repo_type, model_facts(info))

    @contextmanager
    def loading(self, name: str) -> Iterator[None]:
        """Be told that the ``from_pretrained`` of the class ``name`` runs."""
        with self.recorder.loading(), expecting_weights(name), _remembering():
            yield

    def close(self) -> None:
        """Stop what goes on beside the loads; what is unfinished is taken up the next time."""
        self.early.give_up()
        self.recorder.close()

    def name(self, model: str) -> str:
        """Return the name under which pins of ``model`` are recorded; another one for a reference alone."""
        found = self.find(model, None) if Reference.parse(model) is not None else None
        return model if found is None else found.pin.repo

    # -- inner ------------------------------------------------------------------------------------------------

    def _is_folder(self, repo: str, revision: str, repo_type: str) -> bool:
        """Whether a folder was given this name: what the hub has by the same name is another model."""
        ours = self.catalog.ref(repo, revision, repo_type)
        pin = self.catalog.pin(repo, ours[0], repo_type) if ours is not None else None
        return pin is not None and pin.origin == "folder"

    def _by_commit(self, found: PinnedRepo) -> PinnedRepo:
        holder = self.lookup.holder(found.pin, found.commit) if found.holder else ""
        return PinnedRepo(found.pin, self._means(self.sources), found.cache, found.commit, holder)

    def _referred(self, pin: Pin, reference: str, cache_dir: str | None) -> ReferredRepo:
        return ReferredRepo(pin, self._means(self.sources), self._cache(pin.repo, "model", cache_dir), reference)

    def _cache(self, repo: str, repo_type: str, cache_dir: str | None) -> RepoCache:
        return RepoCache(cache_dir or self.default_cache, repo, repo_type, lock_timeout=self.policy.lock_timeout)

    def _means(self, sources: Sequence[Source]) -> Means:
        brought = self._brought if self.recorder.publishes else None
        allowed, strict, download = self.hub_allowed, self.policy.strict, self._download
        loaded, more = self.recorder.loaded if self.recorder.publishes else None, self.lookup.more
        gate, early = self._gate, self.early
        return Means(self.catalog, sources, self.ledger, early, allowed, strict, brought, download, gate, more, loaded)

    @property
    def _download(self) -> Callable[[Pin, str, str], None] | None:
        return download_file if self.policy.locked else None

    def _brought(self, pin: Pin, cache: RepoCache) -> None:
        """What came from others is offered further: with the first one gone, it is still there."""
        with self._noted(pin.repo):
            self._note(Job(pin.repo, pin.repo_type, pin.commit, cache.cache_dir))

    def _missed(self, repo: str, repo_type: str, commit: str, names: Iterable[str]) -> None:
        pin = self.catalog.pin(repo, commit, repo_type)
        for name in names:
            if pin is None or name not in pin.files:
                self.ledger.counts["misses"] += 1
                self.ledger.note(repo, commit, name, Served(PLAIN, "no pin held it"))

    def _learn(self, repo: str, commit: str, repo_type: str, facts: Facts) -> None:
        self._note(Job(repo, repo_type, commit, self.default_cache, {}, facts))

    def _note(self, job: Job) -> None:
        if self.policy.on_miss == "import":
            self.recorder.add(job)

    @contextmanager
    def _noted(self, repo: str) -> Iterator[None]:
        """Go on where something cannot be recorded, whatever the reason: the load is none the worse."""
        try:
            yield
        except Exception as exc:
            said = exc if isinstance(exc, OSError | PinError) else repr(exc)
            self.ledger.warn_once(str(self.catalog.state_dir), "Nothing is recorded of %s: %s.", repo, said)

    def _take_up(self) -> None:
        if not self._taken_up and self.policy.on_miss == "import":
            self._taken_up = True
            with self._noted("what was loaded before"):
                self.recorder.take_up()


@contextmanager
def _remembering() -> Iterator[None]:
    """Remember which pins answer until the outermost ``from_pretrained`` of this context ends."""
    outer = _LOAD.get()
    # A thread has the context of the load that started it, also when that one has ended.
    if outer is not None and outer.running:
        yield
        return
    load = _Load()
    token = _LOAD.set(load)
    try:
        yield
    finally:
        load.running = False
        load.pins.clear()
        _LOAD.reset(token)


def local_files(catalog: Catalog, chosen: Callable[[Pin], bool] = lambda _: True) -> Iterator[LocalFile]:
    """Yield every cached file of every ``chosen`` pin that still looks as it did when it was hashed."""
    for pin in filter(chosen, catalog.pins()):
        for place in catalog.places(pin):
            cache = RepoCache(place.cache_dir, pin.repo, pin.repo_type)
            for path, stat in place.files.items():
                # The place may be newer than the pin that was read: another process is adding to both.
                target, file = cache.file(pin.commit, path), pin.files.get(path)
                if file is not None and signature(target) == stat:
                    yield LocalFile(target, CID.parse(file.cid), file.size, _loader(catalog, file.cid))


def folder_blocks(catalog: Catalog, chosen: Callable[[Pin], bool] = lambda _: True) -> Iterable[Block]:
    """Yield the folder nodes of every ``chosen`` pin."""
    for pin in filter(chosen, catalog.pins()):
        yield from folder_nodes(catalog, pin)


def _loader(catalog: Catalog, cid: str) -> Callable[[], tuple[Block, ...]]:
    return lambda: kept_blocks(catalog.dag_path(cid))


def _plain(revision: str | None) -> str | None:
    """Return the commit of a ``ResolvedRevision``, or the revision as it is."""
    return getattr(revision, "resolved", revision)


def _seen_at(cache: RepoCache, revision: str | None, commit: str) -> dict[str, int]:
    """Return when the branch that was asked for was seen at ``commit``; a commit was asked by no other name.

    The hub's client notes that in the cache's ref. A load from a cache that was not asked for long says nothing new.
    """
    asked = getattr(revision, "initial", revision) if revision is not None else DEFAULT_REVISION
    name = str(asked) if asked is not None else DEFAULT_REVISION
    if OID.fullmatch(name):
        return {}
    noted = read_ref(cache.ref_path(name))
    return {name: noted[1] if noted is not None and noted[0] == commit else time.time_ns()}
