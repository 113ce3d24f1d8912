from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pinformers._errors import Kind, Refusal
from pinformers.sources.standing import IN_ALL, PER_SERVER, Outcome, Roster, Standing

PATIENCE = 20.0


def refuse(standing: Standing, now: float, kind: Kind = "failed", wait: float | None = None) -> float:
    """Let a request that started just now fail; returns the seconds that the server rests."""
    standing.refused(now, now, Refusal("it", "it fails", kind, wait))
    return standing.rests_until - now


def test_rests_double_up_to_a_minute_and_a_delivery_ends_that() -> None:
    standing, now = Standing(jitter=lambda: 1.0), 100.0
    rests = []
    for _ in range(9):
        rests.append(refuse(standing, now))
        now = standing.rests_until
    assert rests == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60])
    standing.delivered(now, 0.1, 1, 0.1)
    assert refuse(standing, now) == pytest.approx(0.5)


def test_a_rest_varies_by_half() -> None:
    assert refuse(Standing(jitter=lambda: 0.0), 0.0) == 0.25
    assert 0.25 <= refuse(Standing(), 0.0) <= 0.5


@pytest.mark.parametrize(
    ("latency", "speed", "rapid"), [(0.001, 200e6, True), (0.12, 2e9, False), (0.001, 50e6, False)]
)
def test_rapid_is_who_has_shown_to_send_a_run_in_a_tenth_of_a_second(latency: float, speed: float, rapid: bool) -> None:
    standing = Standing()
    assert not standing.rapid, "nothing is known of it"
    for _ in range(50):
        standing.delivered(0.0, latency, 1 << 20, (1 << 20) / speed)
    assert standing.rapid == rapid


def test_a_stall_rests_longer() -> None:
    assert refuse(Standing(jitter=lambda: 1.0), 0.0, "stalled") == 10


def test_requests_that_fail_together_count_once() -> None:
    standing = Standing(jitter=lambda: 1.0)
    for end in (2.0, 2.1, 2.2):
        standing.refused(end, 1.0, Refusal("it", "it fails"))
    assert standing.failures == 1
    assert standing.rests_until == 2.5


def test_a_named_wait_is_kept_and_never_shortened() -> None:
    standing = Standing()
    assert refuse(standing, 0.0, "busy", 30.0) == 30
    assert refuse(standing, 1.0, "busy", 5.0) == 29
    assert refuse(standing, 2.0, "failed") == 28
    assert refuse(Standing(), 0.0, "busy", 1e300) == 86400


def test_who_is_busy_gets_half_as_many_requests_and_each_delivery_adds() -> None:
    standing, now = Standing(), 0.0
    allowed = []
    for _ in range(5):
        refuse(standing, now, "busy", 0.0)
        allowed.append(standing.allowed)
        now += 1
    assert allowed == [4, 2, 1, 1, 1]
    for _ in range(100):
        standing.delivered(now, 0.01, 1 << 20, 0.01)
    assert standing.allowed == PER_SERVER


def test_a_missing_block_is_no_failure() -> None:
    standing = Standing()
    refuse(standing, 0.0, "absent")
    assert (standing.failures, standing.reason) == (0, "")


def test_a_hedge_is_due_when_headers_are_later_than_ever() -> None:
    standing = Standing()
    assert standing.hedge_delay(30.0) == 1.0
    assert standing.hedge_delay(0.5) == 0.25
    for _ in range(50):
        standing.waited(0.3)
    assert standing.hedge_delay(30.0) == pytest.approx(0.3, abs=0.01)
    for latency in (0.001, 5.0):
        for _ in range(50):
            standing.waited(latency)
        assert 0.1 <= standing.hedge_delay(30.0) <= 2.0


def test_the_cheapest_is_asked_first_and_the_first_one_of_equals() -> None:
    roster = Roster(2)
    assert roster.take((), patience=0) == 0
    roster.note(0, Outcome(0.0, 9.0, 1 << 20))
    roster.give(0)
    assert roster.take((), patience=0) == 1
    # In flight: the other one is free.
    for _ in range(5):
        roster.note(1, Outcome(0.0, 0.01, 1 << 20))


def test_places_are_bounded_for_each_and_in_all() -> None:
    roster = Roster(3)
    taken = [roster.take((), patience=0) for _ in range(IN_ALL)]
    assert roster.take((), patience=0) is None
    assert max(map(taken.count, taken)) <= PER_SERVER
    roster.give(0)
    assert roster.take((1, 2), patience=0) == 0
    assert [Roster(1).take((), patience=0) for _ in range(2)] == [0, 0]


def test_who_waits_for_a_place_gets_the_next_one() -> None:
    roster = Roster(1)
    for _ in range(PER_SERVER):
        roster.take((), patience=0)
    with ThreadPoolExecutor(1) as pool:
        begun = threading.Event()
        waiting = pool.submit(lambda: (begun.set(), roster.take((), patience=0, limit=PATIENCE))[1])
        assert begun.wait(PATIENCE)
        roster.give(0)
        assert waiting.result(PATIENCE) == 0


def test_who_rests_longer_than_one_would_wait_is_not_waited_for() -> None:
    roster = Roster(2)
    roster.note(0, Outcome(0.0, None, refusal=Refusal("it", "it is busy", "busy", 3600.0)))
    assert roster.take((1,), patience=60, limit=60) is None
    assert roster.reasons() == {0: "it is busy; it is asked again in 3600 s"}
    roster.note(1, Outcome(0.0, None, refusal=Refusal("it", "it is busy", "busy", 0.05)))
    assert roster.take((), patience=60) == 1


def test_a_liar_is_out_for_ever_and_for_those_that_succeed() -> None:
    roster = Roster(2)
    roster.note(0, Outcome(0.0, 0.0, refusal=Refusal("it", "it lied", "lie")))
    roster.note(1, Outcome(0.0, None, refusal=Refusal("it", "it is busy", "busy", 3600.0)))
    heir = roster.succeed()
    assert heir.reasons() == {0: "it lied; it is not asked again"}
    assert heir.take((), patience=0) == 1
    assert heir.take((1,), patience=60) is None
