"""Take a model out of a CAR file: all of it verified and complete, or nothing of it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BadCar, BadContent, BlockNotFound, PinError, SourceError
from pinformers.ipfs.car import read_car
from pinformers.ipfs.cid import CID, IDENTITY, RAW, Block
from pinformers.ipfs.dag import read_block, read_file, walk_directory
from pinformers.ipfs.dagpb import parse_node
from pinformers.pinning.adoption import keep_blocks
from pinformers.pinning.archive import Progress
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.checking import check_file, repair
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin, check_path, check_repo, check_revision
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.records import MALFORMED, lock, write_bytes
from pinformers.pinning.references import Walk, commit_of, repo_name
from pinformers.pinning.removal import Eviction, Removal, remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.sources.base import Chain

# A record has some 400 bytes a file; one of a hostile hand may unfold to any size out of few blocks.
_MAX_RECORD = 64 << 20


@dataclass(frozen=True, slots=True)
class Parcel:
    """A CAR to import: where it comes from in words, and under which names its model is pinned.

    ``name`` is for a CAR of others, which names no model.
    """

    label: str
    stream: BinaryIO
    name: str | None = None
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Imported:
    """The pinned model, the CAR's first root, and whether others made the CAR."""

    pinned: PinnedRepo
    root: CID
    foreign: bool


def import_model(resolver: Resolver, parcel: Parcel, progress: Progress = lambda _: None) -> Imported:
    """Pin the model that a CAR holds, or leave everything as it was and raise PinError or OSError."""
    check_revision(parcel.revision)
    with _refusals(parcel.label), _spool(parcel.stream, resolver.catalog.state_dir) as spool:
        blocks = CarBlocks(parcel.stream, spool, progress)
        if not 0 < len(blocks.roots) < 3:
            raise BadContent(f"it names {len(blocks.roots) or 'no'} roots; a model has one, and a second is its record")
        root = blocks.roots[0]
        if len(blocks.roots) == 1:
            return Imported(_import_foreign(resolver, parcel, blocks, progress), root, True)
        pin = _read_record(blocks)
        if parcel.name is not None:
            raise PinError(parcel.label, f"it holds {pin.repo} by its own record; import it without --as")
        _check_complete(root, blocks)
        return Imported(_import_ours(resolver, pin, parcel.revision, blocks, progress), root, False)


class CarBlocks:
    """A source of the blocks of one CAR, all verified when it was read; they lie in ``spool``, or in the CAR itself."""

    name = "car"
    local = True

    def __init__(self, stream: BinaryIO, spool: BinaryIO | None, progress: Progress) -> None:
        self._file, self._lock = spool or stream, threading.Lock()
        self._spans: dict[bytes, tuple[int, int]] = {}
        self.roots, blocks = read_car(stream)
        for block in blocks:
            if spool is not None and block.cid.multihash not in self._spans:
                spool.write(block.data)
            # Behind a frame that was read, as well as behind a block that was written, stands the block's end.
            span = self._file.tell() - len(block.data), len(block.data)
            self._spans.setdefault(block.cid.multihash, span)
            progress(len(block.data))

    def size(self, cid: CID) -> int:
        """Return a block's size; raises BlockNotFound."""
        if cid.hash_code == IDENTITY:
            return len(cid.digest)
        if cid.multihash not in self._spans:
            raise BlockNotFound(self.name, f"it is incomplete, the block {cid} is missing")
        return self._spans[cid.multihash][1]

    def block(self, cid: CID) -> bytes:
        """Return the block; raises BlockNotFound."""
        size = self.size(cid)
        if cid.hash_code == IDENTITY:
            return cid.digest
        with self._lock:
            self._file.seek(self._spans[cid.multihash][0])
            return self._file.read(size)


def _spool(stream: BinaryIO, folder: Path) -> AbstractContextManager[BinaryIO | None]:
    """Return a nameless file for the blocks of a pipe; a file on a disk needs none."""
    try:
        in_place = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except io.UnsupportedOperation:
        in_place = False
    if in_place:
        return nullcontext(None)
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


@contextmanager
def _refusals(label: str) -> Iterator[None]:
    try:
        yield
    except BadCar as exc:
        raise PinError(label, f"this is not a readable CAR file: {exc.reason}; nothing was imported") from exc
    except BadContent as exc:
        raise PinError(label, f"{str(exc).rstrip('.')}; nothing was imported") from exc
    except SourceError as exc:
        raise PinError(label, f"{exc.reason.rstrip('.')}; nothing was imported") from exc


def _read_record(blocks: CarBlocks) -> Pin:
    text = bytearray()
    for piece in read_file(blocks.roots[1], blocks.block):
        text += piece
        if len(text) > _MAX_RECORD:
            raise BadContent(f"its second root has more than {_MAX_RECORD} bytes and is no record of a pin")
    try:
        value = json.loads(text)
        pin = dataclasses.replace(Pin.from_json(value), learned="")
        right = pin.files and pin.root == str(blocks.roots[0])
    except (PinError, *MALFORMED) as exc:
        raise BadContent(f"its second root is no record of a pin ({exc})") from exc
    if not right:
        raise BadContent(f"its record speaks of {pin.root} and its first root is {blocks.roots[0]}")
    if pin.origin != "hub" and pin.commit != commit_of(blocks.roots[0]):
        raise BadContent(f"its record says the commit {pin.commit}, which is not that of {blocks.roots[0]}")
    return pin


def _check_complete(root: CID, blocks: CarBlocks) -> None:
    """Read every inner node once, however often it is linked; raises BlockNotFound or BadBlock."""
    todo, seen = [root], {root}
    while todo:
        cid = todo.pop()
        if cid.codec == RAW:
            blocks.size(cid)
            continue
        below = {link.cid for link in parse_node(cid, read_block(cid, blocks.block)).links} - seen
        seen |= below
        todo.extend(below)


def _check_room(folder: Path, size: int) -> None:
    # A file of others may unfold to exabytes out of a few blocks.
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PinError(str(folder), f"the model needs {size} bytes and {free} are free; make room first")


def _import_ours(resolver: Resolver, pin: Pin, revision: str, blocks: CarBlocks, progress: Progress) -> PinnedRepo:
    catalog, known = resolver.catalog, resolver.catalog.pin(pin.repo, pin.commit, pin.repo_type)
    _check_known(pin, known)
    folders = _check_reference(pin, blocks)
    draft = resolver.bind(pin, revision, [blocks])
    missing = {file.cid: file.size for path, file in pin.files.items() if draft.state(path) != "here"}
    _check_room(Path(draft.cache.cache_dir), sum(missing.values()))
    before = _Before(catalog, draft.cache, pin, known)
    try:
        keep_blocks(catalog, CID.parse(pin.root), folders)
        pinned = resolver.bind(catalog.add(pin), revision, [blocks])
        for path in pin.files:
            _place(resolver, pinned, path, blocks)
            progress(pin.files[path].size)
        pinned.settle()
        # Last, so that the name never stands for half a model.
        catalog.set_ref(pin.repo, revision, pin.commit, pin.repo_type)
    except BaseException:
        before.restore(resolver.policy.lock_timeout)
        raise
    return resolver.bind(pinned.pin, revision, resolver.sources)


def _place(resolver: Resolver, pinned: PinnedRepo, path: str, blocks: CarBlocks) -> None:
    if pinned.state(path) == "changed":
        # What lies there under this name may be right all the same; if not, here are the right bytes.
        finding = check_file(resolver.catalog, pinned.pin, pinned.cache, path)
        if finding.state != "good":
            repair(resolver, finding, [blocks])
    elif not pinned.place(path):
        raise PinError(f"{pinned.repo}/{path}", "it could not be put into the hub cache; the log says why")


def _check_known(pin: Pin, known: Pin | None) -> None:
    for path, file in (known.files if known is not None else {}).items():
        new = pin.files.get(path, file)
        if new.cid != file.cid and (not file.sha256 or new.sha256 != file.sha256):
            raise PinError(f"{pin.repo}@{pin.commit}", f"{path} is pinned with other bytes; `pinformers rm` it first")


def _check_reference(pin: Pin, blocks: CarBlocks) -> tuple[Block, ...]:
    """Return the folders of a pin that is named by a CID of others, if it is what that CID says."""
    if not pin.root_cid:
        return ()
    root = CID.parse(pin.root_cid)
    walk = Walk(Chain([blocks]))
    said = walk.pin(root).files
    if walk.alone is not None:
        said = dict.fromkeys(pin.files, walk.alone)
    same = {path: (file.cid, file.size) for path, file in said.items()}
    if pin.repo != repo_name(root) or same != {path: (file.cid, file.size) for path, file in pin.files.items()}:
        raise BadContent(f"its record does not say what {root} holds")
    return tuple(walk.folders.values())


def _import_foreign(resolver: Resolver, parcel: Parcel, blocks: CarBlocks, progress: Progress) -> PinnedRepo:
    if parcel.name is None:
        raise PinError(parcel.label, "it names no model, others made it; say what to pin it as: --as org/model")
    check_repo(parcel.name)
    root, state_dir = blocks.roots[0], resolver.catalog.state_dir
    if parse_node(root, read_block(root, blocks.block)).kind in ("raw", "file"):
        raise BadContent(f"its root {root} is a file; a model is a folder")
    _check_complete(root, blocks)
    files = [(check_path(path), cid, size) for path, cid, size in walk_directory(root, blocks.block)]
    _check_room(state_dir, sum(blocks.size(cid) if cid.codec == RAW else size for _, cid, size in files))
    state_dir.mkdir(parents=True, exist_ok=True)
    cache = resolver.bind(Pin(parcel.name, ""), parcel.revision, []).cache
    parts = _parts(cache)
    try:
        with tempfile.TemporaryDirectory(prefix="import-", dir=state_dir) as staging:
            for path, cid, _ in files:
                target = Path(staging) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as out:
                    out.writelines(read_file(cid, blocks.block))
            return pin_folder(resolver, Path(staging), parcel.name, parcel.revision, progress)
    except BaseException:
        _drop_parts(cache, parts)
        raise


# -- undoing --------------------------------------------------------------------------------------------------


class _Before:
    """How an import found the records and the hub cache, and how they become so again."""

    def __init__(self, catalog: Catalog, cache: RepoCache, pin: Pin, known: Pin | None) -> None:
        self._catalog, self._cache, self._pin, self._known = catalog, cache, pin, known
        self._made = catalog.place(pin, cache.cache_dir).made
        self._parts = _parts(cache)
        records = (catalog.pin_path(pin.repo, pin.commit, pin.repo_type), catalog.place_path(pin, cache.cache_dir))
        self._records = {path: path.read_bytes() if path.exists() else None for path in records}
        self._dags = {path for path in self._dag_paths() if path.exists()}

    def restore(self, lock_timeout: float) -> None:
        if self._known is None:
            remove_pin(self._catalog, self._pin, lock_timeout=lock_timeout)
        else:
            self._take_back(lock_timeout)
        _drop_parts(self._cache, self._parts)
        needed = {self._catalog.dag_path(cid) for pin in self._catalog.pins() for cid in pin.dags}
        for path in self._dag_paths() - self._dags - needed:
            path.unlink(missing_ok=True)

    def _take_back(self, lock_timeout: float) -> None:
        place = self._catalog.place(self._pin, self._cache.cache_dir)
        new = Place(place.cache_dir, place.files, place.made - self._made)
        Eviction(self._catalog, self._pin, new, Removal(), lock_timeout).run()
        for path, content in self._records.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_bytes(path, content)

    def _dag_paths(self) -> set[Path]:
        paths = {self._catalog.dag_path(cid) for cid in self._pin.dags}
        return paths | {path.with_name(f"{path.name}.part") for path in paths}


def _parts(cache: RepoCache) -> set[Path]:
    return set(cache.folder.glob(f"**/*{PART}"))


def _drop_parts(cache: RepoCache, before: set[Path]) -> None:
    """Delete the halves of files that appeared since ``before``, but for those that another process is writing."""
    for part in _parts(cache) - before:
        name = part.name.removesuffix(PART).rpartition(".")[0]
        with lock(Path(cache.cache_dir) / ".locks" / cache.folder.name / f"{name}.lock", 0) as free:
            if free:
                part.unlink(missing_ok=True)
