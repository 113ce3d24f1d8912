"""Memory that is lent for blocks: nobody's bytes change under him, and what is free is used again."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pinformers._errors import BadCar, BlockMismatch
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.car import read_car, write_car
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import Leaf, Run, read_run


def where(piece: object) -> int:
    """Tell one piece of memory from another, as long as it is kept."""
    view = piece if isinstance(piece, memoryview) else memoryview(b"")
    return id(view.obj)


def test_what_somebody_looks_into_is_not_lent_again() -> None:
    buffers = Buffers()
    first = buffers.read(io.BytesIO(b"a" * 10), 10)
    part = first[2:4]
    del first
    second = buffers.read(io.BytesIO(b"b" * 10), 10)
    assert (bytes(part), bytes(second)) == (b"aa", b"b" * 10)
    known = where(part)
    del part
    third = buffers.read(io.BytesIO(b"c" * 5), 10)
    assert where(third) == known, "it is free, and big enough"
    assert bytes(third) == b"c" * 5
    assert bytes(second) == b"b" * 10


def test_an_empty_piece_is_one_as_well() -> None:
    buffers = Buffers()
    pieces = [buffers.read(io.BytesIO(b"more"), size) for size in (0, 0, 2, 0)]
    assert list(map(bytes, pieces)) == [b"", b"", b"mo", b""]


def test_what_is_too_small_or_one_too_many_is_kept_no_longer() -> None:
    buffers = Buffers(most=2)
    buffers.lend(10)
    big = where(buffers.lend(20))
    assert where(buffers.lend(5)) == big, "the small one is gone"
    lent = [buffers.lend(20) for _ in range(4)]
    for number, view in enumerate(lent):
        view[:] = bytes([number]) * 20
    assert [view.tobytes() for view in lent] == [bytes([number]) * 20 for number in range(4)]
    known = {where(view) for view in lent[2:]}
    del lent, view
    again = [buffers.lend(20), buffers.lend(20)]
    assert {where(view) for view in again} == known


def test_a_piece_is_used_like_bytes_and_cannot_be_written_to() -> None:
    piece = Buffers().read(io.BytesIO(b"abc"), 3)
    assert piece == b"abc"
    assert b"x" + piece == b"xabc"
    assert hashlib.sha256(piece).digest() == hashlib.sha256(b"abc").digest()
    with pytest.raises(TypeError, match="read-only"):
        piece[0] = 1  # type: ignore[index]


def test_threads_never_have_the_same_memory() -> None:
    buffers, begun = Buffers(most=8), threading.Barrier(4)

    def borrow(number: int) -> bool:
        begun.wait(20)
        good = True
        for _ in range(3000):
            view = buffers.lend(64)
            view[:] = bytes([number]) * 64
            good = good and view.tobytes() == bytes([number]) * 64
            del view
        return good

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(borrow, range(4)))


class Trickle(io.BytesIO):
    """A stream that gives less than was asked for."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        return super().readinto(buffer[:1000])


SIZE = 64 << 10
LEAVES = [bytes([number]) * (SIZE + number) for number in range(3)]
CIDS = [CID.raw(hashlib.sha256(leaf).digest()) for leaf in LEAVES]
BLOCKS = [Block(*pair) for pair in zip(CIDS, LEAVES, strict=True)]


def car() -> bytes:
    out = io.BytesIO()
    write_car(out, CIDS[:1], BLOCKS)
    return out.getvalue()


def test_the_leaves_of_a_car_are_read_into_them() -> None:
    buffers = Buffers()
    _, blocks = read_car(io.BytesIO(car()), buffers)
    found = list(blocks)
    assert found == BLOCKS
    assert all(isinstance(block.data, memoryview) for block in found)
    known = {where(block.data) for block in found}
    del found
    assert where(buffers.lend(SIZE)) in known


def test_a_leaf_that_is_cut_short_or_false_is_told() -> None:
    with pytest.raises(BadCar, match="cut short"):
        list(read_car(io.BytesIO(car()[:-1]), Buffers())[1])
    with pytest.raises(BlockMismatch):
        list(read_car(io.BytesIO(car()[:-1] + b"y"), Buffers())[1])
    assert list(read_car(Trickle(car()), Buffers())[1]) == BLOCKS


def test_a_run_is_read_into_the_memory_that_it_brings() -> None:
    run = Run(CIDS[0], tuple(Leaf(cid, 0, len(leaf)) for cid, leaf in zip(CIDS, LEAVES, strict=True)), Buffers())
    stream = io.BytesIO(b"".join(LEAVES) + b"more")
    assert list(read_run(run, stream)) == list(zip(CIDS, LEAVES, strict=True))
    assert stream.tell() == sum(map(len, LEAVES)) + 1
    with pytest.raises(BlockMismatch):
        list(read_run(run, io.BytesIO(LEAVES[0] + LEAVES[1][:-1])))
