"""What a file's walk is going to ask for, fetched before it asks: many blocks at once, or several in one answer."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from pinformers._errors import BadBlock
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.cid import CID, DAG_PB, RAW
from pinformers.ipfs.dag import RUN, Fetch, Leaf, Run, Runs
from pinformers.ipfs.dagpb import MAX_BLOCK, parse_node
from pinformers.sources.workers import Workers

# Blocks in flight for one file. Over loopback 4 threads gave the most (docs/benchmarks), over a network latency counts.
# Of leaves that are asked for together there may be RUN more.
WINDOW = 8

_logger = logging.getLogger("pinformers")


class _Link(NamedTuple):
    """A block of a file, which begins at ``start``; the offset of the ``leaf`` counts from ``node``, which names it."""

    leaf: Leaf
    start: int
    node: CID

    @property
    def cid(self) -> CID:
        return self.leaf.cid


class Ahead:
    """Deliver blocks to a walk over one file, and fetch meanwhile those that it is going to ask for next.

    With ``runs``, leaves that stand side by side are asked for together where that is cheaper.
    """

    def __init__(self, fetch: Fetch, start: int, runs: Runs | None = None) -> None:
        self._fetch, self._start, self._runs = fetch, start, runs
        self._next: deque[_Link] = deque()
        self._running: dict[CID, Future[bytes]] = {}
        self._offsets: dict[CID, int] = {}
        self._last: tuple[CID, bytes] | None = None
        self._workers, self._buffers = Workers("pinformers-fetch"), Buffers()

    def fetch(self, cid: CID) -> bytes:
        """Return the block when it is here."""
        if self._last is not None and self._last[0] == cid:
            return self._last[1]
        running = self._running.pop(cid, None)
        if running is None and self._next and self._next[0].cid == cid:
            self._offsets[cid] = self._next.popleft().start
        if running is None:
            self._top_up()
        block = self._fetch(cid) if running is None else running.result()
        if cid.codec == DAG_PB:
            self._next.extendleft(reversed(list(self._below(cid, block))))
        self._top_up()
        self._last = cid, block
        return block

    def close(self) -> None:
        """Give up what is under way; nobody is waited for."""
        for running in self._running.values():
            running.cancel()
        self._workers.close()

    def _below(self, cid: CID, block: bytes) -> Iterator[_Link]:
        try:
            node = parse_node(cid, block)
        except BadBlock:
            # The walk reads the same block next, and says so.
            return
        begin, offset = self._offsets.get(cid, 0), len(node.data)
        for link, size in zip(node.links, node.block_sizes, strict=False):
            if size and begin + offset + size > self._start:
                yield _Link(Leaf(link.cid, offset, size), begin + offset, cid)
            offset += size

    def _top_up(self) -> None:
        while self._next and len(self._running) < WINDOW:
            links = self._side_by_side()
            self._offsets.update((link.cid, link.start) for link in links)
            futures = {link.cid: Future[bytes]() for link in links if link.cid not in self._running}
            self._running.update(futures)
            if self._runs is not None and len(futures) > 1:
                run = Run(links[0].node, tuple(link.leaf for link in links), self._buffers)
                self._workers.run(partial(self._fetch_run, self._runs, run, futures))
            else:
                self._fetch_each(futures)

    def _side_by_side(self) -> list[_Link]:
        """Take the next link, and those behind it that are leaves of the same node."""
        links = [self._next.popleft()]
        while self._runs is not None and self._next and len(links) < RUN:
            both = (links[0], self._next[0])
            if any(link.cid.codec != RAW or link.leaf.size > MAX_BLOCK or link.node != links[0].node for link in both):
                break
            links.append(self._next.popleft())
        return links

    def _fetch_each(self, futures: Mapping[CID, Future[bytes]]) -> None:
        for cid, future in futures.items():
            if not future.cancelled():
                self._workers.submit(partial(self._fetch, cid), future)

    def _fetch_run(self, runs: Runs, run: Run, futures: dict[CID, Future[bytes]]) -> None:
        try:
            for cid, block in runs(run):
                future = futures.pop(cid, None)
                if future is not None and not future.set_running_or_notify_cancel():
                    # It was given up.
                    return
                if future is not None:
                    future.set_result(block)
        except Exception as exc:
            # Whoever waits hears of it when the blocks are asked for one by one.
            _logger.debug("Blocks that stand side by side were not fetched together: %s", exc)
        finally:
            self._fetch_each(futures)
