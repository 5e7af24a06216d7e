"""Outcomes fit into one call of EventBridge, whatever texts Clopos sent."""

import json

import pytest

from cancellation.deadline import Deadline
from cancellation.outcome_events import MAX_REQUEST_BYTES, OutcomeEvents

UPSTREAM = {"status": 400, "error": "validation_failed", "message": "Status is not allowed"}
REJECTED = {
    "outcome": "rejected",
    "result": {"success": False, "error": "order_not_found", "upstream": UPSTREAM},
}


def cancelled(**data):
    data = {"id": 108, "status": "IGNORE", "integration_response": None, **data}
    return {"outcome": "cancelled", "result": {"success": True, "data": data}}


@pytest.fixture
def publish(aws):
    """Publish, and return the details that were sent."""

    def publish(*details):
        sent = []

        def put_events(Entries):  # noqa: N803 - boto3's name
            sent.extend(Entries)
            # As AWS counts (PutEventsRequestEntry size): source, type and detail, in UTF-8.
            size = sum(len((e["Source"] + e["DetailType"] + e["Detail"]).encode()) for e in Entries)
            assert size <= MAX_REQUEST_BYTES
            return {"Entries": [{"EventId": "1"}] * len(Entries)}

        aws.put_events = put_events
        assert OutcomeEvents("bus", "the-stack").publish([*details], Deadline.after(5)) == [True] * len(
            details
        )
        return [json.loads(entry["Detail"]) for entry in sent]

    return publish


@pytest.mark.parametrize("character", ["x", "é", "😀", '"', "\n"])
def test_ten_orders_with_long_texts_fit_into_one_call(publish, character):
    long = character * 300_000
    fat = cancelled(customer_ref_id=long, type=long, integration=long, integration_response={"note": long})
    details = publish(*[fat] * 10)
    assert details[0]["result"]["data"]["customer_ref_id"] == character * 200
    assert details[0]["result"]["data"]["id"] == 108
    assert details[0]["stack"] == "the-stack"


def test_an_order_that_is_too_fat_does_not_cut_the_others(publish):
    short = cancelled(customer_ref_id="ref-7", integration_response={"note": "short"})
    fat, *others = publish(cancelled(customer_ref_id="x" * 300_000), short, REJECTED)
    assert len(fat["result"]["data"]["customer_ref_id"]) == 200
    assert others == [short | {"stack": "the-stack"}, REJECTED | {"stack": "the-stack"}]


def test_each_outcome_is_accepted_or_not(aws):
    aws.put_events = lambda **_: {"Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}]}
    events = OutcomeEvents("bus", "the-stack")
    assert events.publish([REJECTED, cancelled()], Deadline.after(5)) == [True, False]
    aws.put_events = lambda **_: {}  # an answer that says nothing
    assert events.publish([REJECTED], Deadline.after(5)) == [False]
    assert OutcomeEvents("", "the-stack").publish([REJECTED], Deadline.after(5)) == [True]
