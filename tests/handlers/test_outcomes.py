"""Outcome events: for which orders and when they are published, and what happens if the bus fails."""

import json
import uuid

import jsonschema
import pytest
from botocore.client import BaseClient

from local.emulator.clients import Queue
from local.simulator import Fault
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


def test_an_order_that_was_not_cancelled_is_published_with_its_status_and_receipt(clopos, call_api, outcomes):
    clopos.add_order(109, status="RECEIVED", receipt_id=10950)
    assert call_api(109).status == 409
    [event] = outcomes(1)
    assert event["detail-type"] == "Order Not Cancelled"
    assert event["detail"]["outcome"] == "rejected"
    assert event["detail"]["result"]["order"] == {"status": "RECEIVED", "receipt_id": 10950}


def test_a_batch_publishes_the_orders_that_it_settled_with_one_call(clopos, run_batch, outcomes, aws_calls):
    clopos.add_order(109)
    clopos.fail(109, "unavailable")
    orders = [{"order_id": 108}, {"order_id": 109}, {"order_id": 404}, "no JSON"]
    batch = run_batch(*orders, MessageAttributes=IDS)
    assert batch.fates == ["done", "queued", "dead", "dead"]
    [entries] = put_events(aws_calls)
    assert len(entries) == 3
    details = {event["detail"]["message_id"]: event["detail"] for event in outcomes(3)}
    outcome_of = {batch.ids.index(message_id): detail["outcome"] for message_id, detail in details.items()}
    assert outcome_of == {0: "cancelled", 2: "rejected", 3: "rejected"}
    assert details[batch.ids[3]]["order_id"] is None
    ids = {(detail["webhook_id"], detail["correlation_id"]) for detail in details.values()}
    assert ids == {("msg_1", "request-0")}


def test_what_is_not_settled_is_not_published(clopos, call_api, run_batch, outcomes, aws_calls):
    clopos.fail_all("wrong_credentials")
    assert call_api(108).status == 502
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 404}, age_s=0).fates == ["queued"]  # its order may come yet
    assert put_events(aws_calls) == []


def test_one_fat_order_does_not_keep_nine_others(clopos, run_batch, outcomes, aws_calls):
    """AWS refuses a call that is too large as a whole."""
    clopos.add_orders(range(1, 11))
    fat = {"customer_ref_id": "x" * 300_000, "integration_response": {"text": "é" * 50_000}}
    clopos.fail(1, Fault(data=fat))
    assert run_batch(*({"order_id": order_id} for order_id in range(1, 11))).fates == ["done"] * 10
    [entries] = put_events(aws_calls)
    assert sum(len(json.dumps(entry, ensure_ascii=False).encode()) for entry in entries) <= 256 * 1024
    published = {event["detail"]["order_id"]: event["detail"]["result"]["data"] for event in outcomes(10)}
    assert set(published) == {str(order_id) for order_id in range(1, 11)}
    assert "x" * 100 in published["1"]["customer_ref_id"]


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


def test_a_caller_is_answered_though_the_event_cannot_be_published(call_api, outcomes, output, environment):
    environment("AWS_ENDPOINT_URL_EVENTBRIDGE", NOWHERE)
    assert call_api(108).status == 200
    assert output.metrics()["OutcomesUnpublished"] == [1]
    [line] = output.logs("outcomes not published")
    assert line["level"] == "ERROR"


def test_without_a_bus_eventbridge_is_not_called(call_api, run_batch, aws_calls):
    call_api(108)
    run_batch({"order_id": 108})
    assert put_events(aws_calls) == []


def test_the_sample_is_an_outcome():
    sample = json.loads((EVENTS / "outcome.json").read_text())
    jsonschema.validate(sample["detail"], OUTCOME)
    assert sample["detail-type"] == "Order Not Cancelled"
