"""For how long a deferred message stays hidden, and what a dead-lettered one takes along."""

import random
import re
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.queue import MAX_ATTRIBUTES, MAX_DELAY_S, MAX_MESSAGE_BYTES, Message, Queue, backoff_s

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

ERROR = CancelError("order_not_found", "Clopos knows no such order")


def dead_letter(aws, body="{}", **attributes):
    """Return the copy that is sent to the dead-letter queue; None if it is not sent."""
    sent = []
    aws.send_message = lambda **parameters: sent.append(parameters) or {}
    message = Message("message-1", "receipt", body, attributes=attributes, trace_header="Root=1-2-3")
    assert Queue("queue", "dead").dead_letter(message, ERROR, Deadline.after(5)) == bool(sent)
    return sent[0] if sent else None


def test_a_dead_letter_has_the_reason_and_the_messages_own_attributes(aws):
    copy = dead_letter(
        aws,
        "the body",
        Text={"dataType": "String.id", "stringValue": "a"},
        Bytes={"dataType": "Binary", "binaryValue": b64encode(b"\x00\xff").decode()},
        ErrorCode={"dataType": "String", "stringValue": "of an earlier time"},
    )
    assert (copy["QueueUrl"], copy["MessageBody"]) == ("dead", "the body")
    assert copy["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"] == "Root=1-2-3"
    assert copy["MessageAttributes"] == {
        "ErrorCode": {"DataType": "String", "StringValue": "order_not_found"},
        "ErrorMessage": {"DataType": "String", "StringValue": "Clopos knows no such order"},
        "OriginalMessageId": {"DataType": "String", "StringValue": "message-1"},
        "Text": {"DataType": "String.id", "StringValue": "a"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


@pytest.mark.parametrize("body_bytes", [2, MAX_MESSAGE_BYTES - 300, MAX_MESSAGE_BYTES])
def test_a_dead_letter_is_no_larger_than_sqs_takes(aws, body_bytes):
    own = {f"n{n}": {"dataType": "String", "stringValue": "é" * 40} for n in range(10)}
    copy = dead_letter(aws, "x" * body_bytes, **own)
    attributes = copy["MessageAttributes"]
    size = sum(len("".join([name, *value.values()]).encode()) for name, value in attributes.items())
    assert len(attributes) <= MAX_ATTRIBUTES
    assert size + body_bytes <= MAX_MESSAGE_BYTES
    assert ("ErrorCode" in attributes) == (body_bytes < MAX_MESSAGE_BYTES)


def test_a_message_with_attributes_of_an_unknown_form_stays_on_its_queue(aws):
    assert dead_letter(aws, Odd={"binaryValue": "no base64"}) is None
