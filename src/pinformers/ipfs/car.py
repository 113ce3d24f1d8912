"""CAR files: blocks one after another; version 1 written, 1 and 2 read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from pinformers._errors import BadCar, BadCID
from pinformers.ipfs import varint
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.cid import CID, RAW, Block
from pinformers.ipfs.dagpb import MAX_BLOCK

if TYPE_CHECKING:
    from pinformers.ipfs.buffers import Readable

# dag-cbor, by hand: maps sort by key length first, so "roots" stands before "version".
_HEAD_ROOTS = b"\xa2\x65roots"
_TAIL_VERSION_1 = b"\x67version\x01"
_HEADER_V2 = b"\xa1\x67version\x02"
# Tag 42: a CID, as a byte string with a zero byte in front.
_TAG_CID = b"\xd8\x2a"
_MAX_HEADER = 1 << 20
_MAX_CID = 256
# How nearly every CID begins: version 1, raw or dag-pb, sha256. It has 36 bytes.
_USUAL = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")


def write_car(out: BinaryIO, roots: Sequence[CID], blocks: Iterable[Block]) -> int:
    """Write a CARv1 stream and return its length."""
    header = _HEAD_ROOTS + _cbor_head(4, len(roots))
    for root in roots:
        encoded = b"\0" + root.to_bytes()
        header += _TAG_CID + _cbor_head(2, len(encoded)) + encoded
    header += _TAIL_VERSION_1
    prefix = varint.encode(len(header))
    out.write(prefix + header)
    return len(prefix) + len(header) + append_car(out, blocks)


def append_car(out: BinaryIO, blocks: Iterable[Block]) -> int:
    """Write further blocks to a CARv1 stream and return their length."""
    written = 0
    for block in blocks:
        name = block.cid.to_bytes()
        prefix = varint.encode(len(name) + len(block.data)) + name
        out.write(prefix)
        out.write(block.data)
        written += len(prefix) + len(block.data)
    return written


def read_car(stream: BinaryIO, buffers: Buffers | None = None) -> tuple[tuple[CID, ...], Iterator[Block]]:
    """Read the header now and the blocks while they are iterated, each verified.

    Raises BadCar for a malformed stream and BlockMismatch for a false block. Neither roots nor completeness are
    checked: a source may send more, fewer or other blocks than asked for. With ``buffers``, raw leaves are read into
    them.
    """
    source = _Stream(stream, buffers)
    header = source.frame(_MAX_HEADER)
    if header == _HEADER_V2:
        source.enter_v2(len(header) + 1)
        header = source.frame(_MAX_HEADER)
    if header is None:
        raise BadCar("it is empty")
    return _parse_header(header), _blocks(source)


def _blocks(source: _Stream) -> Iterator[Block]:
    while (length := source.length(MAX_BLOCK + _MAX_CID)) is not None:
        frame = source.exactly(min(length, 36))
        try:
            if length < 36 or not frame.startswith(_USUAL):
                frame += source.exactly(length - len(frame))
            cid, end = CID.read(frame, 0)
            # Read apart, so that a MiB is not copied once more.
            rest = length - len(frame)
            alone = cid.codec == RAW and end == len(frame)
            content = source.leaf(rest) if alone else frame[end:] + source.exactly(rest)
            if len(content) > MAX_BLOCK:
                raise BadCar(f"the block {cid} has {len(content)} bytes, more than {MAX_BLOCK}")
            cid.verify(content)
        except BadCID as exc:
            raise BadCar(f"a block has no usable CID ({exc})") from exc
        yield Block(cid, content)


class _Stream:
    """Read whole frames from a stream that may give less than asked for, up to a limit that CARv2 sets."""

    def __init__(self, stream: BinaryIO, buffers: Buffers | None) -> None:
        self._stream, self._buffers = stream, buffers
        self._left: int | None = None

    def frame(self, limit: int) -> bytes | None:
        """Return the next length-prefixed frame, None at the end of the stream."""
        length = self.length(limit)
        return None if length is None else self.exactly(length)

    def enter_v2(self, consumed: int) -> None:
        """Skip from behind the CARv2 pragma to its inner CARv1."""
        header = self.exactly(40)
        offset, size = (int.from_bytes(header[at : at + 8], "little") for at in (16, 24))
        gap = offset - consumed - len(header)
        if gap < 0:
            raise BadCar("its version 2 header points before itself")
        while gap:
            gap -= len(self.exactly(min(gap, 1 << 16)))
        self._left = size

    def length(self, limit: int) -> int | None:
        """Return the length of the next frame, which ``exactly`` then reads, None at the end of the stream."""
        encoded = b""
        while len(encoded) < varint.MAX_BYTES:
            byte = b"" if self._left == 0 else self._stream.read(1)
            if not byte:
                if encoded:
                    raise BadCar("it ends within a length")
                if self._left:
                    raise BadCar("it is cut short")
                return None
            if self._left is not None:
                self._left -= 1
            encoded += byte
            if byte < b"\x80":
                break
        try:
            length = varint.decode(encoded, 0)[0]
        except ValueError as exc:
            raise BadCar(str(exc)) from exc
        if not 0 < length <= limit:
            raise BadCar(f"a frame of {length} bytes cannot be right")
        return length

    def leaf(self, count: int) -> bytes:
        """Return so many bytes of a leaf, in borrowed memory where there is any."""
        if self._buffers is None:
            return self.exactly(count)
        self._take(count)
        piece = self._buffers.read(cast("Readable", self._stream), count)
        if len(piece) < count:
            raise BadCar("it is cut short")
        return piece

    def exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        self._take(count)
        first = self._stream.read(count) or b""
        if len(first) == count:
            return first
        parts, missing = [first], count - len(first)
        while missing:
            part = self._stream.read(missing)
            if not part:
                raise BadCar("it is cut short")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _take(self, count: int) -> None:
        if self._left is not None:
            if count > self._left:
                raise BadCar("a frame reaches beyond the payload")
            self._left -= count


def _cbor_head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    for extra, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | extra,)) + number.to_bytes(size, "big")
    raise ValueError(f"{number} is too long for a CAR header")


def _parse_header(header: bytes) -> tuple[CID, ...]:
    if not header.startswith(_HEAD_ROOTS) or not header.endswith(_TAIL_VERSION_1):
        raise BadCar("its header is not that of a CAR version 1 or 2")
    body = header[: -len(_TAIL_VERSION_1)]
    count, at = _read_cbor_head(body, len(_HEAD_ROOTS), 4)
    roots: list[CID] = []
    try:
        for _ in range(count):
            if body[at : at + 2] != _TAG_CID:
                raise BadCar("a root in its header is no CID")
            length, at = _read_cbor_head(body, at + 2, 2)
            if not length or body[at : at + 1] != b"\0" or length > len(body) - at:
                raise BadCar("a root in its header is cut short")
            roots.append(CID.from_bytes(body[at + 1 : at + length]))
            at += length
    except BadCID as exc:
        raise BadCar(f"a root in its header is broken ({exc})") from exc
    if at != len(body):
        raise BadCar("its header holds more than roots and a version")
    return tuple(roots)


def _read_cbor_head(body: bytes, at: int, major: int) -> tuple[int, int]:
    initial = body[at] if at < len(body) else -1
    if initial >> 5 != major or initial & 31 > 26:
        raise BadCar("its header is not the dag-cbor of a CAR")
    number, at = initial & 31, at + 1
    if number < 24:
        return number, at
    size = 1 << (number - 24)
    if size > len(body) - at:
        raise BadCar("its header is cut short")
    return int.from_bytes(body[at : at + size], "big"), at + size
