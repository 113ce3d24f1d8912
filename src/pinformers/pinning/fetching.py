"""A file's bytes out of blocks: many are fetched at once, each is verified, the order is the file's."""

from __future__ import annotations

import hashlib
import io
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pinformers._errors import BadBlock, BadCar, BlockMismatch, PinError
from pinformers.ipfs.car import append_car, read_car, write_car
from pinformers.ipfs.cid import CID, DAG_PB, IDENTITY, RAW, Block
from pinformers.ipfs.dag import Fetch, Runs, known_leaves, leaf_block, read_parts
from pinformers.ipfs.dagpb import parse_node
from pinformers.pinning.ahead import WINDOW, Ahead
from pinformers.pinning.cache import RepoCache, Told, check_room, nobody
from pinformers.pinning.clones import Looks, clone
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import sync, write_bytes
from pinformers.sources.workers import Workers

# The bytes that a copy holds in memory.
_COPIED = 4 << 20
# So many bytes that were written are worth a wait for the disk.
_FLUSHED = 32 << 20

_logger = logging.getLogger("pinformers")


class Fetched(NamedTuple):
    """What was ``made`` in the repo's folder, whether the bytes in place were ``verified`` here, and the file itself.

    They were not where another hand was first.
    """

    made: list[str]
    verified: bool
    file: PinnedFile


Placed = Callable[[Fetched], None]


def fetch_file(
    cache: RepoCache,
    pin: Pin,
    path: str,
    fetch: Fetch,
    dag_path: Path,
    placed: Placed = nobody,
    runs: Runs | None = None,
    coming: Told = nobody,
) -> Fetched:
    """Put a pinned file in place out of verified blocks, and its inner blocks at ``dag_path``.

    What an earlier fetch had verified is not fetched again. ``runs`` is asked first for leaves that stand side by side.
    ``coming`` is told what is going to be made of it once all is verified, ``placed`` before others that wait for it
    find it. Raises SourceError, BadContent or OSError; after the first the verified part is kept for the next time.
    """
    one = _FileFetch(pin.files[path], fetch, Nodes(CID.parse(pin.files[path].cid), dag_path), runs)
    return _put(cache, pin, path, one, placed, coming)


def copy_file(
    cache: RepoCache, pin: Pin, path: str, source: Path, looks: Looks | None = None, placed: Placed = nobody
) -> Fetched:
    """Put a pinned file in place out of ``source``; raises PinError where that holds other bytes, and OSError.

    Where it still ``looks`` as it did when it was hashed, a clone of it is made if the file system can.
    """
    return _put(cache, pin, path, _FileCopy(pin.files[path], source, looks), placed)


def _put(
    cache: RepoCache, pin: Pin, path: str, one: _FileFetch | _FileCopy, placed: Placed, coming: Told = nobody
) -> Fetched:
    def fetched(made: list[str]) -> Fetched:
        written = any(name.startswith("blobs/") or name == f"snapshots/{pin.commit}/{path}" for name in made)
        return Fetched(made, written and one.wrote, one.file)

    name = pin.files[path].etag or pin.files[path].sha256 or pin.files[path].cid
    made = cache.add_file(pin.commit, path, name, one.write, lambda made: placed(fetched(made)), coming)
    return fetched(made)


class _FileCopy:
    """One file on its way from another place on this machine."""

    def __init__(self, file: PinnedFile, source: Path, looks: Looks | None) -> None:
        self.file, self.wrote = file, False
        self._source, self._looks = source, looks

    def write(self, out: BinaryIO) -> None:
        """Write it anew, as a clone of what looks as when it was hashed, or else read and checked."""
        out.truncate(0)
        if self._looks is None or not clone(self._source, self._looks, out):
            check_room(Path(out.name).parent, self.file.size)
            out.truncate(0)
            self._read(out)
        self.wrote = True

    def _read(self, out: BinaryIO) -> None:
        # Equal sha256 are equal bytes, and so equal blocks.
        sha256, buffer = hashlib.sha256(), memoryview(bytearray(_COPIED))
        with open(self._source, "rb", buffering=0) as source:
            _write(out, (buffer[:count] for count in iter(partial(source.readinto, buffer), 0)), sha256.update)
        if sha256.hexdigest() != self.file.sha256:
            raise PinError(str(self._source), "it changed while it was pinned; pin it again")


class _FileFetch:
    """One file on its way into a part."""

    def __init__(self, file: PinnedFile, fetch: Fetch, nodes: Nodes, runs: Runs | None) -> None:
        self.file, self.wrote = file, False
        self._cid, self._fetch, self._nodes, self._runs = CID.parse(file.cid), fetch, nodes, runs
        self._sha256 = hashlib.sha256()
        # The blob is going to be named by this id; that of an LFS file is the id of its pointer.
        self._blob_id = None if file.hub.get("lfs_sha256") else file.hub.get("blob_id")
        self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def write(self, out: BinaryIO) -> None:
        """Write what is missing behind the part's verified bytes, and check the whole."""
        start = self._resume(out)
        check_room(Path(out.name).parent, self.file.size - start)
        out.seek(start)
        out.truncate()
        ahead = Ahead(self._block, start, self._runs)
        try:
            fetch, size = self._noted(ahead.fetch), self.file.size
            parts = read_parts(self._cid, fetch, start=start, size=size, verified=True)
            _write(out, (piece for _, piece in parts), self._take, WINDOW)
        finally:
            ahead.close()
        self._check()
        self._nodes.keep()
        self.wrote = True

    def _block(self, cid: CID) -> bytes:
        return self._nodes.get(cid) or self._fetch(cid)

    def _noted(self, fetch: Fetch) -> Fetch:
        def noted(cid: CID) -> bytes:
            block = fetch(cid)
            self._nodes.add(cid, block)
            return block

        return noted

    def _resume(self, out: BinaryIO) -> int:
        """Hash what lies in the part; returns how many bytes of it are true."""
        end, done = out.seek(0, 2), 0
        out.seek(0)
        if not end:
            return 0
        if self._cid.codec == DAG_PB and self._cid.hash_code != IDENTITY:
            self._noted(self._block)(self._cid)
        # The nodes below the root came before the bytes did. Where one was lost since, its bytes are fetched again.
        with suppress(BadBlock, BlockMismatch):
            for leaf in known_leaves(self._cid, self.file.size, self._nodes.blocks):
                piece = out.read(leaf.size) if leaf.offset + leaf.size <= end else b""
                leaf_block(leaf, piece, self._nodes.blocks)
                self._take(piece)
                done += len(piece)
        return done

    def _take(self, piece: bytes | memoryview) -> None:
        self._sha256.update(piece)
        if self._blob_id:
            self._git.update(piece)

    def _check(self) -> None:
        if self.file.size <= 0 and self._cid.codec == RAW:
            # No block was asked for: an empty file is one that everybody has.
            self._cid.verify(b"")
        sha256 = self._sha256.hexdigest()
        if self.file.sha256 not in ("", sha256) or self._blob_id not in (None, "", self._git.hexdigest()):
            # Every block matched its CID, so the pin contradicts itself: its hashes belong to different bytes.
            raise BlockMismatch(f"{self.file.cid} (sha256 {self.file.sha256}, git {self._blob_id})")
        self.file = self.file._replace(sha256=sha256)


def _write(
    out: BinaryIO, pieces: Iterable[bytes | memoryview], take: Callable[[bytes | memoryview], None], behind: int = 0
) -> None:
    """Write pieces and have ``take`` hash each meanwhile: both release the GIL, so that two cores are at work.

    So many pieces may wait ``behind`` for their hash: none where the next one comes in the same memory.
    """
    hashing, flushing = _Hashing(take), _Flushing(out)
    try:
        for piece in pieces:
            hashing.add(piece)
            out.write(piece)
            flushing.wrote(len(piece))
            hashing.wait(behind)
        hashing.wait(0)
    finally:
        hashing.close()
        flushing.close()
    flushing.check()


class _Hashing:
    """Hash pieces in their order beside whoever writes them, without a word between the two for each."""

    def __init__(self, take: Callable[[bytes | memoryview], None]) -> None:
        self._take, self._workers = take, Workers("pinformers-hash")
        self._pieces: deque[bytes | memoryview] = deque()
        self._running: Future[None] | None = None

    def add(self, piece: bytes | memoryview) -> None:
        """Have a piece hashed: by whoever hashes the one before, or anew."""
        self._pieces.append(piece)
        self._going()

    def wait(self, most: int) -> None:
        """Wait until no more than so many pieces are left to hash."""
        while len(self._pieces) > most:
            self._going().result()

    def close(self) -> None:
        """Let the thread end; what is left is hashed by nobody."""
        self._pieces.clear()
        self._workers.close()

    def _going(self) -> Future[None]:
        # One that ends may have looked for more a moment before a piece came.
        if self._running is None or self._running.done():
            self._running = self._workers.submit(self._hash)
        return self._running

    def _hash(self) -> None:
        while self._pieces:
            self._take(self._pieces[0])
            self._pieces.popleft()


class _Flushing:
    """Have the disk take what was written so far, so that who ends the file has little of it to wait for."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._workers = out, Workers("pinformers-flush")
        self._dirty = 0
        self._running: Future[None] | None = None

    def wrote(self, count: int) -> None:
        """Take in that so many bytes more were written; raises what the disk said of those before."""
        self._dirty += count
        if self._dirty >= _FLUSHED and (self._running is None or self._running.done()):
            self.check()
            self._dirty = 0
            self._out.flush()
            self._running = self._workers.submit(partial(sync, self._out.fileno()))

    def close(self) -> None:
        """Wait for the disk: the file is closed next, and its number may be another's then."""
        if self._running is not None and self._running.exception() is not None:
            # Where something else failed too, nobody hears of it: what did not reach the disk may not be kept.
            with suppress(OSError):
                self._out.truncate(0)
        self._workers.close()

    def check(self) -> None:
        """Raise what the disk said: the system tells each error once, and the file's end would not hear of it."""
        if self._running is not None:
            self._running.result()


class Nodes:
    """The inner blocks of one file, kept as they arrive: they serve others, and a resumed fetch asks for none twice."""

    def __init__(self, root: CID, path: Path) -> None:
        self._root, self._path = root, path
        self._part = path.with_name(f"{path.name}.part")
        self.blocks = {block.cid: block.data for kept in (path, self._part) for block in _kept(kept)}
        self._started = False

    def get(self, cid: CID) -> bytes | None:
        """Return a kept block, or None."""
        return self.blocks.get(cid)

    def add(self, cid: CID, block: bytes) -> None:
        """Keep a block if it is an inner node; it is verified when it is read again."""
        if cid.codec != DAG_PB or cid in self.blocks or not parse_node(cid, block).links:
            return
        self.blocks[cid] = block
        with self._noted():
            self._part.parent.mkdir(parents=True, exist_ok=True)
            # Written anew at first: what a crash had left may end in half a block.
            with open(self._part, "ab" if self._started else "wb") as out:
                if self._started:
                    append_car(out, [Block(cid, block)])
                else:
                    write_car(out, [self._root], self._all())
            self._started = True

    def keep(self) -> None:
        """Give the kept blocks their name: they are complete."""
        if self._started or self._part.exists():
            out = io.BytesIO()
            write_car(out, [self._root], self._all())
            with self._noted():
                write_bytes(self._path, out.getvalue())
                self._part.unlink(missing_ok=True)

    def _all(self) -> Iterator[Block]:
        return (Block(*pair) for pair in self.blocks.items())

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            _logger.warning("The blocks of %s cannot be kept (%s): it is not served to others.", self._root, exc)


def _kept(path: Path) -> Iterator[Block]:
    try:
        with open(path, "rb") as stream:
            yield from read_car(stream)[1]
    except FileNotFoundError:
        return
    except (BadCar, BlockMismatch) as exc:
        # Cut short by a crash, which the next fetch mends; what stands before is true.
        _logger.debug("%s ends early: %s", path, exc)
