"""Outcome events: for which orders and when they are published, and what happens if the bus fails."""

import json
import uuid

import jsonschema
import pytest
from botocore.client import BaseClient

from local.emulator.clients import Queue
from tests.conftest import eventually
from tests.handlers.conftest import EVENTS
from tools.openapi import describe

OUTCOME = {"$ref": "#/components/schemas/Outcome", "components": describe()["components"]}
NOWHERE = "http://127.0.0.1:9"
IDS = {
    "WebhookId": {"DataType": "String", "StringValue": "msg_1"},
    "CorrelationId": {"DataType": "String", "StringValue": "request-0"},
}


@pytest.fixture
def outcomes(stack, sqs, environment):
    """Return the events on the default bus so far, once there are as many; each has the documented form."""
    environment("EVENT_BUS_NAME", "default")
    queue, events, rule = Queue.create(sqs), stack.client("events"), f"outcomes-{uuid.uuid4()}"
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["clopos-cancel"]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.attribute("QueueArn")}])
    found = []

    def read(count):
        eventually(lambda: found.extend(queue.take_all()) or len(found) >= count)
        published = [json.loads(message["Body"]) for message in found]
        for event in published:
            assert event["source"] == "clopos-cancel"
            jsonschema.validate(event["detail"], OUTCOME)
        return published

    yield read
    events.remove_targets(Rule=rule, Ids=["queue"])
    events.delete_rule(Name=rule)


def put_events(aws_calls):
    return [parameters["Entries"] for operation, parameters in aws_calls if operation == "PutEvents"]


def test_an_api_call_publishes_what_its_caller_gets(call_api, outcomes):
    answer = call_api(108, headers={"x-venue": "1", "x-correlation-id": "request-0"})
    [event] = outcomes(1)
    assert event["detail-type"] == "Order Cancelled"
    assert event["detail"] == {
        "order_id": "108",
        "venue_id": 1,
        "source": "api",
        "outcome": "cancelled",
        "result": answer.body,
        "message_id": None,
        "webhook_id": None,
        "correlation_id": "request-0",
        "stack": "clopos-cancel",
    }


def test_a_batch_publishes_the_orders_that_it_settled_with_one_call(clopos, run_batch, outcomes, aws_calls):
    clopos.add_order(109)
    clopos.fail(109, "unavailable")
    clopos.add_order(110, status="RECEIVED", receipt_id=10950)
    orders = [{"order_id": 108}, {"order_id": 109}, {"order_id": 110}, "no JSON"]
    batch = run_batch(*orders, MessageAttributes=IDS)
    assert batch.fates == ["done", "queued", "dead", "dead"]
    [entries] = put_events(aws_calls)
    assert len(entries) == 3
    events = {event["detail"].pop("message_id"): event for event in outcomes(3)}
    cancelled, rejected, unread = (events[batch.ids[place]] for place in (0, 2, 3))
    assert (cancelled["detail-type"], cancelled["detail"]["outcome"]) == ("Order Cancelled", "cancelled")
    assert (rejected["detail-type"], rejected["detail"]["outcome"]) == ("Order Not Cancelled", "rejected")
    assert rejected["detail"]["result"]["order"] == {"status": "RECEIVED", "receipt_id": 10950}
    assert (unread["detail"]["outcome"], unread["detail"]["order_id"]) == ("rejected", None)
    ids = {(event["detail"]["webhook_id"], event["detail"]["correlation_id"]) for event in events.values()}
    assert ids == {("msg_1", "request-0")}


def test_what_is_not_settled_is_not_published(clopos, call_api, run_batch, outcomes, aws_calls):
    clopos.fail_all("wrong_credentials")
    assert call_api(108).status == 502
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 404}, age_s=0).fates == ["queued"]  # its order may come yet
    assert put_events(aws_calls) == []


def test_a_message_stays_on_the_queue_until_its_event_was_taken(
    stack, clopos, run_batch, outcomes, output, environment, function
):
    environment("AWS_ENDPOINT_URL_EVENTBRIDGE", NOWHERE)
    batch = run_batch({"order_id": 108}, {"order_id": 404})
    assert batch.fates == ["queued"] * 2  # and nothing in the dead-letter queue, so that it is there once
    assert clopos.order(108)["status"] == "IGNORE"
    assert [line["outcome"] for line in output.orders()] == ["cancelled", "deferred"]
    assert output.metrics()["OutcomesUnpublished"] == [2]

    environment("AWS_ENDPOINT_URL_EVENTBRIDGE", stack.endpoint)
    function("queue_worker", again=True)
    assert run_batch({"order_id": 108}, {"order_id": 404}).fates == ["done", "dead"]
    assert {event["detail"]["order_id"] for event in outcomes(2)} == {"108", "404"}
    assert len(clopos.calls(108)) == 2


def test_only_the_messages_whose_events_were_refused_stay(clopos, run_batch, outcomes, monkeypatch):
    clopos.add_order(109)
    make = BaseClient._make_api_call

    def refuse_second(client, operation, parameters):
        if operation != "PutEvents":
            return make(client, operation, parameters)
        return {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}]}

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse_second)
    assert run_batch({"order_id": 108}, {"order_id": 109}).fates == ["done", "queued"]


def test_the_sample_is_an_outcome():
    sample = json.loads((EVENTS / "outcome.json").read_text())
    jsonschema.validate(sample["detail"], OUTCOME)
    assert sample["detail-type"] == "Order Not Cancelled"
