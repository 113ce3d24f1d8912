"""The dag-pb wire format and the UnixFS message inside it, as boxo writes and reads them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pinformers._errors import BadBlock, BadContent
from pinformers.ipfs import varint
from pinformers.ipfs.cid import CID, DAG_PB, RAW

# What every IPFS implementation takes as one block (bitswap refuses more).
MAX_BLOCK = 2 << 20
# Folders in folders, or inner nodes in inner nodes. A balanced file of 1 EiB needs 4 levels; without a limit a
# hostile publisher exhausts the stack.
MAX_DEPTH = 64
MURMUR3 = 0x22

_RAW_TYPE, _DIRECTORY_TYPE, _FILE_TYPE, _SHARD_TYPE = 0, 1, 2, 5
_KINDS: dict[int, Literal["file", "directory", "shard"]] = {
    _RAW_TYPE: "file",
    _DIRECTORY_TYPE: "directory",
    _FILE_TYPE: "file",
    _SHARD_TYPE: "shard",
}
DIRECTORY_MESSAGE = b"\x08\x01"


class Link(NamedTuple):
    """Point to a child; ``dag_size`` (Tsize) is the publisher's word, never checked."""

    name: str
    cid: CID
    dag_size: int


class Node(NamedTuple):
    """Hold what one block says; ``file_size`` counts ``data`` and every child, and agrees with ``block_sizes``."""

    kind: Literal["raw", "file", "directory", "shard"]
    links: tuple[Link, ...] = ()
    block_sizes: tuple[int, ...] = ()
    data: bytes = b""
    file_size: int = 0
    fanout: int = 0


def encode_link(cid: CID, name: bytes, dag_size: int) -> bytes:
    """Return one entry of a node's link list, tag included."""
    hashed = cid.to_bytes()
    body = b"\x0a%b%b\x12%b%b\x18%b" % (
        varint.encode(len(hashed)),
        hashed,
        varint.encode(len(name)),
        name,
        varint.encode(dag_size),
    )
    return b"\x12" + varint.encode(len(body)) + body


def encode_node(links: Iterable[bytes], message: bytes) -> bytes:
    """Return the block of a node: its links in the order given, then its UnixFS message."""
    return b"%b\x0a%b%b" % (b"".join(links), varint.encode(len(message)), message)


def encode_leaf(piece: bytes, cid: CID | None = None) -> bytes:
    """Return the dag-pb leaf that profiles without raw leaves wrap a chunk in; the one of ``cid``, if that is any.

    Its type is File in balanced trees, and Raw in those of `ipfs add --trickle`.
    """
    body = b"\x12" + varint.encode(len(piece)) + piece if piece else b""
    leaf = encode_node((), b"\x08\x02%b\x18%b" % (body, varint.encode(len(piece))))
    if cid is None or hashlib.sha256(leaf).digest() == cid.digest:
        return leaf
    return encode_node((), b"\x08\x00%b\x18%b" % (body, varint.encode(len(piece))))


def file_message(block_sizes: Iterable[int]) -> bytes:
    """Return the UnixFS message of a file's inner node."""
    sizes = tuple(block_sizes)
    parts = b"".join(b"\x20" + varint.encode(size) for size in sizes)
    return b"\x08\x02\x18" + varint.encode(sum(sizes)) + parts


def shard_message(bitfield: int, fanout: int) -> bytes:
    """Return the UnixFS message of a HAMT shard; leading zero bytes of the bitfield are left out, as boxo does."""
    bits = bitfield.to_bytes((bitfield.bit_length() + 7) // 8, "big")
    head = b"\x08\x05\x12" + varint.encode(len(bits)) + bits
    return head + b"\x28" + varint.encode(MURMUR3) + b"\x30" + varint.encode(fanout)


def parse_node(cid: CID, block: bytes) -> Node:
    """Decode a verified block by its CID's codec; raises BadBlock for all that is no UnixFS file or folder."""
    if cid.codec == RAW:
        return Node("raw", data=block, file_size=len(block))
    if cid.codec != DAG_PB:
        raise BadBlock(str(cid), f"the codec {cid.codec:#x} is neither raw nor dag-pb")
    try:
        return _decode(block)
    except BadContent as exc:
        raise BadBlock(str(cid), f"a link is broken ({exc})") from exc
    except ValueError as exc:
        raise BadBlock(str(cid), str(exc)) from exc


@functools.lru_cache(maxsize=4)
def _decode(block: bytes) -> Node:
    # A fetch reads each inner node three times in a row: to keep it, to fetch ahead, to walk on.
    return _parse_unixfs(*_parse_dag_pb(block))


def _parse_dag_pb(block: bytes) -> tuple[tuple[Link, ...], bytes]:
    links: list[Link] = []
    message: bytes | None = None
    for number, content in _fields(block):
        if number == 2 and isinstance(content, bytes):
            links.append(_parse_link(content))
        elif number == 1 and isinstance(content, bytes) and message is None:
            message = content
        else:
            raise ValueError(f"the field {number} does not belong into dag-pb")
    if message is None:
        raise ValueError("the dag-pb node holds no UnixFS message")
    return tuple(links), message


def _parse_link(message: bytes) -> Link:
    cid: CID | None = None
    name, dag_size, last = "", 0, 0
    for number, content in _fields(message):
        if number <= last:
            raise ValueError("the fields of a link are doubled or out of order")
        last = number
        if number == 1 and isinstance(content, bytes):
            cid = CID.from_bytes(content)
        elif number == 2 and isinstance(content, bytes):
            name = content.decode("utf-8")
        elif number == 3 and isinstance(content, int):
            dag_size = content
        else:
            raise ValueError(f"the field {number} does not belong into a link")
    if cid is None:
        raise ValueError("a link names no CID")
    return Link(name, cid, dag_size)


def _parse_unixfs(links: tuple[Link, ...], message: bytes) -> Node:
    numbers: dict[int, int] = {}
    piece, sizes = b"", list[int]()
    for number, content in _fields(message):
        if number == 4 and content is not None:
            sizes += [content] if isinstance(content, int) else _packed(content)
        elif number == 2 and isinstance(content, bytes):
            piece = content
        elif number in (1, 3, 5, 6) and isinstance(content, int):
            numbers[number] = content
        elif number <= 6:
            raise ValueError(f"the field {number} of the UnixFS message has the wrong type")
    kind = _KINDS.get(numbers.get(1, -1))
    if kind is None:
        raise ValueError(f"its UnixFS type {numbers.get(1)} is neither a file nor a folder")
    if kind == "file":
        return _file_node(links, piece, tuple(sizes), numbers.get(3))
    if kind == "shard":
        return Node(kind, links, fanout=_check_fanout(numbers))
    return Node(kind, links)


def _file_node(links: tuple[Link, ...], piece: bytes, sizes: tuple[int, ...], declared: int | None) -> Node:
    if len(sizes) != len(links):
        raise ValueError(f"it has {len(links)} links and {len(sizes)} block sizes")
    total = len(piece) + sum(sizes)
    if declared is not None and declared != total:
        raise ValueError(f"it declares {declared} bytes and its parts add up to {total}")
    return Node("file", links, sizes, piece, total)


def _check_fanout(numbers: dict[int, int]) -> int:
    fanout = numbers.get(6, 0)
    if numbers.get(5) != MURMUR3:
        raise ValueError("the shard uses another hash than murmur3")
    # boxo's own rule: a power of two, a multiple of 8; 1024 is the widest that implementations take.
    if not 8 <= fanout <= 1024 or fanout & (fanout - 1):
        raise ValueError(f"the shard has the fanout {fanout}")
    return fanout


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes | None]]:
    """Yield field numbers with their contents; None stands for a fixed-width number, which no field of ours is."""
    offset = 0
    while offset < len(message):
        tag, offset = varint.decode(message, offset)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            content, offset = varint.decode(message, offset)
            yield number, content
            continue
        if wire == 2:
            length, offset = varint.decode(message, offset)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"protobuf has no wire type {wire} here")
        if length > len(message) - offset:
            raise ValueError("a protobuf field is cut short")
        yield number, message[offset : offset + length] if wire == 2 else None
        offset += length


def _packed(content: bytes) -> list[int]:
    numbers, offset = list[int](), 0
    while offset < len(content):
        number, offset = varint.decode(content, offset)
        numbers.append(number)
    return numbers
