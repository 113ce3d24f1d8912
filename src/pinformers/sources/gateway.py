"""Trustless gateways: several are raced and failed over, and what they send is verified before it leaves this file."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from pinformers._errors import BlockNotFound, Refusal, SettingsError, SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID, IDENTITY
from pinformers.ipfs.dag import Run
from pinformers.ipfs.dagpb import MAX_BLOCK
from pinformers.sources.addresses import Address, redacted
from pinformers.sources.http import Connections, Exchange, Network
from pinformers.sources.patience import SLOWEST
from pinformers.sources.standing import IN_ALL, Outcome, Roster
from pinformers.sources.trustless import Gateway
from pinformers.sources.workers import Workers

NAME = "gateway"
_logger = logging.getLogger("pinformers")
# Requests for one block in flight at the same time, and to one gateway one after another.
RACING = 3
TRIES = 3
_LEAST_TIMEOUT = 0.1
# Seconds without a byte after which the blocks of a run are asked for one by one, by several gateways.
_RUN_WAIT = 1.0


class GatewaySource:
    """Fetch blocks from trustless gateways. Threads share it, and it may be used on both sides of a fork.

    ``stall_timeout`` is the seconds without a byte after which a gateway counts as stalled. Raises SettingsError for
    a URL that cannot be used.
    """

    name = NAME
    local = False

    def __init__(self, urls: Sequence[str], *, stall_timeout: float, network: Network | None = None) -> None:
        self._gateways = [Gateway(address) for address in dict.fromkeys(map(_address, urls))]
        self._network = network or Network.of_user()
        self._timeout = max(stall_timeout, _LEAST_TIMEOUT)
        self._fleet = self._enter(Roster(len(self._gateways)))

    def block(self, cid: CID) -> bytes:
        """Return the verified block.

        Raises BlockNotFound where a gateway says that it has none, SourceUnavailable where none can be asked at all,
        and SourceError where this block alone fails.
        """
        if cid.hash_code == IDENTITY:
            return cid.digest
        return _Race(self._here(), cid).run()

    def run(self, run: Run) -> Iterator[tuple[CID, bytes]]:
        """Yield the verified blocks of a run, as far as a rapid gateway delivers them in one answer."""
        fleet = self._here()
        number = fleet.roster.take_rapid(able=[number for number, one in enumerate(fleet.gateways) if one.runs])
        if number is None:
            return
        gateway, exchange = fleet.gateways[number], Exchange(wait=min(_RUN_WAIT, fleet.timeout))
        started, size, refusal = time.monotonic(), 0, None
        try:
            for cid, block in gateway.run(run, fleet.connections, exchange):
                size += len(block)
                yield cid, block
        except Refusal as exc:
            # Each block is asked for by itself next, and the gateway is judged by that; but for a lie.
            refusal = exc if exc.kind == "lie" else None
            _logger.debug("%s did not deliver blocks together: %s", gateway.url, exc.reason)
        finally:
            fleet.roster.note(number, Outcome(started, exchange.answered, size or None, refusal))
            fleet.roster.give(number)

    def _here(self) -> _Fleet:
        if self._fleet.pid != os.getpid():
            # Forked: the sockets are the parent's, and its locks may be held by threads that are not here.
            self._fleet = self._enter(self._fleet.roster.succeed())
        return self._fleet

    def _enter(self, roster: Roster) -> _Fleet:
        connections = Connections(self._network, timeout=self._timeout, kept=IN_ALL)
        return _Fleet(self._gateways, connections, roster, Workers("pinformers-gateway"), self._timeout, os.getpid())


def _address(url: str) -> Address:
    try:
        return Address.parse(url.strip())
    except ValueError as exc:
        expected = f"URLs like https://gateway.example, but {exc}"
        raise SettingsError("gateways", redacted(url), "the settings", expected) from None


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The gateways as one process asks them."""

    gateways: Sequence[Gateway]
    connections: Connections
    roster: Roster
    workers: Workers
    timeout: float
    pid: int

    @property
    def limit(self) -> float:
        """The seconds that a whole block may take."""
        return self.timeout + MAX_BLOCK / SLOWEST

    def failure(self, reasons: dict[int, str], *, absent: bool, started: float) -> SourceError:
        """Say why nobody delivered."""
        told = {**self.roster.reasons(), **reasons}
        said = "; ".join(
            f"{gateway.url}: {told.get(number, 'all its places are taken')}"
            for number, gateway in enumerate(self.gateways)
        )
        if absent:
            return BlockNotFound(NAME, said)
        # While others are served, only this block fails.
        kind = SourceError if self.roster.delivers(started) else SourceUnavailable
        return kind(NAME, said)


@dataclass(slots=True)
class _Attempt:
    """One request to one gateway; another thread runs it, because whoever waits may give it up."""

    number: int
    fleet: _Fleet
    cid: CID
    ended: SimpleQueue[_Attempt]
    exchange: Exchange = field(default_factory=Exchange)
    started: float = field(default_factory=time.monotonic)
    block: bytes | None = None
    error: BaseException | None = None

    def run(self) -> None:
        roster = self.fleet.roster
        try:
            self.block = self.fleet.gateways[self.number].block(self.cid, self.fleet.connections, self.exchange)
        except BaseException as exc:
            # Whoever waits raises what is not a Refusal.
            self.error = exc
        finally:
            refusal = self.error if isinstance(self.error, Refusal) and not self.exchange.abandoned else None
            size = None if self.block is None else len(self.block)
            roster.note(self.number, Outcome(self.started, self.exchange.answered, size, refusal))
            roster.give(self.number)
            self.ended.put(self)

    def overdue(self, now: float) -> Refusal | None:
        """Say what is wrong with an exchange that takes too long, each of its answers being in time."""
        if self.exchange.answered is None and now > self.started + 3 * self.fleet.timeout:
            return Refusal("it", f"it stalled: no block began in {now - self.started:.0f} s", "stalled")
        return None


class _Race:
    """One block: the best gateway is asked, the next one too when that is late or fails; the first true block wins."""

    def __init__(self, fleet: _Fleet, cid: CID) -> None:
        self._fleet, self._cid = fleet, cid
        self._started = self._next = time.monotonic()
        self._running: dict[int, _Attempt] = {}
        self._ended: SimpleQueue[_Attempt] = SimpleQueue()
        self._tries: Counter[int] = Counter()
        # The gateways that are not asked again for this block, and why.
        self._closed: dict[int, str] = {}
        self._absent = False

    def run(self) -> bytes:
        try:
            while True:
                if not self._running or time.monotonic() >= self._next:
                    self._start()
                if not self._running:
                    raise self._fleet.failure(self._closed, absent=self._absent, started=self._started)
                block = self._wait()
                if block is not None:
                    return block
        finally:
            for attempt in self._running.values():
                attempt.exchange.abandon()

    def _start(self) -> None:
        self._next = time.monotonic() + self._fleet.timeout
        if len(self._running) >= RACING:
            return
        patience, limit = (0.0, 0.0) if self._running else (self._fleet.timeout, self._fleet.limit)
        number = self._fleet.roster.take({*self._closed, *self._running}, patience=patience, limit=limit)
        if number is not None:
            attempt = self._running[number] = _Attempt(number, self._fleet, self._cid, self._ended)
            self._tries[number] += 1
            self._next = attempt.started + self._fleet.roster.hedge_delay(number, self._fleet.timeout)
            self._fleet.workers.run(attempt.run)

    def _wait(self) -> bytes | None:
        """Wait until something ends or the next gateway is due; returns the block when it is here."""
        now = time.monotonic()
        newest = max(self._running.values(), key=lambda attempt: attempt.started)
        if now >= self._next and newest.exchange.answered is not None:
            # Its bytes come, which needs no second gateway unless they come slowly.
            self._next = max(self._next, newest.exchange.answered + self._fleet.timeout)
        try:
            attempt = self._ended.get(timeout=max(0.001, self._next - now))
        except Empty:
            self._expire()
            return None
        if self._running.get(attempt.number) is not attempt:
            return None
        del self._running[attempt.number]
        if attempt.error is not None:
            self._take_in(attempt.number, attempt.error)
        return attempt.block

    def _expire(self) -> None:
        now = time.monotonic()
        for number, attempt in list(self._running.items()):
            refusal = attempt.overdue(now)
            if refusal is not None:
                del self._running[number]
                attempt.exchange.abandon()
                self._fleet.roster.note(number, Outcome(attempt.started, None, refusal=refusal))
                self._take_in(number, refusal)

    def _take_in(self, number: int, error: BaseException) -> None:
        if not isinstance(error, Refusal):
            raise error
        self._absent = self._absent or error.kind == "absent"
        if error.kind not in ("busy", "broken") or self._tries[number] >= TRIES:
            self._closed[number] = error.reason
