from __future__ import annotations

import hashlib
import io
from pathlib import Path

import aleph_cid
import pytest

from pinformers._errors import BadCar, BlockMismatch
from pinformers.ipfs import CID, IDENTITY, MAX_BLOCK, RAW, Block, read_car, varint, write_car


def block_of(content: bytes) -> Block:
    return Block(CID.raw(hashlib.sha256(content).digest()), content)


BLOCKS = [block_of(b""), block_of(b"x" * 1000), Block(CID(1, RAW, IDENTITY, b"in"), b"in")]
V0 = CID.parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH")
ROOTS = (BLOCKS[0].cid, V0)
HEADER_V2 = b"\x0a\xa1gversion\x02"


def car(roots: tuple[CID, ...] = ROOTS, blocks: list[Block] = BLOCKS) -> bytes:
    out = io.BytesIO()
    assert write_car(out, roots, blocks) == len(out.getvalue())
    return out.getvalue()


def read(stream: bytes) -> tuple[tuple[CID, ...], list[Block]]:
    roots, blocks = read_car(io.BytesIO(stream))
    return roots, list(blocks)


def car_v2(inner: bytes, gap: int = 7) -> bytes:
    offset = len(HEADER_V2) + 40 + gap
    numbers = b"".join(number.to_bytes(8, "little") for number in (offset, len(inner), offset + len(inner)))
    return HEADER_V2 + bytes(16) + numbers + bytes(gap) + inner + b"an index"


@pytest.mark.parametrize("roots", [(), ROOTS, ROOTS * 20, ROOTS * 200])
@pytest.mark.parametrize("blocks", [[], BLOCKS])
def test_write_and_read(roots: tuple[CID, ...], blocks: list[Block]) -> None:
    assert read(car(roots, blocks)) == (roots, blocks)
    assert read(car_v2(car(roots, blocks))) == (roots, blocks)


def test_the_bytes_are_the_standard_ones(tmp_path: Path) -> None:
    (tmp_path / "car").write_bytes(car(roots=ROOTS[:1]))
    assert aleph_cid.read_carv1_root(tmp_path / "car") == str(ROOTS[0])
    # The header of the CARv1 specification, with no roots.
    assert car((), []).hex() == "11a265726f6f7473806776657273696f6e01"


def test_a_stream_that_trickles() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(3, size or 0))

    roots, blocks = read_car(Trickle(car()))
    assert (roots, list(blocks)) == (ROOTS, BLOCKS)


def test_every_cut_is_noticed() -> None:
    stream = car_v2(car())
    for end in range(len(stream) - len(b"an index")):
        with pytest.raises(BadCar):
            read(stream[:end])


def test_a_plain_stream_cut_between_blocks_is_a_shorter_car() -> None:
    assert read(car(blocks=BLOCKS[:1]))[1] == BLOCKS[:1]


def test_a_false_block() -> None:
    _, blocks = read_car(io.BytesIO(car(blocks=BLOCKS[:2])[:-1] + b"y"))
    assert next(blocks) == BLOCKS[0]
    with pytest.raises(BlockMismatch):
        next(blocks)


def test_the_biggest_block() -> None:
    biggest = block_of(bytes(MAX_BLOCK))
    assert read(car(blocks=[biggest]))[1] == [biggest]
    with pytest.raises(BadCar, match="2097153 bytes"):
        read(car(blocks=[block_of(bytes(MAX_BLOCK + 1))]))


def framed(header: bytes) -> bytes:
    return varint.encode(len(header)) + header


ROOT = b"\xd8\x2a\x58\x25\x00" + ROOTS[0].to_bytes()


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"", "empty"),
        (b"\x00", "frame of 0 bytes"),
        (b"PK\x03\x04" * 30, "header is not"),
        (b"\xff" * 20, "varint"),
        (b"\x80\x00", "shortest"),
        (b"\xff\xff\xff\xff\x0f", "cannot be right"),
        (framed(b"\xa1gversion\x01"), "header is not"),
        (framed(b"\xa2eroots\x80gversion\x03"), "header is not"),
        (framed(b"\xa2eroots\x81\x01gversion\x01"), "no CID"),
        (framed(b"\xa2eroots\x82" + ROOT + b"gversion\x01"), "no CID"),
        (framed(b"\xa2eroots\x80" + ROOT + b"gversion\x01"), "more than roots"),
        (framed(b"\xa2eroots\x9fgversion\x01"), "dag-cbor"),
        (framed(b"\xa2eroots\xa0gversion\x01"), "dag-cbor"),
        (framed(b"\xa2eroots\x99\x01gversion\x01"), "cut short"),
        (framed(b"\xa2eroots\x81\xd8\x2agversion\x01"), "dag-cbor"),
        (framed(b"\xa2eroots\x81\xd8\x2a\x40gversion\x01"), "cut short"),
        (framed(b"\xa2eroots\x81\xd8\x2a\x43\x00\x01\x55gversion\x01"), "broken"),
        (framed(b"\xa2eroots\x81\xd8\x2a\x58\x99\x00gversion\x01"), "cut short"),
        (car((), []) + framed(b"\x05\x55\x12"), "no usable CID"),
        (car((), []) + framed(CID(1, RAW, 0x1E, bytes(32)).to_bytes() + b"x"), "0x1e"),
        (HEADER_V2 + bytes(40), "before itself"),
        (car_v2(HEADER_V2), "header is not"),
        (car_v2(framed(bytes(2)), gap=70_000)[:-40], "cut short"),
    ],
)
def test_what_is_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(BadCar, match=reason):
        read(stream)
