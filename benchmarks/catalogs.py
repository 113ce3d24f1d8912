"""Row 12: to find one model among many, in the records of this machine and in a catalog that it follows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from benchmarks.results import Line
from benchmarks.rooms import Shop
from ipns_data import ed25519_key, record
from pin_rooms import make_resolver
from pinformers.ipfs import CID
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.following import Following
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.shared_tree import build_tree

FILES = 100
FEW = 10
SEEN = 1_700_000_000 * 10**9
WAYS = ("records of this machine", "followed catalog, its blocks fetched", "followed catalog, its blocks here")
Find = Callable[[str], dict[str, float]]


def pins(count: int) -> Iterator[Pin]:
    """Make up the pins of a catalog, each of 100 files."""
    for number in range(count):
        files = {f"part-{part:03}.safetensors": _file(number, part) for part in range(FILES)}
        commit = hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest()
        yield Pin(
            f"org{number % 97}/model-{number:05}", commit, files, listed=True, pinned_at="2026-01-01T00:00:00+00:00"
        )


def _file(number: int, part: int) -> PinnedFile:
    digest = hashlib.sha256(b"%d/%d" % (number, part))
    hub = {"size": 1 << 20, "lfs_sha256": digest.hexdigest(), "lfs_size": 1 << 20}
    return PinnedFile(1 << 20, str(CID.raw(digest.digest())), 1 << 20, digest.hexdigest(), hub)


class Shelves:
    """One catalog of each size: as records on the disk, and as a signed tree whose blocks lie in memory."""

    def __init__(self, shop: Shop, count: int, name: str = "") -> None:
        self._shop, self._folder = shop, shop.folder / f"catalog-{name}{count}"
        self._homes = 0
        local = Catalog(self._folder / "pinformers")
        made = []
        for pin in pins(count):
            local.add(pin)
            local.set_ref(pin.repo, "main", pin.commit, noted=SEEN)
            made.append(pin)
        self.repo = made[count // 2].repo
        tree = build_tree(made, {pin.repo: {"main": (pin.commit, SEEN)} for pin in made})
        self._blocks = {block.cid: block.data for block in tree.blocks}
        self._key = ed25519_key(1)
        until = datetime.now(timezone.utc) + timedelta(days=2)
        self._record = record(self._key, f"/ipfs/{tree.root}", validity=until)
        self._kept = self._follow("kept")
        assert self._kept.find(self.repo, "main") is not None

    def turn(self, prefix: str) -> dict[str, float]:
        """Find one model in each of the ways, every time by a resolver that has read nothing yet."""
        self._homes += 1
        new = self._follow(f"new-{self._homes}")
        ways = (self._local, partial(self._shared, new), lambda: self._shared(self._again("kept")))
        return {f"{prefix}, {way}": self._shop.book.taker.call(find) for way, find in zip(WAYS, ways, strict=True)}

    def _local(self) -> None:
        found = make_resolver(self._folder).find(self.repo, None)
        assert found is not None and len(found.pin.files) == FILES

    def _shared(self, following: Following) -> None:
        found = following.find(self.repo, "main")
        assert found is not None and len(found.pin.files) == FILES

    def _follow(self, name: str) -> Following:
        """Follow the catalog on a new machine, which has its record and the block of its head."""
        following = self._again(name)
        followed = following.list.add(str(self._key.name), "team", first=False)
        assert following.refresh(followed) is not None
        return following

    def _again(self, name: str) -> Following:
        folder = Path(self._folder / "following" / name)
        return Following(folder, [lambda _: self._record], self._blocks.__getitem__, grace=0.0)


def resolving(shop: Shop) -> None:
    """Row 12."""
    many = shop.pick(1000, 10_000)
    few, lots = Shelves(shop, FEW), Shelves(shop, many)
    prefixes = {f"12 {count} models": shelves for count, shelves in ((FEW, few), (many, lots))}
    turns = [partial(shelves.turn, prefix) for prefix, shelves in prefixes.items()]
    shop.book.turns(shop.pick(30, 100), *turns)
    for way in WAYS:
        what = f"resolve one of {many:,} models with {many * FILES:,} files, {way}"
        against = f"a catalog of {FEW} models"
        shop.book.line(Line(12, what, against, f"12 {many} models, {way}", f"12 {FEW} models, {way}", 1.2))


def curve(shop: Shop) -> None:
    """Time to find one model, by the number of models."""
    counts = (FEW, 100, 1000, *((10_000,) if shop.full else ()))
    prefixes = {count: f"curve catalog, {count}" for count in counts}
    shop.book.turns(
        shop.pick(15, 50), *[partial(Shelves(shop, count, "curve-").turn, prefixes[count]) for count in counts]
    )
    for count, prefix in prefixes.items():
        for way in WAYS:
            shop.book.point(f"{prefix}, {way}", curve="catalog", label=way, x=count)
