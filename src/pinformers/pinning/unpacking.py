"""Read the model in a CAR file, of ours or of others, and take it in: all of it, or nothing."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BadBlock, BadCar, BadContent, BlockNotFound, PinError, PinformersError
from pinformers.ipfs.car import read_car
from pinformers.ipfs.cid import CID, IDENTITY, RAW, Block
from pinformers.ipfs.dag import Leaf, known_leaves, read_block, read_file, read_parts, walk_directory
from pinformers.ipfs.dagpb import parse_node
from pinformers.ipfs.unixfs import FileDag, FileHasher
from pinformers.pinning.adoption import now
from pinformers.pinning.archive import Record
from pinformers.pinning.folder import _SKIPPED, _pinned
from pinformers.pinning.pin import Pin, check_path, check_repo, check_revision
from pinformers.pinning.placing import Placing
from pinformers.pinning.records import MALFORMED
from pinformers.pinning.references import Reference, commit_of, repo_name
from pinformers.pinning.resolver import DEFAULT_REVISION, Resolver
from pinformers.sources.base import Source

Progress = Callable[[int], None]
_FOLDERS = ("directory", "shard")
_RECORD_SIZE = 64 << 20


@dataclass(frozen=True, slots=True)
class Arrival:
    """Which CAR is to be imported (``label`` is what to call it), and the name and revision that were asked for."""

    label: str
    name: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """The pin as it is recorded, the root of the CAR, the paths that were not here before.

    ``departs`` says why the pin has another root than the CAR; it is empty where it has the same.
    """

    pin: Pin
    root: CID
    brought: list[str]
    departs: str = ""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a CAR holds: a pin, who delivers its blocks, the inner ones by their file, the names it is to have."""

    pin: Pin
    source: Source
    nodes: Mapping[str, tuple[Block, ...]]
    revisions: tuple[str, ...]
    departs: str = ""


def import_archive(
    resolver: Resolver, stream: BinaryIO, arrival: Arrival, progress: Progress = lambda _: None
) -> Imported:
    """Pin the model of a CAR; ``progress`` gets bytes that were read, hashed or put in place.

    Raises PinError, in one sentence, for whatever stands against it, and nothing of it is left then.
    """
    try:
        if arrival.name is not None and Reference.parse(check_repo(arrival.name)) is not None:
            raise PinError(arrival.name, "a model is named like 'org/model'")
        check_revision(arrival.revision or DEFAULT_REVISION)
        with Shelf(stream, resolver.catalog.state_dir, progress) as shelf:
            content = _read(shelf, arrival, progress)
            pin, brought = Placing(resolver, content.pin, content.source, content.nodes, progress).run(
                content.revisions
            )
            return Imported(pin, shelf.roots[0], brought, content.departs)
    except BadCar as exc:
        raise _refused(arrival, f"this is not a readable CAR file ({exc.reason})") from exc
    except (BadContent, BlockNotFound) as exc:
        reason = exc.reason if isinstance(exc, BlockNotFound) else str(exc)
        raise _refused(arrival, reason[:1].lower() + reason[1:]) from exc
    except PinformersError as exc:
        raise _refused(arrival, str(exc)) from exc
    except OSError as exc:
        raise _refused(arrival, exc.strerror or str(exc)) from exc


def _refused(arrival: Arrival, why: str) -> PinError:
    return PinError(arrival.label, f"{why.rstrip('.')}; nothing of it was imported.")


class Shelf:
    """The verified blocks of one CAR, in whatever order they came: in the file itself, or in a copy that has no name.

    The copy is for streams that cannot be read twice. Without a name nothing of it can stay, however the process ends.
    """

    name = "car"
    local = True

    def __init__(self, stream: BinaryIO, folder: Path, progress: Progress = lambda _: None) -> None:
        self._lock = threading.Lock()
        self._spans: dict[bytes, tuple[int, int]] = {}
        self._stream, self._copied = stream, not stream.seekable()
        self.roots, blocks = read_car(stream)
        if self._copied:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed with the shelf)
        try:
            for block in blocks:
                self._take(block)
                progress(len(block.data))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the copy."""
        if self._copied:
            self._stream.close()

    def _take(self, block: Block) -> None:
        if block.cid.multihash in self._spans:
            return
        offset = self._stream.tell()
        if self._copied:
            self._stream.write(block.data)
        else:
            # The stream stands behind the block that it has just delivered.
            offset -= len(block.data)
        self._spans[block.cid.multihash] = offset, len(block.data)

    def size(self, cid: CID) -> int:
        """Return how many bytes a block has."""
        return len(cid.digest) if cid.hash_code == IDENTITY else self._span(cid)[1]

    def block(self, cid: CID) -> bytes:
        """Return a block; whoever asked verifies it again, since the file may have changed meanwhile."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        offset, size = self._span(cid)
        with self._lock:
            self._stream.seek(offset)
            return self._stream.read(size)

    def holds(self, cid: CID) -> bool:
        """Whether the block is here."""
        return cid.multihash in self._spans

    def _span(self, cid: CID) -> tuple[int, int]:
        if cid.multihash not in self._spans:
            raise BlockNotFound(self.name, f"the block {cid} is missing in it")
        return self._spans[cid.multihash]


# -- what is in it --------------------------------------------------------------------------------------------


def _read(shelf: Shelf, arrival: Arrival, progress: Progress) -> _Content:
    roots = tuple(dict.fromkeys(shelf.roots))
    if not roots:
        raise BadCar("it names no root")
    record = _record(shelf, roots[1]) if len(roots) == 2 else None
    if len(roots) > 1 and record is None:
        raise BadCar(f"it has {len(roots)} roots, and a model is one folder")
    _check_whole(shelf, roots[0])
    if record is not None and arrival.name in (None, record.pin.repo):
        return _recorded(shelf, roots[0], record, arrival)
    if arrival.name is None:
        raise PinError(str(roots[0]), "no record of ours says which model it is; give the name, --as org/model")
    return _foreign(shelf, roots[0], arrival, progress)


def _record(shelf: Shelf, cid: CID) -> Record | None:
    """Read the record in a second root; None where that is something else."""
    node = parse_node(cid, read_block(cid, shelf.block))
    if node.kind in _FOLDERS or node.file_size > _RECORD_SIZE:
        return None
    content = bytearray()
    for piece in read_file(cid, shelf.block):
        content += piece
    return Record.from_bytes(bytes(content))


def _check_whole(shelf: Shelf, root: CID) -> None:
    """Raise BlockNotFound unless all that hangs on ``root`` is here; each block is looked at once, however often used."""
    ahead, seen = [root], set[CID]()
    while ahead:
        cid = ahead.pop()
        if cid in seen:
            continue
        seen.add(cid)
        if cid.codec == RAW:
            shelf.size(cid)
        else:
            ahead += [link.cid for link in parse_node(cid, read_block(cid, shelf.block)).links]


def _files(shelf: Shelf, root: CID) -> dict[str, tuple[CID, int]]:
    """Return the CID and the size of every file below a folder."""
    found = {
        check_path(path): (cid, shelf.size(cid) if cid.codec == RAW else size)
        for path, cid, size in walk_directory(root, shelf.block)
    }
    if not found:
        raise PinError(str(root), "the folder holds no file")
    return found


def _recorded(shelf: Shelf, root: CID, record: Record, arrival: Arrival) -> _Content:
    """Believe the record what the blocks confirm; the files' hashes are held against them when they are placed."""
    pin = dataclasses.replace(record.pin, learned="")
    node = parse_node(root, read_block(root, shelf.block))
    if node.kind in _FOLDERS:
        found = _files(shelf, root)
    else:
        # One file that has only the names that its record gives it, as a pin by content may be.
        found = dict.fromkeys(pin.files if pin.origin == "ipfs" else (), (root, node.file_size))
    same = bool(found) and found == {path: (CID.parse(file.cid), file.size) for path, file in pin.files.items()}
    if not same or not _is_named(pin, root):
        raise PinError(pin.repo, f"its record does not describe the root {root}")
    nodes = {file.cid: tuple(_inner(shelf, CID.parse(file.cid))) for file in pin.files.values()}
    if node.kind in _FOLDERS and pin.root_cid:
        nodes[pin.root_cid] = tuple(_folders(shelf, root))
    revisions = record.revisions if arrival.revision is None else (arrival.revision,)
    return _Content(pin, shelf, nodes, revisions)


def _is_named(pin: Pin, root: CID) -> bool:
    """Whether a pin may bear its name: one by content only that of its root, one of the hub's form none of those."""
    if pin.origin == "ipfs":
        return (pin.root_cid, pin.repo, pin.commit) == (str(root), repo_name(root), commit_of(root))
    try:
        return Reference.parse(pin.repo) is None and pin.directory().cid == root
    except MALFORMED:
        # Sizes that no DAG has.
        return False


def _foreign(shelf: Shelf, root: CID, arrival: Arrival, progress: Progress) -> _Content:
    """Describe a folder of others as `pinformers pin` describes it on a disk, so that equal folders get equal names."""
    if parse_node(root, read_block(root, shelf.block)).kind not in _FOLDERS:
        raise PinError(str(root), "it is one file, and a model is a folder of files")
    found = _files(shelf, root)
    taken = {path: of for path, of in found.items() if not _SKIPPED.intersection(path.split("/")[:-1])}
    recut = Recut(shelf, progress)
    dags = {path: recut.add(*of) for path, of in sorted(taken.items())}
    files = {path: _pinned(path, dag) for path, dag in dags.items()}
    draft = Pin(str(arrival.name), "", files, listed=True, origin="folder", pinned_at=now())
    ours = draft.directory().cid
    departs = ""
    if ours != root:
        others = any(dag.cid != found[path][0] for path, dag in dags.items())
        departs = "its files were cut into other blocks" if others else "its folders were built in another way"
    pin = dataclasses.replace(draft, commit=commit_of(ours))
    nodes = {str(dag.cid): dag.nodes for dag in dags.values()}
    return _Content(pin, recut, nodes, (arrival.revision or DEFAULT_REVISION,), departs)


class Recut:
    """Files of others in blocks of ours, read out of theirs; where both are the same, the blocks themselves."""

    name = "car"
    local = True

    def __init__(self, shelf: Shelf, progress: Progress) -> None:
        self._shelf, self._progress = shelf, progress
        self._nodes: dict[CID, bytes] = {}
        self._leaves: dict[CID, tuple[CID, Leaf]] = {}

    def add(self, cid: CID, size: int) -> FileDag:
        """Hash a file, and learn where its leaves lie in it."""
        hasher = FileHasher(size, git=True)
        for piece in read_file(cid, self._shelf.block):
            hasher.update(piece)
            self._progress(len(piece))
        dag = hasher.finish()
        if dag.cid != cid:
            inner = {node.cid: node.data for node in dag.nodes}
            self._nodes.update(inner)
            for leaf in known_leaves(dag.cid, dag.size, inner):
                self._leaves.setdefault(leaf.cid, (cid, leaf))
        return dag

    def block(self, cid: CID) -> bytes:
        """Return a block of either kind."""
        if cid in self._nodes:
            return self._nodes[cid]
        if cid not in self._leaves or self._shelf.holds(cid):
            return self._shelf.block(cid)
        file, leaf = self._leaves[cid]
        block = bytearray()
        for part, piece in read_parts(file, self._shelf.block, start=leaf.offset):
            block += piece[max(0, leaf.offset - part.offset) :]
            if len(block) >= leaf.size:
                break
        return bytes(block[: leaf.size])


def _inner(shelf: Shelf, root: CID) -> Iterator[Block]:
    """Yield the nodes of a file that have links, parents first."""
    ahead, seen = [root], set[CID]()
    while ahead:
        cid = ahead.pop()
        if cid.codec == RAW or cid in seen:
            continue
        seen.add(cid)
        block = read_block(cid, shelf.block)
        links = parse_node(cid, block).links
        if links:
            yield Block(cid, block)
        ahead += [link.cid for link in reversed(links)]


def _folders(shelf: Shelf, root: CID) -> Iterator[Block]:
    """Yield the nodes of a folder, its shards and those below it, parents first."""
    found: dict[CID, Block] = {}

    def fetch(cid: CID) -> bytes:
        block = shelf.block(cid)
        if parse_node(cid, block).kind in _FOLDERS:
            found.setdefault(cid, Block(cid, block))
        return block

    for _ in walk_directory(root, fetch):
        pass
    yield from found.values()
