"""For how long a deferred message stays hidden."""

import random
import re
from pathlib import Path

import pytest
from cancellation.settling import MAX_DELAY_S, backoff_s
from hypothesis import given
from hypothesis import strategies as st

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
SQS_MAX_VISIBILITY_S = 12 * 60 * 60  # SQS API reference, ChangeMessageVisibility; it counts from the receive
BATCH_S = 170  # the queue function's timeout: so long may a message have been received already
WEEKEND_S = 60 * 60 * 60
SEEDS = 100


def longest(_, ceiling):
    return ceiling


def shortest(floor, _):
    return floor


@pytest.mark.parametrize(
    ("receive_count", "ceiling"),
    [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10, 300), (300, 300), (10**6, 300)],
)
def test_the_ceiling_doubles_with_each_receive_up_to_the_cap(receive_count, ceiling):
    assert backoff_s(receive_count, None, longest) == ceiling
    assert 1 <= backoff_s(receive_count, None, shortest) < ceiling


@pytest.mark.parametrize(
    ("asked_s", "delay"),
    [(None, 1), (0, 1), (0.2, 1), (7, 7), (7.01, 8), (400, 400), (10**9, MAX_DELAY_S)],
)
def test_clopos_is_given_the_time_that_it_asks_for(asked_s, delay):
    assert backoff_s(1, asked_s, shortest) == delay


@given(st.integers(1, 10**9), st.none() | st.floats(0, allow_nan=False, allow_infinity=False), st.randoms())
def test_every_delay_is_one_that_sqs_takes(receive_count, asked_s, source):
    delay = backoff_s(receive_count, asked_s, source.uniform)
    assert isinstance(delay, int)
    assert 1 <= delay <= SQS_MAX_VISIBILITY_S - BATCH_S
    assert delay >= min(asked_s or 0, MAX_DELAY_S)
    assert delay <= max(300, (asked_s or 0) + 1)


def test_messages_that_fail_together_do_not_come_back_together():
    source = random.Random(1)
    assert len({backoff_s(9, None, source.uniform) for _ in range(50)}) > 20


def test_a_weekend_of_failures_dead_letters_nothing_and_ends_within_five_minutes():
    """With a clock that jumps from one receive to the next, which takes no time: the most receives there can be."""
    [most] = map(int, re.findall(r"maxReceiveCount: (\d+)", TEMPLATE.read_text()))
    for seed in range(SEEDS):
        uniform = random.Random(seed).uniform
        clock_s, receives = 0, 1
        while clock_s < WEEKEND_S:
            clock_s += backoff_s(receives, None, uniform)
            receives += 1
        assert receives <= most, f"seed {seed}: dead-lettered after {receives} receives"
        assert clock_s - WEEKEND_S <= 300, f"seed {seed}: late by {clock_s - WEEKEND_S} s"
