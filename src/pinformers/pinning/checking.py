"""Hash every pinned file again, name the bad ones, and repair them when the user says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pinformers._errors import BadContent, PinError, SourceError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.unixfs import FileDag, hash_file
from pinformers.pinning.adoption import Adoption, keep_blocks, kept_blocks
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.fetching import write_file
from pinformers.pinning.hub_pins import fetch_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import signature
from pinformers.pinning.resolver import Resolver
from pinformers.sources.base import Chain

State = Literal["good", "bad", "missing", "unreadable"]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """How one pinned file of one hub cache was found."""

    pin: Pin
    cache: RepoCache
    path: str
    state: State
    why: str = ""

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


def check(catalog: Catalog, pin: Pin, progress: Progress | None = None) -> Iterator[Finding]:
    """Yield a finding for every pinned file in every hub cache; a good one is recorded as it looks now."""
    directory = pin.directory()
    _mend_blocks(catalog, directory.cid, directory.nodes)
    for cache, path in _files(catalog, pin):
        yield _check_file(catalog, pin, cache, path, progress)


def caches_away(catalog: Catalog, pins: Iterable[Pin]) -> set[str]:
    """Return the cache folders that hold pinned files by our records and are not there now: moved, or not mounted."""
    found = {place.cache_dir for pin in pins for place in catalog.places(pin)}
    return {cache_dir for cache_dir in found if not Path(cache_dir).is_dir()}


def _files(catalog: Catalog, pin: Pin) -> Iterator[tuple[RepoCache, str]]:
    away = caches_away(catalog, [pin])
    for place in (place for place in catalog.places(pin) if place.cache_dir not in away):
        cache = RepoCache(place.cache_dir, pin.repo, pin.repo_type)
        for path in sorted(pin.files):
            # A file that is pinned and was never in this cache is not missing there.
            if path in place.files or signature(cache.file(pin.commit, path)) is not None:
                yield cache, path


def _check_file(catalog: Catalog, pin: Pin, cache: RepoCache, path: str, progress: Progress | None) -> Finding:
    target, file = cache.file(pin.commit, path), pin.files[path]
    before = signature(target)
    if before is None:
        return Finding(pin, cache, path, "missing", "it is not in the hub cache any more")
    try:
        dag = hash_file(target, progress=progress)
    except (OSError, PinError) as exc:
        return Finding(pin, cache, path, "unreadable", str(exc))
    if (wrong := _difference(dag, file)) is not None:
        return Finding(pin, cache, path, "bad", wrong)
    _mend_blocks(catalog, dag.cid, dag.nodes)
    if signature(target) == before:
        Adoption(catalog, cache, pin.repo, pin.commit, pin.repo_type).trust(path, file, frozenset())
    return Finding(pin, cache, path, "good")


def _difference(dag: FileDag, file: PinnedFile) -> str | None:
    if dag.size != file.size:
        return f"it has {dag.size} bytes and the pin says {file.size}"
    if str(dag.cid) != file.cid:
        return f"its bytes are {dag.cid}"
    return f"its sha256 is {dag.sha256} and the pin says {file.sha256}" if dag.sha256 != file.sha256 else None


def _mend_blocks(catalog: Catalog, cid: CID, nodes: tuple[Block, ...]) -> None:
    path = catalog.dag_path(str(cid))
    if nodes and not kept_blocks(path):
        path.unlink(missing_ok=True)
        keep_blocks(catalog, cid, nodes)


def repair(resolver: Resolver, finding: Finding) -> str:
    """Remove the bad bytes, fetch the file again, and return who delivered it; raises PinError when nobody does."""
    _discard(finding)
    served = _ask_sources(resolver, finding)
    if served is not None:
        return served
    if finding.pin.origin != "hub" or not resolver.policy.hub_allowed:
        advice = "no source delivers it; pin the folder it came from again"
        raise PinError(str(finding.file), advice if finding.pin.origin == "folder" else "no source delivers it")
    fetch_file(finding.pin, finding.path, finding.cache.cache_dir)
    if not _adoption(resolver, finding).confirm(finding.path):
        raise PinError(str(finding.file), "the hub sent other bytes than the pin says; they stay unpinned")
    return "hub"


def _discard(finding: Finding) -> None:
    """Remove what the snapshot's file leads to, where that lies in the hub cache under the name of the good bytes."""
    link, file, cache = finding.file, finding.pin.files[finding.path], finding.cache
    etag = cache.etag(finding.pin.commit, finding.path)
    if etag is not None and etag in (file.etag, file.sha256):
        blob = cache.blob(etag)
        shared = blob.resolve()
        if blob.is_symlink() and Path(cache.cache_dir) / "blobs" in shared.parents:
            # The cache-wide store of huggingface_hub 2.4: all who link to it get the bad bytes.
            shared.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
    link.unlink(missing_ok=True)


def _ask_sources(resolver: Resolver, finding: Finding) -> str | None:
    chain = Chain(resolver.sources)
    file = finding.pin.files[finding.path]

    def fill(out: BinaryIO) -> None:
        write_file(file, chain.fetch, out)

    try:
        made = finding.cache.add_file(finding.pin.commit, finding.path, file.etag or file.sha256, fill)
    except (SourceError, BadContent):
        return None
    confirmed = _adoption(resolver, finding).confirm(finding.path, frozenset(made))
    return (" + ".join(chain.served) or "hub cache") if confirmed else None


def _adoption(resolver: Resolver, finding: Finding) -> Adoption:
    pin = finding.pin
    return Adoption(resolver.catalog, finding.cache, pin.repo, pin.commit, pin.repo_type)
