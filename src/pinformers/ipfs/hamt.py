"""The sharded form of a big folder: a trie over the murmur3 hashes of its names, as boxo builds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pinformers._errors import PinError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dagpb import encode_link, encode_node, shard_message
from pinformers.ipfs.layout import UNIXFS_V1_2025

FANOUT = 256
_HASH_BYTES = 8


class Child(NamedTuple):
    """Carry what a folder says about one name in it."""

    name: bytes
    cid: CID
    dag_size: int


class Subtree(NamedTuple):
    """Hold a finished folder; ``nodes`` starts with its own block, parents before children."""

    dag_size: int
    nodes: tuple[Block, ...]


def build_shards(children: Iterable[Child]) -> Subtree:
    """Build the trie; the order of ``children`` does not matter, their names differ."""
    # deferred: only folders above 256 KiB of links need murmur3, and every import of ours counts at start-up.
    import mmh3

    # boxo reads the hash from its first byte on; mmh3 gives the same 64 bits as a number.
    hashed = [
        (mmh3.hash64(child.name, seed=0, x64arch=True, signed=False)[0].to_bytes(_HASH_BYTES, "big"), child)
        for child in children
    ]
    return _shard(sorted(hashed, key=lambda pair: pair[0]), 0)


def _shard(hashed: list[tuple[bytes, Child]], depth: int) -> Subtree:
    if depth == _HASH_BYTES:
        names = ", ".join(repr(child.name.decode()) for _, child in hashed)
        raise PinError(names, "these names share one murmur3 hash, and no IPFS folder can hold them; rename one")
    links: list[bytes] = []
    nodes: list[Block] = []
    bitfield = dag_size = 0
    for slot, bucket in _buckets(hashed, depth):
        child = bucket[0][1]
        prefix = b"%02X" % slot
        if len(bucket) > 1:
            inner = _shard(bucket, depth + 1)
            nodes += inner.nodes
            child = Child(b"", inner.nodes[0].cid, inner.dag_size)
        bitfield |= 1 << slot
        dag_size += child.dag_size
        links.append(encode_link(child.cid, prefix + child.name, child.dag_size))
    node = UNIXFS_V1_2025.node(encode_node(links, shard_message(bitfield, FANOUT)))
    return Subtree(dag_size + len(node.data), (node, *nodes))


def _buckets(hashed: list[tuple[bytes, Child]], depth: int) -> Iterator[tuple[int, list[tuple[bytes, Child]]]]:
    buckets: dict[int, list[tuple[bytes, Child]]] = {}
    for pair in hashed:
        buckets.setdefault(pair[0][depth], []).append(pair)
    # The slots come in order because the hashes do; hexadecimal prefixes then sort the links by name.
    yield from buckets.items()
