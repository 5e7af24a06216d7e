"""An outcome fits into an EventBridge event, however long the texts of Clopos are."""

import json

import pytest

from cancellation.deadline import Deadline
from cancellation.outcome_events import MAX_REQUEST_BYTES, OutcomeEvents

UPSTREAM = {"status": 400, "error": "validation_failed", "message": "Status is not allowed"}


def refused(upstream):
    return {
        "outcome": "rejected",
        "result": {"success": False, "error": "order_not_cancellable", "upstream": upstream},
    }


def cancelled(integration_response):
    data = {"id": 108, "status": "IGNORE", "integration_response": integration_response}
    return {"outcome": "cancelled", "result": {"success": True, "data": data}}


@pytest.fixture
def events(monkeypatch):
    events = OutcomeEvents("default", "clopos-cancel")
    events.sent = []

    class Client:
        def put_events(self, Entries):  # noqa: N803 - boto3's name
            events.sent = [json.loads(entry["Detail"]) for entry in Entries]
            assert sum(len(json.dumps(entry)) for entry in Entries) <= MAX_REQUEST_BYTES
            return {"Entries": [{"EventId": "1"}] * len(Entries)}

    monkeypatch.setattr(events, "_events", Client())
    return events


def test_an_envelope_that_is_too_big_loses_clopos_s_message_first(events):
    long = {**UPSTREAM, "message": "x" * MAX_REQUEST_BYTES}
    assert events.publish([refused(long)], Deadline.after(5)) == [True]
    assert events.sent[0]["result"]["upstream"] == {**UPSTREAM, "message": None}


def test_ten_orders_with_much_free_form_data_fit_into_one_call(events):
    batch = [cancelled({"note": "x" * MAX_REQUEST_BYTES}), *[cancelled({"note": "short"})] * 9]
    assert events.publish(batch, Deadline.after(5)) == [True] * 10
    assert [detail["result"]["data"]["integration_response"] for detail in events.sent] == [
        None,
        *[{"note": "short"}] * 9,
    ]
