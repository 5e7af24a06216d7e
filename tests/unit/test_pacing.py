import heapq
import random
from collections import deque

import pytest

from cancellation.pacing import NotInTime, Pacer


class SlidingWindow:
    """Clopos's limiter: at most `limit` calls in any `window` seconds."""

    def __init__(self, limit, window):
        self.limit, self.window, self.taken = limit, window, deque()

    def call(self, now):
        while self.taken and self.taken[0] <= now - self.window:
            self.taken.popleft()
        allowed = len(self.taken) < self.limit
        if allowed:
            self.taken.append(now)
        left, reset = self.limit - len(self.taken), self.taken[0] + self.window - now
        headers = {"RateLimit-Limit": str(self.limit), "RateLimit-Remaining": str(left)}
        # Whole seconds, rounded up, where the window is the real one.
        return allowed, headers | {"RateLimit-Reset": str(-(-reset // 1) if self.window >= 60 else reset)}


def drain(messages, *, limit, window, workers=2, threads=5, latency_s=(0.05, 0.3), seed=0):
    """Drain a backlog on a simulated clock; return seconds taken, calls made, and calls answered 429."""
    randomness, limiter, now = random.Random(seed), SlidingWindow(limit, window), 0.0
    pacers = [Pacer(2, clock=lambda: now, jitter=randomness.random) for _ in range(workers)]
    events = [(0.0, n, "ask", pacer, None) for n, pacer in enumerate(pacers * threads)]
    waiting, calls, throttled = messages, 0, 0
    count = len(events)
    heapq.heapify(events)
    while events:
        now, _, event, pacer, answer = heapq.heappop(events)
        count += 1
        if event == "answer":
            allowed, headers = answer
            pacer.finish()
            pacer.observe(headers, 200 if allowed else 429)
            waiting += not allowed
        if waiting <= 0:
            continue
        if (wait := pacer.start()) > 0:
            heapq.heappush(events, (now + wait, count, "ask", pacer, None))
            continue
        waiting -= 1
        answer = limiter.call(now)
        calls, throttled = calls + 1, throttled + (not answer[0])
        heapq.heappush(events, (now + randomness.uniform(*latency_s), count, "answer", pacer, answer))
    return now, calls, throttled


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "how",
    [
        {"limit": 300, "window": 60},
        {"limit": 300, "window": 60, "latency_s": (0.3, 0.3)},
        {"limit": 300, "window": 60, "workers": 1},
        {"limit": 300, "window": 60, "threads": 1},
        {"limit": 300, "window": 6, "latency_s": (0.005, 0.03)},
        {"limit": 600, "window": 60},
    ],
)
def test_a_backlog_drains_at_nearly_the_whole_quota_without_running_into_it(how, seed):
    messages = 10 * how["limit"]
    seconds, calls, throttled = drain(messages, **how, seed=seed)
    at_the_quota = messages * how["window"] / how["limit"]
    assert seconds <= at_the_quota / 0.97
    assert throttled <= calls / 100


def test_the_time_that_a_backlog_takes_grows_in_a_straight_line():
    one, ten = (drain(n, limit=300, window=6, latency_s=(0.005, 0.03))[0] for n in (3_000, 30_000))
    assert ten == pytest.approx(10 * one, rel=0.15)


@pytest.fixture
def clock():
    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def pacer(clock):
    return Pacer(2, clock=clock, jitter=lambda: 0)


@pytest.mark.parametrize(
    "headers",
    [{}, {"RateLimit-Remaining": "many", "RateLimit-Reset": "soon"}, {"RateLimit-Remaining": "0"}],
)
def test_without_headers_that_can_be_read_nobody_waits(pacer, headers):
    pacer.observe(headers, 200)
    assert [pacer.start() for _ in range(20)] == [0] * 20


def test_a_worker_claims_its_share_of_what_is_left_and_no_more_at_a_time(pacer):
    pacer.observe({"RateLimit-Remaining": "8", "RateLimit-Reset": "30"}, 200)
    assert [pacer.start() for _ in range(4)] == [0, 0, 0, 30]


def test_a_worker_with_nothing_left_waits_for_the_reset_and_makes_one_call(pacer, clock):
    pacer.observe({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 200)
    assert pacer.start() == 30
    clock.now += 30
    assert pacer.start() == 0
    assert pacer.start() > 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 5), ({"Retry-After": "7"}, 7), ({"RateLimit-Reset": "9"}, 9), ({"RateLimit-Reset": "99999"}, 60)],
)
def test_a_429_is_waited_out(pacer, headers, seconds):
    pacer.observe(headers, 429)
    assert pacer.start() == seconds


def test_a_turn_that_comes_too_late_is_refused_at_once_and_says_when_it_comes(pacer, clock):
    pacer.observe({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 200)
    with pytest.raises(NotInTime) as refused, pacer.turn(deadline=clock.now + 20):
        pass
    assert refused.value.wait == 30
