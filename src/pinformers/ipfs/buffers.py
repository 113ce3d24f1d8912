"""Memory for blocks that is used again: of fresh memory, the system clears each page when it is first touched.

A fetch of a gigabyte took a tenth longer with a new object for each block (row 7 of the benchmarks).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:

    class Readable(Protocol):
        """What can be read into memory that is there."""

        def readinto(self, buffer: memoryview, /) -> int | None:
            """Read some bytes; returns how many, 0 or None at the end."""


class Buffers:
    """Lend memory for blocks; what nobody looks into any more is lent again, and ``most`` of it is kept.

    Several threads may borrow at once.
    """

    def __init__(self, most: int = 64) -> None:
        self._kept: deque[bytearray] = deque(maxlen=most)

    def read(self, stream: Readable, size: int) -> bytes:
        """Read so many bytes, or fewer at the end of the stream."""
        view, at = self.lend(size), 0
        while at < size and (count := stream.readinto(view[at:])):
            at += count
        return sealed(view[:at])

    def lend(self, size: int) -> memoryview:
        """Return ``size`` bytes that nobody else looks into; what they hold is without meaning."""
        buffer = self._free(size)
        if buffer is None:
            # An empty one could not tell that it is lent: its size would have nothing to lose.
            buffer = bytearray(size or 1)
        view = memoryview(buffer)[:size]
        # Not before: from now on it tells that it is lent. One too many is forgotten, and taken from nobody.
        self._kept.append(buffer)
        return view

    def _free(self, size: int) -> bytearray | None:
        for _ in range(len(self._kept)):
            try:
                buffer = self._kept.popleft()
            except IndexError:
                # Other threads look through it at this moment.
                return None
            if _lent(buffer):
                self._kept.append(buffer)
            elif len(buffer) >= size:
                return buffer
        return None


def sealed(view: memoryview) -> bytes:
    """Return a view that cannot be written to, under the type of a block: it does all that is done with a raw leaf.

    It has no hash, by which nodes are remembered.
    """
    return cast(bytes, view.toreadonly())


def _lent(buffer: bytearray) -> bool:
    """Whether anybody looks into a buffer: its size cannot be changed as long as somebody does (PEP 3118)."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return True
    return False
