"""A small node that keeps blocks and signs, and machines that follow what it publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ipns_data import NOW, Key, ed25519_key, record
from pin_rooms import pinned
from pinformers._errors import BlockNotFound, SourceUnavailable
from pinformers.ipfs import CID, Block
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.following import Following
from pinformers.pinning.pin import Pin
from pinformers.pinning.shared import Published, publish_catalog

GRACE = 7 * 86400.0


def pin_of(repo: str = "org/model", letter: str = "c", **more: Any) -> Pin:
    """A pin whose commit and whose file are made of one letter."""
    files = {"config.json": pinned(letter.encode(), blob_id="b" * 40, size=1)}
    more = {"files": files, "pinned_at": "2026-11-20T12:00:00+00:00", "listed": True} | more
    return Pin(repo, letter * 40, **more)


class MemoryNode:
    """A node with keys, a block store and pins; it gives out the record of whatever it published last."""

    def __init__(self) -> None:
        self.blocks: dict[CID, bytes] = {}
        self.pinned: dict[CID, str] = {}
        self.made: dict[str, Key] = {}
        self.records: dict[str, bytes] = {}
        self.sequences: dict[str, int] = {}
        self.log: list[str] = []

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        self.log.append("import")
        for block in blocks:
            block.cid.verify(block.data)
            self.blocks[block.cid] = block.data

    def pin(self, cid: CID, name: str) -> None:
        assert cid in self.blocks
        self.log.append("pin")
        self.pinned[cid] = name

    def unpin(self, cid: CID) -> None:
        self.log.append("unpin")
        del self.pinned[cid]

    def pins(self, name: str) -> Mapping[CID, str]:
        return {cid: label for cid, label in self.pinned.items() if name in label}

    def keys(self) -> Mapping[str, str]:
        return {name: str(key.name) for name, key in self.made.items()}

    def key_gen(self, name: str) -> str:
        self.made[name] = ed25519_key(len(self.made) + 1)
        return str(self.made[name].name)

    def publish_name(self, cid: CID, *, key: str, lifetime: float, ttl: float) -> str:
        self.log.append("publish")
        name = str(self.made[key].name)
        old = self.records.get(name, b"")
        if old and str(cid).encode() not in old:
            self.sequences[name] = self.sequences.get(name, 0) + 1
        sequence, validity = self.sequences.get(name, 0), NOW + timedelta(seconds=lifetime)
        self.records[name] = record(self.made[key], f"/ipfs/{cid}", sequence=sequence, validity=validity, ttl=ttl)
        return name

    def name_record(self, name: str) -> bytes:
        if name not in self.records:
            raise BlockNotFound("memory", "it signed no such name")
        return self.records[name]


@dataclass
class Publisher:
    """A machine that publishes; ``add`` pins and publishes anew."""

    catalog: Catalog
    node: MemoryNode = field(default_factory=MemoryNode)

    def publish(self, *pins: Pin, **more: Any) -> Published:
        for pin in pins:
            self.catalog.add(pin)
        return publish_catalog(self.catalog, self.node, **more)


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now

    def pass_by(self, **more: float) -> None:
        self.now += timedelta(**more).total_seconds()


@dataclass
class Follower:
    """A machine that follows; ``cut`` stands for a network that is gone, ``answers`` for what gateways send."""

    folder: Path
    node: MemoryNode
    clock: Clock = field(default_factory=Clock)
    cut: bool = False
    asked: list[str] = field(default_factory=list)
    fetched: list[CID] = field(default_factory=list)
    answers: list[Callable[[str], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = self.answers or [self.node.name_record]
        self.following = self.again()

    def again(self) -> Following:
        """Start another process."""
        sources = [self._asker(at) for at in range(len(self.answers))]
        self.following = Following(self.folder, sources, self.block, grace=GRACE, now=self.clock)
        return self.following

    def _asker(self, at: int) -> Callable[[str], bytes]:
        def ask(name: str) -> bytes:
            self.asked.append(name)
            if self.cut:
                raise SourceUnavailable(f"gateway {at}", "connection refused")
            return self.answers[at](name)

        return ask

    def block(self, cid: CID) -> bytes:
        self.fetched.append(cid)
        if self.cut:
            raise SourceUnavailable("gateway", "connection refused")
        if cid not in self.node.blocks:
            raise BlockNotFound("gateway", "404")
        return self.node.blocks[cid]
