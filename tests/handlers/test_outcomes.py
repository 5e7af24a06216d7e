"""Outcome events: for which orders and when they are published, and what happens if the bus fails."""

import json
import uuid

import jsonschema
import pytest

from local.emulator.clients import Queue
from tests.conftest import eventually
from tests.handlers.conftest import EVENTS
from tools.openapi import describe

OUTCOME = {"$ref": "#/components/schemas/Outcome", "components": describe()["components"]}
NOWHERE = "http://127.0.0.1:9"


class Subscriber:
    """A consumer of outcomes: a rule on the default bus with a queue as its target."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def events(self, count: int) -> list[dict]:
        """Return the events so far, once there are as many; each has the documented form."""
        found: list[dict] = []

        def look() -> bool:
            found.extend(json.loads(message["Body"]) for message in self._queue.take_all())
            return len(found) >= count

        eventually(look)
        for event in found:
            assert event["source"] == "clopos-cancel"
            jsonschema.validate(event["detail"], OUTCOME)
        return found


@pytest.fixture
def outcomes(stack, sqs, environment):
    environment("EVENT_BUS_NAME", "default")
    queue, events, rule = Queue.create(sqs), stack.client("events"), f"outcomes-{uuid.uuid4()}"
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["clopos-cancel"]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.attribute("QueueArn")}])
    yield Subscriber(queue)
    events.remove_targets(Rule=rule, Ids=["queue"])
    events.delete_rule(Name=rule)


def put_events(aws_calls):
    return [parameters["Entries"] for operation, parameters in aws_calls if operation == "PutEvents"]


def test_an_api_call_publishes_what_its_caller_gets(call_api, outcomes):
    answer = call_api(108, headers={"x-venue": "1"})
    [event] = outcomes.events(1)
    assert event["detail-type"] == "Order Cancelled"
    assert event["detail"] == {
        "order_id": "108",
        "venue_id": 1,
        "source": "api",
        "outcome": "cancelled",
        "result": answer.body,
        "message_id": None,
        "webhook_id": None,
        "correlation_id": None,
        "stack": "clopos-cancel",
    }


def test_an_order_that_was_not_cancelled_is_published_with_its_status_and_receipt(clopos, call_api, outcomes):
    clopos.add_order(109, status="RECEIVED", receipt_id=10950)
    assert call_api(109).status == 409
    [event] = outcomes.events(1)
    assert event["detail-type"] == "Order Not Cancelled"
    assert event["detail"]["outcome"] == "rejected"
    assert event["detail"]["result"]["order"] == {"status": "RECEIVED", "receipt_id": 10950}


def test_a_caller_who_has_to_try_again_publishes_nothing(clopos, call_api, outcomes, aws_calls):
    clopos.fail_all("wrong_credentials")
    assert call_api(108).status == 502
    assert put_events(aws_calls) == []


def test_a_batch_publishes_the_orders_that_it_settled_with_one_call(clopos, run_batch, outcomes, aws_calls):
    clopos.add_order(109)
    clopos.fail(109, "unavailable")
    ids = {
        "WebhookId": {"DataType": "String", "StringValue": "msg_1"},
        "CorrelationId": {"DataType": "String", "StringValue": "request-0"},
    }
    batch = run_batch(
        {"order_id": 108}, {"order_id": 109}, {"order_id": 404}, "no JSON", MessageAttributes=ids
    )
    assert batch.fates == ["done", "queued", "dead", "dead"]
    [entries] = put_events(aws_calls)
    assert len(entries) == 3
    details = {event["detail"]["message_id"]: event["detail"] for event in outcomes.events(3)}
    assert {batch.ids.index(message_id): detail["outcome"] for message_id, detail in details.items()} == {
        0: "cancelled",
        2: "rejected",
        3: "rejected",
    }
    assert details[batch.ids[3]]["order_id"] is None
    assert {(detail["webhook_id"], detail["correlation_id"]) for detail in details.values()} == {
        ("msg_1", "request-0")
    }


def test_a_message_stays_on_the_queue_until_its_event_was_taken(
    stack, clopos, run_batch, outcomes, output, environment, function
):
    environment("AWS_ENDPOINT_URL_EVENTBRIDGE", NOWHERE)
    batch = run_batch({"order_id": 108}, {"order_id": 404})
    assert batch.fates == [
        "queued",
        "queued",
    ]  # and nothing in the dead-letter queue, so that it is there once
    assert clopos.order(108)["status"] == "IGNORE"
    assert [line["outcome"] for line in output.orders()] == ["cancelled", "deferred"]
    assert output.metrics()["OutcomesUnpublished"] == [2]

    environment("AWS_ENDPOINT_URL_EVENTBRIDGE", stack.endpoint)
    function("queue_worker", again=True)
    assert run_batch({"order_id": 108}, {"order_id": 404}).fates == ["done", "dead"]
    assert {event["detail"]["order_id"] for event in outcomes.events(2)} == {"108", "404"}
    assert len(clopos.calls(108)) == 2


def test_only_the_messages_whose_events_were_refused_stay(clopos, run_batch, outcomes, function, monkeypatch):
    clopos.add_order(109)
    events = function("queue_worker").events
    publish = events.publish

    def second_is_refused(details, deadline):
        client = type("Client", (), {})()
        client.put_events = lambda Entries: {  # noqa: N803 - boto3's name
            "FailedEntryCount": 1,
            "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "no"}],
        }
        monkeypatch.setattr(events, "_events", client)
        return publish(details, deadline)

    monkeypatch.setattr(events, "publish", second_is_refused)
    assert run_batch({"order_id": 108}, {"order_id": 109}).fates == ["done", "queued"]


def test_a_caller_is_answered_though_the_event_cannot_be_published(
    clopos, call_api, outcomes, output, environment
):
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
