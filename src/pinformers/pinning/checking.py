"""Hash every pinned file again, name the bad ones, and repair them when the user says so."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pinformers._errors import BadContent, PinError, SourceError
from pinformers.ipfs.cid import CID, Block
from pinformers.pinning.adoption import Adoption, Watch, departure, hash_pinned, keep_blocks, kept_blocks
from pinformers.pinning.cache import STAGING, RepoCache
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.hub import download_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import Stat, reason, signature
from pinformers.pinning.resolver import Resolver
from pinformers.sources.base import Chain, Source

State = Literal["good", "bad", "missing", "unreadable"]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """How one pinned file of one hub cache was found; ``unrecorded``: why that could not be recorded."""

    pin: Pin
    cache: RepoCache
    path: str
    state: State
    why: str = ""
    unrecorded: str = ""

    @property
    def file(self) -> Path:
        """Where the file lies, or should."""
        return self.cache.file(self.pin.commit, self.path)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.pin.repo,
            "commit": self.pin.commit,
            "path": self.path,
            "file": str(self.file),
            "cid": self.pin.files[self.path].cid,
            "size": self.pin.files[self.path].size,
            "state": self.state,
            "why": self.why,
        }


def bytes_to_check(catalog: Catalog, pin: Pin) -> int:
    """Return how many bytes ``check`` is going to read."""
    found = (signature(cache.file(pin.commit, path)) for cache, path in _files(catalog, pin))
    return sum(stat[0] for stat in found if stat is not None)


def check(
    catalog: Catalog, pin: Pin, progress: Progress | None = None, *, default_cache: str | None = None
) -> Iterator[Finding]:
    """Yield a finding for every pinned file in every hub cache; a good one is recorded as it looks now.

    A folder that was pinned here and is in no cache at all is looked for in the default one.
    """
    for cache, path in _files(catalog, pin):
        yield check_file(catalog, pin, cache, path, progress)
    yield from _unplaced(catalog, pin, default_cache)


def _unplaced(catalog: Catalog, pin: Pin, default_cache: str | None) -> Iterator[Finding]:
    """Yield the files of a folder that never came into a cache: `pin` was killed, and nobody else has them."""
    places = catalog.places(pin)
    cache_dir = places[0].cache_dir if places else default_cache
    if pin.origin != "folder" or pin.learned or cache_dir is None:
        return
    caches = [RepoCache(place.cache_dir, pin.repo, pin.repo_type) for place in places]
    why = "it was never copied into the hub cache; pin the folder it came from again, or `pinformers rm` the pin"
    for path in sorted(pin.files):
        here = (signature(cache.file(pin.commit, path)) is not None for cache in caches)
        if not any(path in place.files for place in places) and not any(here):
            yield Finding(pin, RepoCache(cache_dir, pin.repo, pin.repo_type), path, "missing", why)


def caches_away(catalog: Catalog, pins: Iterable[Pin]) -> set[str]:
    """Return the cache folders that hold pinned files by our records and are not there now: moved, or not mounted."""
    found = {place.cache_dir for pin in pins for place in catalog.places(pin)}
    return {cache_dir for cache_dir in found if not os.path.isdir(cache_dir)}


def _files(catalog: Catalog, pin: Pin) -> Iterator[tuple[RepoCache, str]]:
    away = caches_away(catalog, [pin])
    for place in (place for place in catalog.places(pin) if place.cache_dir not in away):
        cache = RepoCache(place.cache_dir, pin.repo, pin.repo_type)
        for path in sorted(pin.files):
            # A file that is pinned and was never in this cache is not missing there.
            if path in place.files or signature(cache.file(pin.commit, path)) is not None:
                yield cache, path


def check_file(catalog: Catalog, pin: Pin, cache: RepoCache, path: str, progress: Progress | None = None) -> Finding:
    """Hash one pinned file; a good one is recorded as it looks now."""
    target, file = cache.file(pin.commit, path), pin.files[path]
    before = signature(target)
    if before is None:
        return Finding(pin, cache, path, "missing", "it is not in the hub cache any more")
    try:
        dag = hash_pinned(catalog, file, target, Watch(progress))
    except (OSError, PinError) as exc:
        return Finding(pin, cache, path, "unreadable", str(exc))
    if (wrong := departure(catalog, pin, path, dag, target)) is not None:
        return Finding(pin, cache, path, "bad", wrong)
    try:
        if str(dag.cid) == file.cid:
            _mend_blocks(catalog, dag.cid, dag.nodes)
        if signature(target) == before:
            # Whoever removed the pin while its files were read wants none of it back.
            catalog.amend(pin.of_files({path: file}), Place(cache.cache_dir, {path: before}))
    except OSError as exc:
        return Finding(pin, cache, path, "good", unrecorded=reason(exc))
    return Finding(pin, cache, path, "good")


def _mend_blocks(catalog: Catalog, cid: CID, nodes: tuple[Block, ...]) -> None:
    path = catalog.dag_path(str(cid))
    if nodes and kept_blocks(path) != nodes:
        path.unlink(missing_ok=True)
        keep_blocks(catalog, cid, nodes)


def repair(resolver: Resolver, finding: Finding, sources: Sequence[Source] | None = None) -> str:
    """Fetch a bad or missing file again, from the resolver's sources or the hub, or from ``sources`` alone.

    Returns who delivered it. Raises PinError or OSError when nobody does; the bad bytes are then where they were.
    """
    if finding.state == "unreadable":
        raise PinError(str(finding.file), "it cannot be read, so nothing is known against it; see to the disk first")
    pin, catalog = finding.pin, resolver.catalog
    with catalog.alone(pin):
        if catalog.pin(pin.repo, pin.commit, pin.repo_type) is None:
            raise PinError(str(finding.file), "its pin was removed meanwhile")
        if finding.state == "missing" and check_file(catalog, pin, finding.cache, finding.path).state == "good":
            # `pin` was still copying it.
            return "hub cache"
        return mend(resolver, finding, sources)


def mend(resolver: Resolver, finding: Finding, sources: Sequence[Source] | None = None) -> str:
    """Do so for whoever is alone with the pin; from ``sources`` and nobody else where they are given."""
    with _set_aside(resolver.catalog, finding):
        chain = Chain(resolver.sources if sources is None else sources)
        source = _ask_sources(resolver, finding, chain)
        if source is None and sources is not None:
            raise PinError(str(finding.file), f"it cannot be mended ({chain.tried})")
        source = source or _ask_hub(resolver, finding)
        found = _adoption(resolver, finding).confirm(finding.path)
        if found is None:
            raise PinError(str(finding.file), f"what {source} sent is not what the pin says")
        _note(resolver, finding, {finding.path: found[0]}, {finding.path: found[1]}, ())
    return source


def _ask_sources(resolver: Resolver, finding: Finding, chain: Chain) -> str | None:
    try:
        dag_path = resolver.catalog.dag_path(finding.pin.files[finding.path].cid)
        fetched = fetch_file(finding.cache, finding.pin, finding.path, chain.fetch, dag_path)
    except (SourceError, BadContent):
        return None
    _note(resolver, finding, {}, {}, fetched.made)
    return chain.delivered or "hub cache"


def _ask_hub(resolver: Resolver, finding: Finding) -> str:
    if finding.pin.origin != "hub":
        advice = "pin the folder it came from again" if finding.pin.origin == "folder" else "the hub has no such file"
        raise PinError(str(finding.file), f"no source delivers it; {advice}")
    if not resolver.policy.hub_allowed:
        raise PinError(str(finding.file), "no source delivers it, and the setting sources does not name the hub")
    download_file(finding.pin, finding.path, finding.cache.cache_dir)
    return "hub"


@contextmanager
def _set_aside(catalog: Catalog, finding: Finding) -> Iterator[None]:
    """Move the bad bytes out of the way: for good when the block ends well, back when it does not."""
    moved: list[tuple[Path, Path]] = []
    try:
        for path in _in_the_way(catalog, finding):
            if os.path.lexists(path):
                aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{STAGING}")
                path.rename(aside)
                moved.append((path, aside))
                _touch(aside)
        yield
    except BaseException:
        for path, aside in reversed(moved):
            aside.replace(path)
        raise
    for _, aside in moved:
        aside.unlink(missing_ok=True)


def _touch(path: Path) -> None:
    """Make what is set aside look young: `gc` sweeps what is older than an hour while we are at work on it."""
    # Of another user, or a link where only the target has a time.
    with suppress(OSError, NotImplementedError):
        os.utime(path, follow_symlinks=False)


def _in_the_way(catalog: Catalog, finding: Finding) -> Iterator[Path]:
    """Yield what the snapshot's file leads to, where that lies in the hub cache under the name of the good bytes."""
    link, file, cache = finding.file, finding.pin.files[finding.path], finding.cache
    etag = cache.etag(finding.pin.commit, finding.path)
    if finding.state == "missing" and _spoiled(catalog, finding, left := cache.blob(file.etag or file.sha256)):
        # Its link is gone: one to this blob would be made, and make bad bytes visible again.
        etag = left.name
    if etag is not None and etag in (file.etag, file.sha256):
        blob = cache.blob(etag)
        shared = blob.resolve()
        if blob.is_symlink() and Path(cache.cache_dir) / "blobs" in shared.parents:
            # The cache-wide store of huggingface_hub 2.4: all who link to it get the bad bytes.
            yield shared
        yield blob
    yield link


def _spoiled(catalog: Catalog, finding: Finding, blob: Path) -> bool:
    if not blob.is_file():
        return False
    dag = hash_pinned(catalog, finding.pin.files[finding.path], blob, Watch())
    return departure(catalog, finding.pin, finding.path, dag, blob) is not None


def _note(
    resolver: Resolver,
    finding: Finding,
    files: Mapping[str, PinnedFile],
    stats: Mapping[str, Stat],
    made: Iterable[str],
) -> None:
    resolver.catalog.amend(finding.pin.of_files(files), Place(finding.cache.cache_dir, stats, frozenset(made)))


def _adoption(resolver: Resolver, finding: Finding) -> Adoption:
    return Adoption(resolver.catalog, finding.cache, finding.pin)
