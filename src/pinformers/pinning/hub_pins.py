"""Pin a model by its hub name: adopt what the hub cache holds, or have huggingface_hub download it first."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinformers._errors import PinError
from pinformers.pinning.adoption import Adoption, Facts, Watch
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import read_ref
from pinformers.pinning.pin import Hub, Pin, check_repo, check_revision
from pinformers.pinning.recorder import Job, record
from pinformers.pinning.records import lock
from pinformers.pinning.resolver import Resolver

How = Literal["adopted", "downloaded"]


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
    """The pin, how its files came, and the files that were not taken with the reason."""

    pin: Pin
    how: How
    rejected: Mapping[str, str] = field(default_factory=dict)


def pin_model(resolver: Resolver, wanted: Wanted, begin: Callable[[int], Callable[[int], None]]) -> Pinned:
    """Pin ``wanted``; ``begin`` is told the bytes to hash and returns what counts them.

    Raises PinError where files are missing and the hub cannot be asked for them.
    """
    cache = RepoCache(resolver.default_cache, check_repo(wanted.repo), lock_timeout=resolver.policy.lock_timeout)
    check_revision(wanted.revision)
    commit = None if wanted.update else _here(resolver, cache, wanted)
    how: How = "adopted"
    facts = Facts()
    if commit is None:
        commit, facts, how = *_download(resolver, cache, wanted), "downloaded"
    watch = Watch(begin(sum(size for _, size in _adoption(resolver, cache, wanted.repo, commit).pending())))
    job = Job(wanted.repo, "model", commit, cache.cache_dir, frozenset({wanted.revision} - {commit}), facts)
    # The lock of the recorder: what another process is hashing just now is not hashed twice.
    with lock(resolver.catalog.state_dir / "locks" / f"{job.name}.lock", resolver.policy.lock_timeout):
        record(resolver.catalog, job, watch)
    pin = resolver.catalog.pin(wanted.repo, commit)
    if pin is None or not pin.files:
        raise PinError(wanted.repo, "none of its files could be pinned; the log says why")
    return Pinned(pin, how, watch.rejected)


def fetch_file(pin: Pin, path: str, cache_dir: str) -> None:
    """Have huggingface_hub's client download one file of a pinned commit to where it always does."""
    # deferred: an import of half a second that only a download needs.
    from huggingface_hub import hf_hub_download

    with _hub_errors(pin.repo):
        hf_hub_download(pin.repo, path, repo_type=pin.repo_type, revision=pin.commit, cache_dir=cache_dir)


def _whole(pattern: str) -> str:
    return f"{pattern}*" if pattern.endswith("/") else pattern


def _adoption(resolver: Resolver, cache: RepoCache, repo: str, commit: str) -> Adoption:
    return Adoption(resolver.catalog, cache, repo, commit)


def _here(resolver: Resolver, cache: RepoCache, wanted: Wanted) -> str | None:
    """Return the commit whose wanted files are known to lie in the hub cache all, or None."""
    noted = [resolver.catalog.ref(wanted.repo, wanted.revision), read_ref(cache.ref_path(wanted.revision))]
    newest = max((ref for ref in noted if ref is not None), key=lambda ref: ref[1], default=None)
    commit = newest[0] if newest is not None else wanted.revision
    pin = resolver.catalog.pin(wanted.repo, commit)
    listing = cache.tree(commit) or (pin.listing if pin is not None else None)
    if listing is None:
        return None
    paths = [path for path in listing if wanted.covers(path)]
    return commit if paths and all(cache.file(commit, path).is_file() for path in paths) else None


def _download(resolver: Resolver, cache: RepoCache, wanted: Wanted) -> tuple[str, Facts]:
    if not resolver.hub_allowed:
        raise PinError(wanted.repo, "not all of it is in the hub cache, and the setting sources does not name the hub")
    # deferred: see fetch_file.
    from huggingface_hub import HfApi, snapshot_download

    with _hub_errors(wanted.repo):
        snapshot = snapshot_download(
            wanted.repo,
            revision=wanted.revision,
            cache_dir=cache.cache_dir,
            allow_patterns=list(wanted.include) or None,
            ignore_patterns=list(wanted.exclude) or None,
        )
        commit = Path(snapshot).name
        info = HfApi().model_info(wanted.repo, revision=commit, files_metadata=True)
    said = {name: getattr(info, name, None) for name in ("pipeline_tag", "library_name", "tags")}
    listing = {sibling.rfilename: _entry(sibling) for sibling in info.siblings or ()}
    return commit, Facts(listing or None, said)


def _entry(sibling: object) -> Hub:
    known = {"size": getattr(sibling, "size", None), "blob_id": getattr(sibling, "blob_id", None)}
    found = {name: value for name, value in known.items() if value is not None}
    lfs = getattr(sibling, "lfs", None)
    return {**found, "lfs_sha256": lfs.sha256, "lfs_size": lfs.size} if lfs is not None else found


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    # deferred: see fetch_file.
    from huggingface_hub.errors import HfHubHTTPError

    # Its HTTP client is requests, httpx or httpx2 by version, whose errors are no OSError in the latter two.
    try:
        yield
    except (OSError, ValueError, *HfHubHTTPError.__bases__) as exc:
        reason = str(exc).strip().splitlines() or [type(exc).__name__]
        raise PinError(repo, f"the hub did not deliver it ({reason[0].rstrip('.')})") from exc
