"""Take a model out of a CAR file: all of it verified and complete, or nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BadCar, BadContent, PinError, SourceError
from pinformers.ipfs.cid import CID, RAW, Block
from pinformers.ipfs.dag import read_block, read_file, walk_directory
from pinformers.ipfs.dagpb import parse_node
from pinformers.pinning.adoption import keep_blocks
from pinformers.pinning.archive import Progress
from pinformers.pinning.cache import PART, RepoCache, check_room
from pinformers.pinning.car_blocks import CarBlocks, Recut, spool
from pinformers.pinning.cards import read_card
from pinformers.pinning.catalog import Catalog, Place, after, read_ref
from pinformers.pinning.checking import check_file, mend
from pinformers.pinning.folder import SKIPPED, check_whole, pinned_file
from pinformers.pinning.journal import journals_of
from pinformers.pinning.pin import Pin, PinnedFile, check_path, check_repo, check_revision, commit_of, same_bytes
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.records import MALFORMED, lock, write_bytes
from pinformers.pinning.references import Reference, Walk, repo_name
from pinformers.pinning.removal import Eviction, Removal, take_back
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.shared_tree import foreign_pin
from pinformers.pinning.times import now
from pinformers.sources.base import Chain, Source

# A record has some 400 bytes a file; one of a hostile hand may unfold to any size out of few blocks.
_MAX_RECORD = 64 << 20
# Of every file system that a cache lies on.
_MAX_NAME = 255


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
    with _refusals(parcel.label), spool(parcel.stream, resolver.catalog.state_dir) as copy:
        blocks = CarBlocks(parcel.stream, copy, progress)
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
        pin = foreign_pin(value)
        right = pin.files and value["root"] == pin.root == str(blocks.roots[0])
    except (PinError, *MALFORMED) as exc:
        raise BadContent(f"its second root is no record of a pin ({exc})") from exc
    if not right:
        raise BadContent(f"its record speaks of {pin.root} and its first root is {blocks.roots[0]}")
    if pin.origin != "hub" and pin.commit != commit_of(blocks.roots[0]):
        raise BadContent(f"its record says the commit {pin.commit}, which is not that of {blocks.roots[0]}")
    by_content = Reference.parse(pin.repo) is not None
    if by_content != (pin.origin == "ipfs") or (by_content and pin.repo != repo_name(blocks.roots[0])):
        raise BadContent(f"its record calls {blocks.roots[0]} {pin.repo}, a name that is not its own")
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


@dataclass(frozen=True, slots=True)
class _Model:
    """What is to be put in place: a pin, who delivers its blocks, and the nodes of folders that others built."""

    pin: Pin
    source: Source
    folders: tuple[Block, ...] = ()


def _bring(resolver: Resolver, model: _Model, revision: str, progress: Progress) -> PinnedRepo:
    with resolver.catalog.alone(model.pin):
        return _bring_alone(resolver, model, revision, progress)


def _bring_alone(resolver: Resolver, model: _Model, revision: str, progress: Progress) -> PinnedRepo:
    catalog, pin = resolver.catalog, model.pin
    known = catalog.pin(pin.repo, pin.commit, pin.repo_type)
    draft = resolver.bind(pin, revision, [model.source])
    pin = _agreed(pin, known, draft.cache)
    missing = {file.cid: file.size for path, file in pin.files.items() if draft.state(path) != "here"}
    check_room(Path(draft.cache.cache_dir), sum(missing.values()))
    before = _Before(catalog, draft.cache, pin, known)
    try:
        keep_blocks(catalog, CID.parse(pin.root), model.folders)
        pinned = resolver.bind(catalog.add(pin), revision, [model.source])
        # Before the first byte: what a killed process had no time to note, nobody would ever delete.
        pinned.intend(pin.files)
        for path in pin.files:
            _place(resolver, pinned, path, model.source, known)
            progress(pin.files[path].size)
        if pin.origin == "folder" and pin.info is None:
            card = read_card(pinned.cache.file(pin.commit, "README.md"))
            joined = catalog.amend(pin._replace(info=card)) or pin
            pinned = resolver.bind(joined, revision, [model.source])
        pinned.settle()
        check_whole(catalog, pin)
        # Last, so that the name never stands for half a model.
        _name(resolver, pinned, revision)
    except BaseException:
        before.restore(resolver.policy.lock_timeout)
        raise
    return resolver.bind(pinned.pin, revision, resolver.sources)


def _place(resolver: Resolver, pinned: PinnedRepo, path: str, source: Source, known: Pin | None) -> None:
    if pinned.state(path) != "changed":
        pinned.put(path)
        return
    # What lies there under this name may be right all the same; if not, here are the right bytes.
    finding = check_file(resolver.catalog, pinned.pin, pinned.cache, path)
    if finding.state == "good":
        return
    if pinned.pin.origin == "hub" and (known is None or path not in known.files):
        # The hub's client wrote it and nobody pinned it: a CAR has no more right to the name than those bytes have.
        advice = f"the hub cache holds other bytes for it ({finding.why}); delete {finding.file} if they are wrong"
        raise PinError(f"{pinned.repo}/{path}", advice)
    mend(resolver, finding, [source])


def _name(resolver: Resolver, pinned: PinnedRepo, revision: str) -> None:
    catalog, pin = resolver.catalog, pinned.pin
    noted = catalog.ref(pin.repo, revision, pin.repo_type)
    if noted is None or noted[0] != pin.commit or resolver.commit(pin.repo, revision) != pin.commit:
        now_on = after(noted, read_ref(pinned.cache.ref_path(revision)))
        catalog.set_ref(pin.repo, revision, pin.commit, pin.repo_type, noted=now_on)


def _agreed(pin: Pin, known: Pin | None, cache: RepoCache) -> Pin:
    """Join to each file what the hub said of it here, which is then held against its bytes.

    Raises PinError where the CAR contradicts what is known of the commit: its name does not make its files true.
    """
    files, tree = known.files if known is not None else {}, cache.tree(pin.commit)
    listing = {**(tree or {}), **(known.others if known is not None else {})}
    listing |= {path: file.hub for path, file in files.items()}
    agreed: dict[str, PinnedFile] = {}
    for path, file in pin.files.items():
        subject, ours = f"{pin.repo}@{pin.commit}", files.get(path, file)
        if not same_bytes(ours, file):
            raise PinError(subject, f"{path} is pinned with other bytes; `pinformers rm` it first")
        if any(len(name.encode()) > _MAX_NAME for name in path.split("/")):
            raise PinError(subject, f"{path} has a name of more than {_MAX_NAME} bytes, which no file can have")
        if path not in listing and (tree is not None or (known is not None and known.listed)):
            raise PinError(subject, f"the listing of it that is here has no {path}")
        hub = {**file.hub, **listing.get(path, {})}
        try:
            agreed[path] = PinnedFile.from_json({**file.to_json(), "sha256": ours.sha256 or file.sha256, "hub": hub})
        except MALFORMED as exc:
            raise PinError(subject, f"{path} is not the file that the hub named here ({exc})") from exc
    return pin._replace(files=agreed)


def _import_ours(resolver: Resolver, pin: Pin, revision: str, blocks: CarBlocks, progress: Progress) -> PinnedRepo:
    root = CID.parse(pin.root)
    walk = Walk(Chain([blocks]))
    said = walk.pin(root).files
    if walk.alone is not None and pin.root_cid:
        said = dict.fromkeys(pin.files, walk.alone)
    # A raw block has no size of its own to contradict the record: one of zero bytes would pass for any.
    same = {path: (file.cid, file.size) for path, file in said.items()}
    if same != {path: (file.cid, file.size) for path, file in pin.files.items()}:
        raise BadContent(f"its record does not say what {root} holds")
    folders = tuple(walk.folders.values()) if pin.root_cid else ()
    return _bring(resolver, _Model(pin, blocks, folders), revision, progress)


# -- CARs of others -------------------------------------------------------------------------------------------


def _import_foreign(resolver: Resolver, parcel: Parcel, blocks: CarBlocks, progress: Progress) -> PinnedRepo:
    """Pin a folder of others as ``pin_folder`` would pin it from a disk, so that equal folders are equal pins."""
    if parcel.name is None:
        raise PinError(parcel.label, "it names no model, others made it; say what to pin it as: --as org/model")
    if Reference.parse(check_repo(parcel.name)) is not None:
        raise PinError(parcel.name, "a name by content is not free to choose; say --as org/model")
    root = blocks.roots[0]
    if parse_node(root, read_block(root, blocks.block)).kind in ("raw", "file"):
        raise BadContent(f"its root {root} is a file; a model is a folder")
    _check_complete(root, blocks)
    found = {check_path(path): (cid, size) for path, cid, size in walk_directory(root, blocks.block)}
    found = {path: (cid, blocks.size(cid) if cid.codec == RAW else size) for path, (cid, size) in found.items()}
    found = {path: of for path, of in found.items() if not SKIPPED.intersection(path.split("/"))}
    if not found:
        raise BadContent(f"the folder {root} holds no file")
    check_room(Path(resolver.default_cache), sum(size for _, size in found.values()))
    recut = Recut(blocks, progress, resolver.policy.chunking)
    dags = {path: recut.add(*of) for path, of in sorted(found.items())}
    files = {path: pinned_file(path, dag) for path, dag in dags.items()}
    draft = Pin(parcel.name, "", files, listed=True, origin="folder", pinned_at=now())
    pin = draft._replace(commit=commit_of(draft.directory().cid))
    return _bring(resolver, _Model(pin, recut), parcel.revision, progress)


# -- undoing --------------------------------------------------------------------------------------------------


class _Before:
    """How an import found the records and the hub cache, and how they become so again."""

    def __init__(self, catalog: Catalog, cache: RepoCache, pin: Pin, known: Pin | None) -> None:
        self._catalog, self._cache, self._pin, self._known = catalog, cache, pin, known
        self._made = catalog.place(pin, cache.cache_dir).made
        self._parts = _parts(cache)
        records = (catalog.pin_path(pin.repo, pin.commit, pin.repo_type), catalog.place_path(pin, cache.cache_dir))
        # A journal before its record: of one that is folded meanwhile no line is missed.
        files = (path for record in records for path in (*map(Path, journals_of(record)), record))
        self._records = {path: path.read_bytes() if path.exists() else None for path in files}
        self._dags = {path for path in self._dag_paths() if path.exists()}

    def restore(self, lock_timeout: float) -> None:
        if self._known is None:
            take_back(self._catalog, self._pin, lock_timeout=lock_timeout)
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
