"""Small DAGs for the tests of paths, CARs and the gateway, and blocks that say what was asked of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field

from ipfs_data import MemoryStore
from pinformers._errors import BlockNotFound
from pinformers.ipfs import CID, SHA2_256, Block, Profile, read_car
from pinformers.ipfs.traversal import DAG_CBOR

# Files of more than 4 bytes have several blocks, of more than 12 two levels.
TINY = Profile(chunk=4, width=3)


def cbor(value: object) -> bytes:
    """Encode as dag-cbor does: what the tests need of it."""
    if isinstance(value, CID):
        return b"\xd8\x2a" + cbor(b"\0" + value.to_bytes())
    if isinstance(value, bool | None):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + bytes(8)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    assert isinstance(value, dict)
    return _head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    extra, size = next((extra, size) for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)) if number < 1 << 8 * size)
    return bytes((major << 5 | extra,)) + number.to_bytes(size, "big")


def named(codec: int, block: bytes) -> CID:
    """The CID of a block."""
    return CID(1, codec, SHA2_256, hashlib.sha256(block).digest())


@dataclass
class Room:
    """Blocks out of a store, as a gateway's source delivers them; those in ``gone`` are not there."""

    store: MemoryStore = field(default_factory=MemoryStore)
    gone: set[CID] = field(default_factory=set)

    def __call__(self, cid: CID) -> Block:
        if not cid.hash_code:
            return Block(cid, cid.digest)
        self.store.asked.append(cid)
        if cid in self.gone or cid.multihash not in self.store.blocks:
            raise BlockNotFound("memory", f"{cid} is not here")
        return Block(cid, self.store.blocks[cid.multihash])

    def add_cbor(self, value: object) -> CID:
        """Store a value as a dag-cbor block."""
        block = cbor(value)
        self.store.put(block)
        return named(DAG_CBOR, block)


def unpacked(car: Iterable[bytes | memoryview]) -> tuple[tuple[CID, ...], list[CID]]:
    """The roots of a CAR and the CIDs of its blocks, each of which was verified."""
    roots, blocks = read_car(io.BytesIO(b"".join(car)))
    return roots, [block.cid for block in blocks]
