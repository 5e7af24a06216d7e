"""For how long a message that was not done stays hidden."""

import random
import re
from pathlib import Path

import pytest
from cancellation.redelivery import BACKOFF_CAP_S, BACKOFF_FLOOR_S, SQS_MAX_VISIBILITY_S, delay_s
from hypothesis import given
from hypothesis import strategies as st

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
SIX_HOURS_S = 6 * 60 * 60
SEEDS = 500


def longest(_, ceiling):
    return ceiling


def shortest(floor, _):
    return floor


@pytest.mark.parametrize(
    ("receive_count", "ceiling"),
    [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10, 300), (300, 300), (10**6, 300)],
)
def test_the_ceiling_doubles_with_each_receive_up_to_the_cap(receive_count, ceiling):
    assert delay_s(receive_count, None, longest) == ceiling
    assert delay_s(receive_count, None, shortest) == 1


@pytest.mark.parametrize(
    ("asked_s", "delay"),
    [(None, 1), (0, 1), (0.2, 1), (7, 7), (7.01, 8), (400, 400), (10**9, SQS_MAX_VISIBILITY_S)],
)
def test_clopos_is_given_the_time_that_it_asks_for(asked_s, delay):
    assert delay_s(1, asked_s, shortest) == delay


@given(st.integers(1, 10**9), st.none() | st.floats(0, allow_nan=False, allow_infinity=False), st.randoms())
def test_every_delay_is_one_that_sqs_takes(receive_count, asked_s, source):
    delay = delay_s(receive_count, asked_s, source.uniform)
    assert isinstance(delay, int)
    assert BACKOFF_FLOOR_S <= delay <= SQS_MAX_VISIBILITY_S
    assert delay >= min(asked_s or 0, SQS_MAX_VISIBILITY_S)
    assert delay <= max(BACKOFF_CAP_S, (asked_s or 0) + 1)


def test_six_hours_of_outage_dead_letter_nothing_and_end_within_five_minutes():
    """With a clock that jumps from one receive to the next, which takes no time: the most receives there can be."""
    [most] = map(int, re.findall(r"maxReceiveCount: (\d+)", TEMPLATE.read_text()))
    for seed in range(SEEDS):
        uniform = random.Random(seed).uniform
        clock_s, receives = 0, 1
        while clock_s < SIX_HOURS_S:
            clock_s += delay_s(receives, None, uniform)
            receives += 1
        assert receives <= most, f"seed {seed}: dead-lettered after {receives} receives"
        assert clock_s - SIX_HOURS_S <= 300, f"seed {seed}: late by {clock_s - SIX_HOURS_S} s"
