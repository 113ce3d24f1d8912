"""How each of several servers did so far, and which of them may be asked now."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pinformers._errors import Refusal
from pinformers.ipfs.dag import RUN

PER_SERVER = 8
IN_ALL = 16
# What a server counts as before it answered anything: seconds to the headers, bytes a second.
_LATENCY, _SPEED = 0.05, 10e6
# The bytes of a whole block, by which servers are compared.
_BLOCK = 1 << 20
# A server is rapid where a run of blocks takes no more seconds than that: a request costs more than its bytes then.
_RAPID = 0.1
# Smaller answers say nothing of the speed.
_TELLING = 1 << 16
_HEDGE_FIRST, _HEDGE_LEAST, _HEDGE_MOST = 1.0, 0.1, 2.0
# Doubled with each failure in a row. A stall costs whoever asks more than a refusal does.
_REST_FIRST, _REST_STALLED, _REST_MOST = 0.5, 10.0, 60.0
_REST_EVER = 86400.0


class Standing:
    """One server: how fast it is, whether it rests, and how many requests it bears.

    Its owner calls the methods under one lock, with the time.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._latency: float | None = None
        self._deviation = 0.0
        self._speed = _SPEED
        self.failures = 0
        self.in_flight = 0
        self.allowed = float(PER_SERVER)
        self.rests_until = self._failed_at = self.delivered_at = float("-inf")
        self.reason = ""
        self.dead = False

    @property
    def cost(self) -> float:
        """The seconds that one more block from it should take."""
        latency = _LATENCY if self._latency is None else self._latency
        return (latency + _BLOCK / self._speed) * (1 + self.in_flight)

    @property
    def rapid(self) -> bool:
        """Whether it has shown to answer and to send so fast that requests are what costs."""
        return self._latency is not None and self._latency + RUN * _BLOCK / self._speed < _RAPID

    def hedge_delay(self, stall_timeout: float) -> float:
        """Return the seconds after which headers that are not here are late for this server."""
        most = min(_HEDGE_MOST, stall_timeout / 2)
        if self._latency is None:
            return min(_HEDGE_FIRST, most)
        # As TCP computes its retransmission timeout (RFC 6298).
        return min(max(self._latency + 4 * self._deviation, _HEDGE_LEAST), most)

    def has_place(self) -> bool:
        """Say whether it bears one more request."""
        return self.in_flight < int(self.allowed)

    def delivered(self, now: float, latency: float, size: int, seconds: float) -> None:
        """Take in an answer: ``latency`` to its headers, then ``size`` bytes in so many ``seconds``."""
        self.waited(latency)
        if size >= _TELLING:
            self._speed += 0.2 * (size / max(seconds, 1e-4) - self._speed)
        self.failures, self.reason = 0, ""
        self.delivered_at = now
        self.allowed = min(PER_SERVER, self.allowed + 1 / self.allowed)

    def waited(self, latency: float) -> None:
        """Take in a time to the headers."""
        if self._latency is None:
            self._latency, self._deviation = latency, latency / 2
            return
        self._deviation += 0.25 * (abs(latency - self._latency) - self._deviation)
        self._latency += 0.2 * (latency - self._latency)

    def refused(self, now: float, started: float, refusal: Refusal) -> None:
        """Take in what it did to a request that had ``started`` then."""
        if refusal.kind == "absent":
            return
        self.reason = refusal.reason
        if refusal.kind == "lie":
            self.dead = True
            return
        if refusal.wait is not None:
            self.rests_until = max(self.rests_until, now + min(refusal.wait, _REST_EVER))
        if started < self._failed_at:
            # Of the requests that were in flight together, the first that fails speaks for all.
            return
        self._failed_at = now
        self.failures += 1
        if refusal.kind == "busy":
            self.allowed = max(1.0, self.allowed / 2)
        if refusal.wait is None:
            first = _REST_STALLED if refusal.kind == "stalled" else _REST_FIRST
            rest = min(_REST_MOST, first * 2 ** min(self.failures - 1, 10))
            self.rests_until = max(self.rests_until, now + rest * (0.5 + self._jitter() / 2))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to: ``size`` bytes, or a refusal; neither where it was abandoned."""

    started: float
    answered: float | None
    size: int | None = None
    refusal: Refusal | None = None


class Roster:
    """Hand out places at several servers, the best one first; threads share it."""

    def __init__(self, count: int) -> None:
        self._standings = [Standing() for _ in range(count)]
        self._changed = threading.Condition()
        self._in_flight = 0

    def take(self, closed: Collection[int], *, patience: float, limit: float = 0.0) -> int | None:
        """Take a place at a server that is not ``closed``, and return its number.

        Waits at most ``patience`` seconds for one that rests, and ``limit`` for one that is taken up; returns None at
        once where that is in vain.
        """
        start = time.monotonic()
        with self._changed:
            while True:
                now = time.monotonic()
                able = [n for n, one in enumerate(self._standings) if n not in closed and not one.dead]
                awake = [n for n in able if self._standings[n].rests_until <= now]
                ready = [n for n in awake if self._standings[n].has_place()] if self._in_flight < IN_ALL else []
                if ready:
                    best = min(ready, key=lambda n: self._standings[n].cost)
                    self._standings[best].in_flight += 1
                    self._in_flight += 1
                    return best
                ends = [self._standings[n].rests_until for n in able if n not in awake]
                ends = [end for end in ends if end <= start + patience]
                if awake:
                    ends.append(start + limit)
                if not ends or max(ends) <= now:
                    return None
                self._changed.wait(max(0.0, min(end for end in ends if end > now) - now))

    def take_rapid(self, able: Collection[int]) -> int | None:
        """Take a place at the best server, at once, where that is a rapid one among the ``able``."""
        number = self.take((), patience=0.0)
        if number is not None and not (number in able and self._standings[number].rapid):
            self.give(number)
            number = None
        return number

    def give(self, number: int) -> None:
        """Give a place back."""
        with self._changed:
            self._standings[number].in_flight -= 1
            self._in_flight -= 1
            self._changed.notify_all()

    def note(self, number: int, outcome: Outcome) -> None:
        """Take in what a request came to."""
        now = time.monotonic()
        with self._changed:
            standing = self._standings[number]
            if outcome.refusal is not None:
                standing.refused(now, outcome.started, outcome.refusal)
            elif outcome.size is not None and outcome.answered is not None:
                latency = outcome.answered - outcome.started
                standing.delivered(now, latency, outcome.size, now - outcome.answered)
            elif outcome.answered is None:
                # It lost a race: as slow as that at least.
                standing.waited(now - outcome.started)

    def hedge_delay(self, number: int, stall_timeout: float) -> float:
        """Return the seconds after which the next server is asked as well."""
        with self._changed:
            return self._standings[number].hedge_delay(stall_timeout)

    def reasons(self) -> dict[int, str]:
        """Return why servers cannot be asked now, by number."""
        now = time.monotonic()
        with self._changed:
            return {n: _told(one, now) for n, one in enumerate(self._standings) if one.dead or one.rests_until > now}

    def delivers(self, since: float) -> bool:
        """Say whether some server that is still asked delivered since then."""
        with self._changed:
            return any(one.delivered_at >= since and not one.dead for one in self._standings)

    def dead(self) -> dict[int, str]:
        """Return the servers that are never asked again, and why. Takes no lock: see ``succeed``."""
        return {n: one.reason for n, one in enumerate(self._standings) if one.dead}

    def succeed(self) -> Roster:
        """Return a fresh one for a forked process, where this one's lock may be held for ever; the dead stay dead."""
        heir = Roster(len(self._standings))
        for number, reason in self.dead().items():
            heir._standings[number].dead, heir._standings[number].reason = True, reason
        return heir


def _told(standing: Standing, now: float) -> str:
    if standing.dead:
        return f"{standing.reason}; it is not asked again"
    return f"{standing.reason}; it is asked again in {math.ceil(standing.rests_until - now)} s"
