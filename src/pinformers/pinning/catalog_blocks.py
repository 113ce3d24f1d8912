"""The blocks of shared catalogs: fetched once, kept so that a catalog can be read offline, never more than a budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pinformers._errors import BadBlock, BlockMismatch, SourceError
from pinformers.ipfs.cid import CID, DAG_PB, SHA2_256
from pinformers.ipfs.dag import Fetch, read_block
from pinformers.ipfs.dagpb import parse_node
from pinformers.pinning.records import write_bytes
from pinformers.sources.base import Chain, Source

# What one lookup may cost, whatever the catalog makes of its folders.
MAX_BYTES, MAX_BLOCKS, MAX_SECONDS = 64 << 20, 4096, 60.0
_logger = logging.getLogger("pinformers")


class AnySource:
    """Ask sources in their order, but first the one that served last: a catalog's blocks come from one place."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self._last = sources, ""

    def __call__(self, cid: CID) -> bytes:
        chain = Chain(sorted(self._sources, key=lambda source: source.name != self._last))
        block = chain.fetch(cid)
        self._last = next(iter(chain.served))
        return block


class KeptBlocks:
    """Blocks under ``folder``; what is not there is fetched, verified and kept."""

    def __init__(self, folder: Path, fetch: Fetch) -> None:
        self._folder, self._fetch = folder, fetch

    def lookup(self, away: str = "") -> Fetch:
        """Return the fetch of one lookup, within its budget; ``away`` says why nothing may be fetched now."""
        spent, deadline = [0, 0], time.monotonic() + MAX_SECONDS

        def fetch(cid: CID) -> bytes:
            block = self._kept(cid)
            if block is None:
                if away:
                    raise SourceError("of catalogs", away)
                if time.monotonic() > deadline:
                    raise SourceError("of catalogs", f"the lookup took more than {MAX_SECONDS:.0f} seconds")
                block = self._fetched(cid)
            spent[:] = spent[0] + 1, spent[1] + len(block)
            if spent[0] > MAX_BLOCKS or spent[1] > MAX_BYTES:
                raise BadBlock(str(cid), f"one lookup would read more than {MAX_BLOCKS} blocks or {MAX_BYTES} bytes")
            return block

        return fetch

    def sweep(self, roots: Iterable[CID]) -> None:
        """Delete the blocks that none of ``roots`` leads to."""
        needed: set[Path] = set()
        left = list(roots)
        while left:
            cid = left.pop()
            path, block = self._path(cid), self._kept(cid)
            if path in needed or block is None:
                continue
            try:
                left += [link.cid for link in parse_node(cid, block).links] if cid.codec == DAG_PB else []
            except BadBlock:
                # What a catalog's publisher called a folder and is none: every lookup refuses it.
                continue
            needed.add(path)
        for path in self._folder.glob("??/*"):
            if path not in needed:
                path.unlink(missing_ok=True)

    def _fetched(self, cid: CID) -> bytes:
        block = read_block(cid, self._fetch)
        try:
            write_bytes(self._path(cid), block)
        except OSError as exc:
            _logger.debug("The block %s of a catalog is not kept: %s", cid, exc)
        return block

    def _kept(self, cid: CID) -> bytes | None:
        # A CID of another hash can be too long for a file name, and none is verified: the walk refuses it.
        if cid.hash_code != SHA2_256:
            return None
        try:
            block = self._path(cid).read_bytes()
            cid.verify(block)
        except (OSError, BlockMismatch):
            # Not here, or damaged here: it is fetched (again).
            return None
        return block

    def _path(self, cid: CID) -> Path:
        name = str(cid)
        return self._folder / name[-2:] / name
