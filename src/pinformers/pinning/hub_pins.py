"""Pin a model by its hub name: adopt what the hub cache holds, or have huggingface_hub download it first."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinformers._errors import PinError
from pinformers.pinning.adoption import Adoption, Facts, Watch, model_facts
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import after, read_ref
from pinformers.pinning.hub import hub_errors, unanswered
from pinformers.pinning.pin import Pin, check_repo, check_revision
from pinformers.pinning.recorder import Job, record
from pinformers.pinning.records import lock
from pinformers.pinning.resolver import Resolver

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")
_logger = logging.getLogger("pinformers")
How = Literal["adopted", "fetched", "downloaded"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model at a revision, and which of its files; ``update`` asks the hub even where nothing is missing."""

    repo: str
    revision: str = "main"
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    update: bool = False

    def covers(self, path: str) -> bool:
        """Whether the patterns let ``path`` in, as those of ``snapshot_download`` do."""
        included = not self.include or any(fnmatch.fnmatch(path, _whole(pattern)) for pattern in self.include)
        return included and not any(fnmatch.fnmatch(path, _whole(pattern)) for pattern in self.exclude)


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pin, how its files came, the files that were not taken with the reason, and why the hub was not asked."""

    pin: Pin
    how: How
    rejected: Mapping[str, str] = field(default_factory=dict)
    unasked: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the files lie, what the hub says of them, and why it said nothing."""

    commit: str
    facts: Facts = field(default_factory=Facts)
    how: How = "adopted"
    unasked: str = ""


def pin_model(resolver: Resolver, wanted: Wanted, begin: Callable[[int], Callable[[int], None]]) -> Pinned:
    """Pin ``wanted``; ``begin`` is told the bytes to hash and returns what counts them.

    Raises PinError where files are missing and the hub cannot be asked for them.
    """
    cache = RepoCache(resolver.default_cache, check_repo(wanted.repo), lock_timeout=resolver.policy.lock_timeout)
    check_revision(wanted.revision)
    here = None if wanted.update else _here(resolver, cache, wanted)
    found = _Found(here) if here is not None else _have(resolver, cache, wanted)
    adoption = Adoption(resolver.catalog, cache, Pin(wanted.repo, found.commit))
    watch = Watch(begin(sum(size for _, size in adoption.pending())))
    seen = (resolver.catalog.ref(wanted.repo, wanted.revision), read_ref(cache.ref_path(wanted.revision)))
    revisions = {} if wanted.revision == found.commit else {wanted.revision: after(*seen)}
    job = Job(wanted.repo, "model", found.commit, cache.cache_dir, revisions, found.facts)
    # The lock of the recorder: what another process is hashing just now is not hashed twice.
    with lock(resolver.catalog.state_dir / "locks" / f"{job.name}.lock", resolver.policy.lock_timeout):
        record(resolver.catalog, job, watch, resolver.policy.chunking)
    pin = resolver.catalog.pin(wanted.repo, found.commit)
    if pin is None or not pin.files:
        raise PinError(wanted.repo, "none of its files could be pinned; the log says why")
    return Pinned(pin, found.how, watch.rejected, found.unasked)


def _whole(pattern: str) -> str:
    return f"{pattern}*" if pattern.endswith("/") else pattern


def _here(resolver: Resolver, cache: RepoCache, wanted: Wanted) -> str | None:
    """Return the commit whose wanted files are known to lie in the hub cache all, or None."""
    commit = resolver.commit(wanted.repo, wanted.revision, cache_dir=cache.cache_dir)
    if commit is None:
        return None
    pin = resolver.catalog.pin(wanted.repo, commit)
    listing = cache.tree(commit) or (pin.listing if pin is not None else None)
    if listing is None:
        # Before 2.4 huggingface_hub kept no listing: a snapshot with weights is taken to be what was wanted.
        weights = any(path.endswith(_WEIGHTS) for path in cache.files(commit) if wanted.covers(path))
        return commit if weights else None
    paths = [path for path in listing if wanted.covers(path)]
    return commit if paths and all(cache.file(commit, path).is_file() for path in paths) else None


def _have(resolver: Resolver, cache: RepoCache, wanted: Wanted) -> _Found:
    """Have the sources deliver what a pin names, or the hub; raises PinError that names all who were asked."""
    fetched = _fetch(resolver, wanted)
    if isinstance(fetched, _Found):
        return fetched
    try:
        return _download(resolver, cache, wanted)
    except PinError as exc:
        words = [fetched, f"then {exc.advice}"] if fetched else [exc.advice, *_without_hub(exc, wanted)]
        raise PinError(exc.subject, "; ".join(words)) from exc


def _without_hub(problem: PinError, wanted: Wanted) -> list[str]:
    if not unanswered(problem):
        return []
    here = f"`pinformers pin FOLDER --as {wanted.repo}` or `pinformers import FILE.car` takes it from this disk"
    return [f"without the hub, {here}, and a gateway or daemon brings what a lockfile or catalog names"]


def _fetch(resolver: Resolver, wanted: Wanted) -> _Found | str:
    """Have the sources deliver a commit that a pin names whole; what stands in the way where they do not."""
    pinned = None if wanted.update else resolver.find(wanted.repo, wanted.revision)
    if pinned is None or not pinned.pin.complete:
        return ""
    try:
        for path in filter(wanted.covers, pinned.pin.files):
            pinned.put(path)
    except PinError as exc:
        _logger.info("%s; the hub is asked.", exc)
        return exc.advice
    pinned.settle()
    return _Found(pinned.commit, how="fetched")


def _download(resolver: Resolver, cache: RepoCache, wanted: Wanted) -> _Found:
    if not resolver.policy.hub_allowed:
        raise PinError(wanted.repo, "not all of it is in the hub cache, and the setting sources does not name the hub")
    # deferred: see download_file.
    from huggingface_hub import snapshot_download

    with hub_errors(wanted.repo, cache.cache_dir):
        snapshot = snapshot_download(
            wanted.repo,
            revision=wanted.revision,
            cache_dir=cache.cache_dir,
            allow_patterns=list(wanted.include) or None,
            ignore_patterns=list(wanted.exclude) or None,
        )
    commit = Path(snapshot).name
    try:
        return _Found(commit, _ask(wanted.repo, commit), "downloaded")
    except PinError as exc:
        # Where the hub cannot be reached, snapshot_download returns what the cache holds without a word.
        return _Found(commit, unasked=exc.advice)


def _ask(repo: str, commit: str) -> Facts:
    # deferred: see download_file.
    from huggingface_hub import HfApi

    with hub_errors(repo):
        info = HfApi().model_info(repo, revision=commit, files_metadata=True)
    return model_facts(info)
