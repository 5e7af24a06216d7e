"""When a worker may call Clopos next, on a clock that the test moves."""

import heapq
import random
from collections import deque

import pytest
from cancellation.transport import Answer
from requests.structures import CaseInsensitiveDict

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.pacing import Pacer

LIMIT, WINDOW_S, RESERVE = 300, 60, 30


def answer(status=200, **headers):
    names = {name.replace("_", "-"): str(value) for name, value in headers.items() if value is not None}
    return Answer("PUT", "clopos", status, CaseInsensitiveDict(names), b"", None, 0.0, 0.0)


class SlidingWindow:
    """Clopos's limiter: at most `limit` calls in any `window` seconds."""

    def __init__(self, limit, window):
        self.limit, self.window, self.taken = limit, window, deque()

    def call(self, now):
        while self.taken and self.taken[0] <= now - self.window:
            self.taken.popleft()
        if allowed := len(self.taken) < self.limit:
            self.taken.append(now)
        left, reset = self.limit - len(self.taken), self.taken[0] + self.window - now
        return answer(
            200 if allowed else 429,
            ratelimit_limit=self.limit,
            ratelimit_remaining=left,
            ratelimit_reset=int(-(-reset // 1)),  # whole seconds, rounded up
        )


def drain(messages, *, workers=2, threads=5, latency_s=(0.05, 0.3), callers_per_s=0.0, seed=0):
    """Drain a backlog on a simulated clock, while callers of the API call Clopos too.

    Return the seconds that it took, the queue's calls that were answered 429, and those of the callers.
    """
    randomness, limiter, now = random.Random(seed), SlidingWindow(LIMIT, WINDOW_S), 0.0
    pacers = [Pacer(workers=workers, reserve=RESERVE, clock=lambda: now) for _ in range(workers)]
    events = [(0.0, n, "ask", pacer, None) for n, pacer in enumerate(pacers * threads)]
    if callers_per_s:
        events.append((0.1, len(events), "caller", None, None))
    waiting, throttled, callers_throttled, count = messages, 0, 0, len(events)
    heapq.heapify(events)
    while waiting > 0 or any(event[2] == "answer" for event in events):
        now, _, event, pacer, answered = heapq.heappop(events)
        count += 1
        if event == "caller":
            callers_throttled += limiter.call(now).status == 429
            heapq.heappush(events, (now + 1 / callers_per_s, count, "caller", None, None))
            continue
        if event == "answer":
            pacer.observe(answered)
            waiting += answered.status == 429
            throttled += answered.status == 429
        if waiting <= 0:
            continue
        if (wait := pacer.start_call()) > 0:
            heapq.heappush(events, (now + wait, count, "ask", pacer, None))
            continue
        waiting -= 1
        arrives = now + randomness.uniform(*latency_s) / 2
        heapq.heappush(events, (2 * arrives - now, count, "answer", pacer, limiter.call(arrives)))
    return now, throttled, callers_throttled


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"latency_s": (0.3, 0.3)},
        {"latency_s": (0.5, 2)},
        {"workers": 3},
        {"workers": 10},
        {"callers_per_s": 0.25},
        {"callers_per_s": 0.45},
    ],
    ids=str,
)
def test_a_backlog_drains_at_nearly_the_quota_without_the_reserve_and_without_running_into_it(how, seed):
    messages = 10 * LIMIT
    seconds, throttled, callers_throttled = drain(messages, **how, seed=seed)
    at_the_quota = messages * WINDOW_S / (LIMIT - RESERVE)
    assert seconds <= at_the_quota / 0.95
    assert throttled + callers_throttled <= messages / 1000


def test_the_time_that_a_backlog_takes_grows_in_a_straight_line():
    one, ten = (drain(n)[0] for n in (3_000, 30_000))
    assert ten == pytest.approx(10 * one, rel=0.15)


@pytest.fixture
def clock():
    class Clock:
        now = 1_700_000_000.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def pacer(clock):
    return Pacer(workers=2, reserve=RESERVE, clock=clock)


def learn(pacer, answered):
    """Give the pacer an answer, as after the first call of a worker."""
    assert pacer.start_call() == 0
    pacer.observe(answered)


def starts(pacer, most=1000):
    """Return how many calls may start now."""
    return next((count for count in range(most) if pacer.start_call() > 0), most)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit_remaining": "many", "ratelimit_reset": "soon"},
        {"ratelimit_remaining": "0"},
        {"ratelimit_remaining": "-1", "ratelimit_reset": "30"},
        {"ratelimit_limit": "9" * 5000, "ratelimit_remaining": "9" * 5000, "ratelimit_reset": "30"},
    ],
    ids=str,
)
def test_without_readable_headers_no_call_waits(pacer, headers):
    learn(pacer, answer(**headers))
    assert starts(pacer) == 1000


def test_a_worker_makes_no_more_than_its_share_of_a_window(pacer, clock):
    learn(pacer, answer(ratelimit_limit=300, ratelimit_remaining=299, ratelimit_reset=60))
    share = (LIMIT - RESERVE) // 2
    assert starts(pacer) == share - 1
    for _ in range(share - 1):
        pacer.observe(answer(ratelimit_limit=300, ratelimit_remaining=300, ratelimit_reset=60))
    clock.now += 59
    assert 1 <= pacer.start_call() < 2
    clock.now += 2
    assert starts(pacer) == share


def test_a_worker_claims_its_share_of_what_is_left_beside_the_reserve(pacer):
    learn(pacer, answer(ratelimit_remaining=RESERVE + 8, ratelimit_reset=30))
    assert starts(pacer) == 4


def test_a_worker_with_nothing_left_waits_for_the_reset_and_makes_one_call(pacer, clock):
    learn(pacer, answer(ratelimit_remaining=0, ratelimit_reset=30))
    assert pacer.start_call() == 30
    clock.now += 30
    assert starts(pacer) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 5), ({"retry_after": 7}, 7), ({"ratelimit_reset": 9}, 9), ({"ratelimit_reset": 40_000}, 60)],
    ids=str,
)
def test_a_429_is_waited_out(pacer, headers, seconds):
    learn(pacer, answer(429, **headers))
    assert pacer.start_call() == seconds


def test_a_window_that_has_passed_while_the_process_was_frozen_is_forgotten(pacer, clock):
    learn(pacer, answer(ratelimit_limit=300, ratelimit_remaining=0, ratelimit_reset=60))
    clock.now += 3600
    assert pacer.start_call() == 0


def test_a_clock_that_is_set_back_stops_calls_for_a_window_at_most(pacer, clock):
    learn(pacer, answer(ratelimit_limit=300, ratelimit_remaining=0, ratelimit_reset=60))
    clock.now -= 86_400
    assert pacer.start_call() <= WINDOW_S


def test_a_turn_that_comes_too_late_is_refused_at_once_and_says_when_it_comes(pacer):
    learn(pacer, answer(ratelimit_remaining=0, ratelimit_reset=30))
    with pytest.raises(CancelError) as refused:
        pacer.take_turn(Deadline.after(20))
    assert (refused.value.code, refused.value.retry_after_s) == ("rate_limited", 30)


def test_a_turn_that_comes_in_time_is_waited_for(clock):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        clock.now += seconds

    pacer = Pacer(workers=2, reserve=RESERVE, clock=clock, sleep=sleep)
    learn(pacer, answer(ratelimit_remaining=0, ratelimit_reset=30))
    pacer.take_turn(Deadline.after(60))
    assert slept == [30]
