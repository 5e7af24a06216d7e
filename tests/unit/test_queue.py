"""For how long a deferred message stays hidden, and what a dead-lettered one takes along."""

import random
import re
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.errors import CancelError
from cancellation.queue import (
    MAX_ATTRIBUTES,
    MAX_DELAY_S,
    MAX_MESSAGE_BYTES,
    Message,
    backoff_s,
    dead_letter_attributes,
)

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
SQS_MAX_VISIBILITY_S = 12 * 60 * 60  # SQS API reference, ChangeMessageVisibility; it counts from the receive
BATCH_S = 170  # the queue function's timeout: so long may a message have been received already
WEEKEND_S = 60 * 60 * 60


@pytest.mark.parametrize(
    ("receive_count", "shortest", "longest"),
    [(1, 1, 2), (2, 3, 4), (3, 5, 8), (8, 171, 256), (9, 200, 300), (300, 200, 300), (10**6, 200, 300)],
)
def test_the_delay_doubles_with_each_receive_up_to_the_cap_and_varies(receive_count, shortest, longest):
    delays = {backoff_s(receive_count, None) for _ in range(2000)}
    assert (min(delays), max(delays)) == (shortest, longest)


@pytest.mark.parametrize(("asked_s", "delay"), [(7, 7), (7.01, 8), (400, 400), (10**9, MAX_DELAY_S)])
def test_clopos_is_given_the_time_that_it_asks_for(asked_s, delay):
    assert backoff_s(1, asked_s) == delay


@given(st.integers(1, 10**9), st.none() | st.floats(0, allow_nan=False, allow_infinity=False))
def test_every_delay_is_one_that_sqs_takes(receive_count, asked_s):
    assert 1 <= backoff_s(receive_count, asked_s) <= SQS_MAX_VISIBILITY_S - BATCH_S


def test_a_weekend_of_failures_dead_letters_nothing_and_ends_within_five_minutes():
    """Each receive takes no time here: these are the most receives that there can be."""
    [most] = map(int, re.findall(r"maxReceiveCount: (\d+)", TEMPLATE.read_text()))
    for seed in range(20):
        random.seed(seed)
        clock_s, receives = 0, 1
        while clock_s < WEEKEND_S:
            clock_s += backoff_s(receives, None)
            receives += 1
        assert receives <= most
        assert clock_s - WEEKEND_S <= 300


# -- a dead letter


def attributes_of(body="{}", **attributes):
    message = Message("message-1", "receipt", body, attributes=attributes)
    return dead_letter_attributes(message, CancelError("order_not_found", "no such\norder"))


def test_a_dead_letter_has_the_reason_and_the_messages_own_attributes():
    assert attributes_of(
        Text={"dataType": "String.id", "stringValue": "a"},
        Bytes={"dataType": "Binary", "binaryValue": b64encode(b"\x00\xff").decode()},
        ErrorCode={"dataType": "String", "stringValue": "of an earlier time"},
    ) == {
        "ErrorCode": {"DataType": "String", "StringValue": "order_not_found"},
        "ErrorMessage": {"DataType": "String", "StringValue": "no such order"},
        "OriginalMessageId": {"DataType": "String", "StringValue": "message-1"},
        "Text": {"DataType": "String.id", "StringValue": "a"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


@pytest.mark.parametrize("body_bytes", [2, MAX_MESSAGE_BYTES - 300, MAX_MESSAGE_BYTES])
def test_a_dead_letter_is_no_larger_than_sqs_takes(body_bytes):
    own = {f"n{n}": {"dataType": "String", "stringValue": "é" * 40} for n in range(10)}
    attributes = attributes_of("x" * body_bytes, **own)
    size = sum(len("".join([name, *value.values()]).encode()) for name, value in attributes.items())
    assert len(attributes) <= MAX_ATTRIBUTES
    assert size + body_bytes <= MAX_MESSAGE_BYTES
    assert ("ErrorCode" in attributes) == (body_bytes < MAX_MESSAGE_BYTES)
