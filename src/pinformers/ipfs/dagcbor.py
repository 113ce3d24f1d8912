"""The links and paths of dag-cbor blocks, found without building the values in between.

CBOR is written head first, so one flat loop finds every link, however deep it lies: no stack that a hostile block
could exhaust. What the block means otherwise is its reader's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pinformers._errors import BadBlock, BadCID
from pinformers.ipfs.cid import CID

_BYTES, _TEXT, _LIST, _MAP, _TAG = 2, 3, 4, 5, 6
_LINK = 42
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def links(cid: CID, block: bytes) -> Iterator[CID]:
    """Yield every link of a block, in its order; raises BadBlock where it is no dag-cbor."""
    try:
        at = 0
        while at < len(block):
            link = _link(block, at)
            if link is not None:
                yield link
            major, number, at = _head(block, at)
            at += number if major in (_BYTES, _TEXT) else 0
    except ValueError as exc:
        raise _bad(cid, exc) from exc


def step(cid: CID, block: bytes, at: int, segment: str) -> int | None:
    """Return where the child ``segment`` of the value at ``at`` starts, None where there is none."""
    try:
        major, count, inner = _head(block, at)
        if major == _LIST:
            if not _INDEX.fullmatch(segment) or int(segment) >= count:
                return None
            for _ in range(int(segment)):
                inner = _behind(block, inner)
            return inner
        if major == _MAP:
            for _ in range(count):
                kind, length, start = _head(block, inner)
                inner = _behind(block, inner)
                if kind == _TEXT and block[start : start + length] == segment.encode("utf-8", "replace"):
                    return inner
                inner = _behind(block, inner)
    except ValueError as exc:
        raise _bad(cid, exc) from exc
    return None


def link_at(cid: CID, block: bytes, at: int) -> CID | None:
    """Return the link that the value at ``at`` is, None where it is another value."""
    try:
        return _link(block, at)
    except ValueError as exc:
        raise _bad(cid, exc) from exc


def _link(block: bytes, at: int) -> CID | None:
    major, number, start = _head(block, at)
    if (major, number) != (_TAG, _LINK):
        return None
    major, length, start = _head(block, start)
    if major != _BYTES or block[start : start + 1] != b"\0":
        raise ValueError("its tag 42 holds no CID")
    return CID.from_bytes(block[start + 1 : start + length])


def _behind(block: bytes, at: int) -> int:
    left = 1
    while left:
        major, number, at = _head(block, at)
        left -= 1
        if major in (_BYTES, _TEXT):
            at += number
        elif major == _LIST:
            left += number
        elif major == _MAP:
            left += 2 * number
        elif major == _TAG:
            left += 1
    return at


def _head(block: bytes, at: int) -> tuple[int, int, int]:
    """Return an item's major type, its number and the offset behind both; a string ends within the block."""
    if at >= len(block):
        raise ValueError("it is cut short")
    major, number = block[at] >> 5, block[at] & 31
    at += 1
    if number >= 28:
        raise ValueError("it holds a length that dag-cbor does not have")
    if number >= 24:
        size = 1 << (number - 24)
        if size > len(block) - at:
            raise ValueError("it is cut short")
        number, at = int.from_bytes(block[at : at + size], "big"), at + size
    if major in (_BYTES, _TEXT) and number > len(block) - at:
        raise ValueError("it is cut short")
    return major, number, at


def _bad(cid: CID, exc: ValueError) -> BadBlock:
    return BadBlock(str(cid), f"a link is broken ({exc})" if isinstance(exc, BadCID) else str(exc))
