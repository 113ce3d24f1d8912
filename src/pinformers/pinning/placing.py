"""Put a whole pin in place out of one source: all of its files, or nothing of it stays."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pinformers._errors import BlockMismatch, PinError
from pinformers.ipfs.cid import CID, Block
from pinformers.pinning.adoption import Adoption, keep_blocks, read_card
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.checking import check_file, repair
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import MALFORMED, lock, signature, write_json
from pinformers.pinning.removal import Removal, remove_pin, remove_place
from pinformers.pinning.resolver import Resolver
from pinformers.sources.base import Chain, Source

Nodes = Mapping[str, tuple[Block, ...]]
"""The inner blocks of files, by the CID of the file; of folders too, where they are not ours."""


class Placing:
    """One pin on its way into the default hub cache, under ``revisions`` when all of it is there.

    ``run`` raises PinError where the pin contradicts what is known of its commit, BlockMismatch where the files
    contradict their hashes, and OSError; whatever it raises, the cache and the catalog are as they were.
    """

    def __init__(
        self, resolver: Resolver, pin: Pin, source: Source, nodes: Nodes, progress: Callable[[int], None]
    ) -> None:
        self._resolver, self._catalog = resolver, resolver.catalog
        self._source, self._nodes, self._progress = source, nodes, progress
        bound = resolver.bind(pin, pin.commit, [source])
        self._cache = bound.cache
        self._known = self._catalog.pin(pin.repo, pin.commit, pin.repo_type)
        self._before = self._catalog.place(pin, self._cache.cache_dir)
        self._adoption = Adoption(self._catalog, self._cache, pin.repo, pin.commit, pin.repo_type)
        self._pin = _agreed(pin, self._known, self._cache)
        self._brought: list[str] = []

    def run(self, revisions: tuple[str, ...]) -> tuple[Pin, list[str]]:
        """Put the files in place; return the pin as it is recorded then, and the paths that were not here before."""
        self._check_room()
        undo = _Undo(self._catalog, self._pin, self._known, self._before, self._cache)
        try:
            # Without files nobody takes it for a pin yet; each one is recorded when it is verified and in its place.
            draft = dataclasses.replace(self._pin, files={}, others={}, listed=False)
            self._catalog.add(draft)
            for cid, nodes in self._nodes.items():
                keep_blocks(self._catalog, CID.parse(cid), nodes)
            for path, file in sorted(self._pin.files.items()):
                self._place(path, file)
                self._progress(file.size)
            if self._pin.origin == "folder" and self._pin.info is None:
                card = read_card(self._cache.file(self._pin.commit, "README.md"))
                self._pin = dataclasses.replace(self._pin, info=card)
            added = self._catalog.add(self._pin)
            self._name(added, revisions)
        except BaseException:
            undo.run()
            raise
        return added, self._brought

    def _check_room(self) -> None:
        # A small CAR may describe a huge file: the same block, a million times.
        wanted = {file.cid: file.size for path, file in self._pin.files.items() if self._looks(path) is None}
        needed, free = sum(wanted.values()), shutil.disk_usage(_existing(self._cache.folder)).free
        if needed > free:
            raise PinError(self._pin.repo, f"it needs {needed} bytes, and the disk of the hub cache has {free} left")

    def _place(self, path: str, file: PinnedFile) -> None:
        if self._looks(path) is None:
            try:
                chain = Chain([self._source])
                fetched = fetch_file(self._cache, self._pin, path, chain, self._catalog.dag_path(file.cid))
            except BlockMismatch as exc:
                raise PinError(f"{self._pin.repo}/{path}", f"its bytes are not those that were named: {exc}") from exc
            if fetched.verified:
                self._adoption.record(path, fetched.file, fetched.made)
                self._brought.append(path)
                return
            self._adoption.note_made(fetched.made)
        if self._looks(path) != self._before.files.get(path):
            self._check(path)

    def _check(self, path: str) -> None:
        finding = check_file(self._catalog, self._pin, self._cache, path)
        if finding.state == "good":
            return
        pinned = self._known.files.get(path) if self._known is not None else None
        if pinned is None and self._pin.origin == "hub":
            # Bytes of the hub's client that nobody pinned: whose word counts is for the user to say.
            advice = f"the hub cache holds other bytes for it ({finding.why}); delete {finding.file} first"
            raise PinError(f"{self._pin.repo}/{path}", advice)
        repair(self._resolver, finding, [self._source])
        self._brought.append(path)

    def _name(self, pin: Pin, revisions: tuple[str, ...]) -> None:
        for revision in revisions or (pin.commit,):
            self._resolver.bind(pin, revision, [self._source]).settle()
            # Last, so that the name never stands for half a model.
            if self._resolver.commit(pin.repo, revision) != pin.commit:
                self._catalog.set_ref(pin.repo, revision, pin.commit)

    def _looks(self, path: str) -> tuple[int, int, int] | None:
        return signature(self._cache.file(self._pin.commit, path))


class _Undo:
    """What is needed to take a pin out again that came in part, or a part of one that was here before."""

    def __init__(self, catalog: Catalog, pin: Pin, known: Pin | None, before: Place, cache: RepoCache) -> None:
        self._catalog, self._pin, self._known, self._before, self._cache = catalog, pin, known, before, cache
        self._parts = set(_parts(cache))
        self._kept = {path for path in map(catalog.dag_path, pin.dags) if path.exists()}
        self._folder_was_there = cache.folder.exists()

    def run(self) -> None:
        """Leave what was here before."""
        for part in set(_parts(self._cache)) - self._parts:
            # Whoever waited for the lock of this blob may go on with the part by now; then it is theirs.
            etag = part.name.removesuffix(PART).rpartition(".")[0]
            with lock(Path(self._cache.cache_dir) / ".locks" / self._cache.folder.name / f"{etag}.lock", 0.0) as held:
                if held:
                    part.unlink(missing_ok=True)
        if self._known is None:
            remove_pin(self._catalog, self._pin)
        else:
            self._restore(self._known)
        needed = {self._catalog.dag_path(cid) for pin in self._catalog.pins() for cid in pin.dags}
        for path in set(map(self._catalog.dag_path, self._pin.dags)) - self._kept - needed:
            path.unlink(missing_ok=True)
        if not self._folder_was_there:
            _prune(self._cache.folder)

    def _restore(self, known: Pin) -> None:
        place = self._catalog.place(known, self._cache.cache_dir)
        files = {path: stat for path, stat in place.files.items() if path not in self._before.files}
        fresh = dataclasses.replace(place, files=files, made=place.made - self._before.made)
        remove_place(self._catalog, known, fresh)
        write_json(self._catalog.pin_path(known.repo, known.commit, known.repo_type), known.to_json())
        if self._before.files or self._before.made:
            self._catalog.add(known, self._before)


def _agreed(pin: Pin, known: Pin | None, cache: RepoCache) -> Pin:
    """Join to each file what the hub said of it here; raises PinError where the pin contradicts what is known.

    What is joined is held against the bytes when they are put in place.
    """
    files = known.files if known is not None else {}
    listing = {**(cache.tree(pin.commit) or {}), **(known.others if known is not None else {})}
    listing |= {path: file.hub for path, file in files.items()}
    whole = cache.tree(pin.commit) is not None or (known is not None and known.listed)
    agreed: dict[str, PinnedFile] = {}
    for path, file in pin.files.items():
        subject = f"{pin.repo}/{path}"
        if path in files and files[path].cid != file.cid:
            raise PinError(subject, f"it is pinned here as {files[path].cid} and comes as {file.cid}")
        if whole and path not in listing:
            raise PinError(subject, f"the listing of {pin.commit} that is here has no such file")
        try:
            hub = {**file.hub, **listing.get(path, {})}
            sha256 = (files[path].sha256 if path in files else "") or file.sha256
            agreed[path] = PinnedFile.from_json({**file.to_json(), "sha256": sha256, "hub": hub})
        except MALFORMED as exc:
            raise PinError(subject, f"the hub named another file here ({exc})") from exc
    return dataclasses.replace(pin, files=agreed)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _parts(cache: RepoCache) -> list[Path]:
    return list(cache.folder.glob(f"**/*{PART}"))


def _prune(folder: Path) -> None:
    """Delete the empty folders below, and this one if it is empty then."""
    for path in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())], reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path)
