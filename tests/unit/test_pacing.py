"""When a worker may call Clopos next: sharing the quota, and probing in an outage, on a clock that the test moves."""

import random

import pytest
from requests.structures import CaseInsensitiveDict

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.exchange import MIN_CALL_S, Exchange
from cancellation.outage import FAILURES, Outage
from cancellation.pacing import LIMIT, WINDOW_S, Pacer

RESERVE = 30
SHARE = (LIMIT - RESERVE) // 2


def answer(status=200, **headers):
    names = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return Exchange("PUT", "clopos", 0.0, 0.0, status, CaseInsensitiveDict(names), b"")


@pytest.fixture
def pacer(clock):
    return Pacer(workers=2, reserve=RESERVE)


@pytest.fixture
def call(pacer, clock):
    """Make a call, and return for how long it had to wait; further calls see the answer."""

    def call(answered=None, deadline_s=1000):
        before = clock.now
        pacer.wait(Deadline.after(deadline_s))
        if answered:
            pacer.observe(answered)
        return clock.now - before

    return call


def test_the_calls_of_a_worker_wait_for_its_first_answer(call, pacer, clock):
    assert call() == 0
    clock.sleep = lambda _: pacer.observe(answer())  # the answer comes while the second call waits
    assert call() == 0


def test_a_first_answer_that_does_not_come_is_waited_for_two_seconds(call):
    assert [call(), call(), call()] == [0, pytest.approx(2, abs=0.06), 0]


@pytest.mark.parametrize(
    ("headers", "share"),
    [
        ({}, SHARE),
        ({"ratelimit_limit": 300, "ratelimit_remaining": RESERVE + 1, "ratelimit_reset": 9}, SHARE),
        ({"ratelimit_limit": 90}, 30),
        ({"ratelimit_limit": 20}, 1),  # less than the reserve: a worker may still try
        ({"ratelimit_limit": 0}, SHARE),
        ({"ratelimit_limit": "many", "ratelimit_remaining": "9" * 5000, "ratelimit_reset": "soon"}, SHARE),
    ],
    ids=str,
)
def test_a_worker_makes_no_more_than_its_share_of_a_window(call, headers, share):
    waits = [call(answer(**headers)) for _ in range(2 * share + 1)]
    assert waits == [0] * share + [WINDOW_S] + [0] * (share - 1) + [WINDOW_S]


def test_a_call_leaves_the_window_a_minute_after_it_was_made(call, clock):
    for _ in range(SHARE):
        call(answer())
        clock.now += 0.1
    assert call() == pytest.approx(WINDOW_S - 0.1 * SHARE)
    assert call() == pytest.approx(0.1)


def test_a_limit_that_is_known_holds_for_answers_without_headers(call):
    call(answer(ratelimit_limit=90))
    assert sum(call(answer()) for _ in range(29)) == 0
    assert call() == WINDOW_S


@pytest.mark.parametrize(
    ("answered", "pause_s"),
    [
        (answer(ratelimit_remaining=RESERVE, ratelimit_reset=30), 30),
        (answer(ratelimit_remaining=0, ratelimit_reset=0), 0),
        (answer(ratelimit_remaining=0), 0),  # it does not say for how long
        (answer(429), 5),
        (answer(429, retry_after=7), 7),
        (answer(429, ratelimit_reset=9), 9),
        (answer(429, ratelimit_reset=40_000), WINDOW_S),
        (answer(503, retry_after=7), 0),
    ],
)
def test_a_worker_pauses_at_the_reserve_and_after_a_429(call, answered, pause_s):
    call(answered)
    assert call() == pytest.approx(pause_s, abs=1e-6)


def test_a_pause_that_outlasts_the_deadline_is_refused_at_once_and_says_how_long_it_is(call, clock):
    call(answer(429, retry_after=30))
    with pytest.raises(CancelError) as refused:
        call(deadline_s=30 + MIN_CALL_S - 0.01)
    assert (refused.value.code, refused.value.retry_after_s) == ("rate_limited", 30)
    assert clock.slept == []
    assert call(deadline_s=30 + MIN_CALL_S) == 30


def test_what_was_before_a_freeze_is_forgotten(call, clock):
    for _ in range(SHARE):
        call(answer(429, retry_after=60))
        clock.now += 3600
    assert [call() for _ in range(SHARE)] == [0] * SHARE


def test_a_clock_that_is_set_back_stops_nothing(call, clock):
    for _ in range(SHARE - 1):
        call(answer())
    call(answer(429, retry_after=60))
    clock.now -= 86_400
    assert call() == 0


# -- an outage


@pytest.fixture
def outage(clock, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    return Outage(workers=2)


def fail(outage, times=FAILURES):
    for _ in range(times):
        outage.failed()


def test_an_outage_begins_with_three_failures_in_a_row_and_ends_with_an_answer(outage):
    fail(outage, 2)
    outage.answered()
    fail(outage, 2)
    assert not outage.is_on
    outage.failed()
    assert outage.is_on
    outage.answered()
    assert not outage.is_on


@pytest.mark.parametrize(("workers", "intervals_s"), [(2, [1, 2, 4, 8, 10, 10]), (10, [1, 10, 50, 50, 50])])
def test_the_intervals_between_probes_grow_with_the_workers(outage, clock, workers, intervals_s):
    outage = Outage(workers=workers)
    for _ in range(2):  # the second outage begins like the first
        clock.slept.clear()
        fail(outage)
        for _ in intervals_s:
            assert outage.wait_for_probe(Deadline.after(1000))
            outage.failed()
        assert clock.slept == pytest.approx(intervals_s)
        outage.answered()
        clock.now += 3600


def test_the_time_of_a_probe_counts_towards_the_next_interval(outage, clock):
    fail(outage)
    outage.wait_for_probe(Deadline.after(1000))
    clock.now += 1.5
    outage.wait_for_probe(Deadline.after(1000))
    assert clock.slept == pytest.approx([1, 0.5])


def test_workers_that_stopped_together_do_not_probe_together(clock):
    outages = [Outage(workers=2) for _ in range(20)]
    for outage in outages:
        fail(outage)
        now = clock.now
        outage.wait_for_probe(Deadline.after(1000))
        clock.now = now
    assert len(set(clock.slept)) == 20
    assert all(0.8 <= slept <= 1.2 for slept in clock.slept)


def test_a_worker_waits_no_longer_than_its_deadline_leaves_time_for_a_probe(outage, clock):
    fail(outage)
    assert not outage.wait_for_probe(Deadline.after(1.5))
    assert clock.slept == pytest.approx([1.5 - MIN_CALL_S])
    assert outage.wait_for_probe(Deadline.after(0.5 + MIN_CALL_S + 0.001))  # the probe is still due


def test_no_time_is_slept_away_once_a_deadline_has_passed(outage, clock):
    fail(outage)
    assert not outage.wait_for_probe(Deadline.after(0.1))
    assert clock.slept == [0]


def test_a_clock_that_is_set_back_delays_a_probe_by_one_interval(outage, clock):
    fail(outage)
    clock.now -= 86_400
    assert outage.wait_for_probe(Deadline.after(1000))
    assert clock.slept == pytest.approx([12])
