"""The blocks of CAR files, read in place: one pass over the files finds where each block lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BadCar, BadCID, BlockMismatch, BlockNotFound, ServeError
from pinformers.ipfs import varint
from pinformers.ipfs.car import read_car
from pinformers.ipfs.cid import CID, IDENTITY
from pinformers.ipfs.dagpb import MAX_BLOCK

# Behind the pragma of a CARv2: 16 bytes of characteristics, then where its CARv1 starts and how long it is.
_PRAGMA = b"\x0a\xa1\x67version\x02"
_HEADER_V2 = len(_PRAGMA) + 40
# The longest start of a frame: a length, then a CID with the longest digest.
_HEAD = 9 + 9 * 4 + 128

Span = tuple[int, int, int]
"""The number of a file, an offset in it, a size."""


class CarFiles:
    """A source out of CAR files (version 1 or 2), which stay as they are; each block is verified when it is asked for.

    Raises ServeError for a file that is no whole CAR. ``progress`` gets the number of bytes since it was last called.
    """

    name = "car"
    local = True

    def __init__(self, paths: Sequence[Path], progress: Callable[[int], None] = lambda _: None) -> None:
        self._paths = [os.fspath(path) for path in paths]
        self._spans: dict[bytes, list[Span]] = {}
        for number, path in enumerate(paths):
            try:
                with open(path, "rb", buffering=0) as stream:
                    self._scan(number, stream, progress)
            except BadCar as exc:
                raise ServeError(str(path), f"this is not a readable CAR file: {exc.reason}.") from exc

    def __len__(self) -> int:
        return len(self._spans)

    def block(self, cid: CID) -> bytes:
        """Return the verified block; raises BlockNotFound."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        reason = "no CAR file holds it"
        for span in self._spans.get(cid.multihash, ()):
            block = self._read(span)
            try:
                cid.verify(block)
            except (BlockMismatch, BadCID) as exc:
                # It was changed, or its hash is none that we know; another file may still hold it.
                reason = str(exc).rstrip(".")
            else:
                return block
        raise BlockNotFound(self.name, f"{cid}: {reason}")

    def _read(self, span: Span) -> bytes:
        number, offset, size = span
        try:
            with open(self._paths[number], "rb", buffering=0) as stream:
                stream.seek(offset)
                return stream.read(size)
        except OSError:
            # A file that went away holds no block: its empty stand-in does not verify.
            return b""

    def _scan(self, number: int, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        done = 0
        for cid, offset, size in _frames(stream):
            known = self._spans.setdefault(cid.multihash, [])
            if not known or known[-1][0] != number:
                known.append((number, offset, size))
            progress(offset + size - done)
            done = offset + size


def _frames(stream: BinaryIO) -> Iterator[tuple[CID, int, int]]:
    end = _end(stream)
    read_car(stream)
    at = stream.tell()
    while at < end:
        stream.seek(at)
        head = stream.read(min(_HEAD, end - at)) or b""
        try:
            length, name = varint.decode(head, 0)
            cid, start = CID.read(head, name)
        except BadCID as exc:
            raise BadCar(f"a block has no usable CID ({exc})") from exc
        except ValueError as exc:
            raise BadCar(str(exc)) from exc
        size = length - (start - name)
        if not 0 <= size <= MAX_BLOCK:
            raise BadCar(f"the block {cid} has {size} bytes, and no block has more than {MAX_BLOCK}")
        at += start
        yield cid, at, size
        at += size
    if at > end:
        raise BadCar("it is cut short")


def _end(stream: BinaryIO) -> int:
    """Return where the blocks end, and leave the stream at its start."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(_HEADER_V2) or b""
    stream.seek(0)
    if not head.startswith(_PRAGMA) or len(head) < _HEADER_V2:
        return size
    offset, length = (int.from_bytes(head[at : at + 8], "little") for at in (27, 35))
    if offset + length > size:
        raise BadCar("it is cut short")
    return offset + length
