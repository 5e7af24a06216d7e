"""The queue's handler: what becomes of each message of a batch, and how a message is read."""

import json
import threading

import pytest

from local.simulator import Fault

ORDER_ID = "order id: a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"
VENUE_ID = "venue id: a positive integer"
MESSAGE = 'a message must be a JSON object such as {"order_id": 108, "venue_id": 1}'


def test_a_message_cancels_its_order_and_is_done(clopos, run_batch, output):
    batch = run_batch({"order_id": 108, "venue_id": 1})
    assert batch.fates == ["done"]
    assert clopos.order(108)["status"] == "IGNORE"
    [call] = clopos.calls()
    assert (call.headers["x-venue"], json.loads(call.body)) == ("1", {"status": "IGNORE"})
    [line] = output.orders()
    assert (line["message"], line["outcome"], line["level"]) == ("order cancelled", "cancelled", "INFO")
    assert (line["source"], line["order_id"], line["venue_id"]) == ("queue", "108", 1)
    assert line["message_id"] == batch.ids[0]
    assert line["attempts"] == 1
    assert line["result"]["success"] is True
    assert line["result"]["data"]["status"] == "IGNORE"
    metrics = output.metrics()
    assert metrics["OrdersCancelled"] == [1]
    assert len(metrics["CloposLatency"]) == 1


def test_a_bad_message_never_makes_a_good_one_run_again(clopos, run_batch, output):
    clopos.add_orders(range(1, 9))
    clopos.fail(3, "unavailable", repeat=None)
    clopos.fail(5, "status_not_allowed")
    batch = run_batch(
        {"order_id": 1}, "not JSON", {"order_id": 3}, {"order_id": 4}, {"order_id": 5}, {"order_id": 404}
    )
    assert batch.fates == ["done", "dead", "queued", "done", "dead", "dead"]
    assert {place: len(clopos.calls(place)) for place in (1, 3, 4, 5, 404)} == dict.fromkeys(
        (1, 3, 4, 5, 404), 1
    )
    assert [line["outcome"] for line in output.orders()] == [
        "cancelled",
        "rejected",
        "deferred",
        "cancelled",
        "rejected",
        "rejected",
    ]
    assert [line["message_id"] for line in output.orders()] == batch.ids
    metrics = output.metrics()
    assert metrics["OrdersCancelled"] == [1, 1]
    assert metrics["OrdersRejected"] == [1, 1, 1]
    assert metrics["OrdersDeferred"] == [1]


def test_a_batch_in_which_nothing_works_goes_back_whole(clopos, run_batch):
    clopos.fail_all("unavailable")
    assert run_batch(*({"order_id": n} for n in range(1, 11))).fates == ["queued"] * 10


def test_messages_of_one_batch_are_cancelled_side_by_side(clopos, run_batch, function):
    """Five calls at a time: each of them is answered only when all five are there."""
    clopos.add_orders(range(1, 6))
    client, everybody = function("queue_worker").clopos, threading.Barrier(5, timeout=10)
    cancel = client.cancel
    client.cancel = lambda *arguments: everybody.wait() < 5 and cancel(*arguments)
    assert run_batch(*({"order_id": n} for n in range(1, 6))).fates == ["done"] * 5


def test_the_same_order_twice_in_a_batch_does_no_harm(run_batch):
    assert run_batch({"order_id": 108}, {"order_id": 108}).fates == ["done"] * 2


def test_a_message_that_comes_again_is_done_again(run_batch):
    assert [run_batch({"order_id": 108}).fates for _ in range(2)] == [["done"]] * 2


def test_a_bug_of_ours_loses_no_message(clopos, run_batch, function, monkeypatch, output):
    monkeypatch.setattr(function("queue_worker").clopos, "cancel", lambda *_: {}["nothing"])
    batch = run_batch({"order_id": 108}, "not JSON")
    assert batch.fates == ["queued", "dead"]
    assert output.orders()[0]["result"]["error"] == "internal_error"


# -- how a message is read


@pytest.mark.parametrize(
    ("message", "order_id", "venue"),
    [
        ({"order_id": 108}, "108", None),
        ({"order_id": "108"}, "108", None),
        ({"order_id": "a-b_C9"}, "a-b_C9", None),
        ({"order_id": "x" * 64}, "x" * 64, None),
        ({"order_id": 10**63}, str(10**63), None),
        ({"order_id": 108, "venue_id": 31}, "108", "31"),
        ({"order_id": 108, "venue_id": None}, "108", None),
        ({"order_id": 108, "reason": "late", "status": "RECEIVED", "data": {"order_id": 7}}, "108", None),
    ],
)
def test_a_message_names_its_order(clopos, run_batch, message, order_id, venue):
    clopos.add_order(order_id, venue_id=venue and int(venue))
    assert run_batch(message).fates == ["done"]
    [call] = clopos.calls()
    assert (call.order_id, call.headers.get("x-venue")) == (order_id, venue)
    assert json.loads(call.body) == {"status": "IGNORE"}


MEANT = {"order_id": 108, "venue_id": 1}
SNS = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(MEANT)}
EVENTBRIDGE = {"version": "0", "id": "e", "detail-type": "Cancel", "source": "shop", "detail": MEANT}
WEBHOOK = {"type": "order.cancelled", "timestamp": "2026-01-08T14:00:00Z", "data": MEANT}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(SNS, id="SNS"),
        pytest.param(EVENTBRIDGE, id="EventBridge"),
        pytest.param(WEBHOOK, id="Standard Webhooks"),
        pytest.param(SNS | {"Message": json.dumps(EVENTBRIDGE)}, id="EventBridge in SNS"),
        pytest.param(SNS | {"Message": json.dumps(WEBHOOK)}, id="Standard Webhooks in SNS"),
        pytest.param(EVENTBRIDGE | {"detail": WEBHOOK}, id="Standard Webhooks in EventBridge"),
        pytest.param(EVENTBRIDGE | {"detail": json.dumps(MEANT)}, id="EventBridge with text as detail"),
    ],
)
def test_wrapped_messages_are_unwrapped(clopos, run_batch, message):
    assert run_batch(message).fates == ["done"]
    [call] = clopos.calls()
    assert (call.order_id, call.headers["x-venue"]) == ("108", "1")


def bad(case, message, body):
    return pytest.param(body, message, id=case)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        bad("no JSON", f"not JSON: {MESSAGE}", "108 please"),
        bad("half a JSON", f"not JSON: {MESSAGE}", '{"order_id": 10'),
        bad("deep JSON", f"not JSON: {MESSAGE}", "[" * 100_000),
        bad("a number of too many digits", f"not JSON: {MESSAGE}", '{"order_id": ' + "1" * 5000 + "}"),
        bad("a number", MESSAGE, "108"),
        bad("a list", MESSAGE, [{"order_id": 108}]),
        bad("null", MESSAGE, "null"),
        bad("no order_id", MESSAGE, {"id": 108}),
        bad("null for an id", ORDER_ID, {"order_id": None}),
        bad("a boolean", ORDER_ID, {"order_id": True}),
        bad("a float", ORDER_ID, {"order_id": 108.5}),
        bad("a whole float", ORDER_ID, {"order_id": 108.0}),
        bad("a power of ten", ORDER_ID, '{"order_id": 1e2}'),
        bad("not a number", ORDER_ID, '{"order_id": NaN}'),
        bad("a list of ids", ORDER_ID, {"order_id": [108]}),
        bad("an object for an id", ORDER_ID, {"order_id": {"order_id": 108}}),
        bad("zero", ORDER_ID, {"order_id": 0}),
        bad("a negative id", ORDER_ID, {"order_id": -108}),
        bad("an integer of 65 digits", ORDER_ID, {"order_id": 10**64}),
        bad("an empty id", ORDER_ID, {"order_id": ""}),
        bad("a path", ORDER_ID, {"order_id": "../1"}),
        bad("a query", ORDER_ID, {"order_id": "1?x=2"}),
        bad("a line break", ORDER_ID, {"order_id": "108\n"}),
        bad("65 characters", ORDER_ID, {"order_id": "x" * 65}),
        bad("a venue in quotes", VENUE_ID, {"order_id": 108, "venue_id": "1"}),
        bad("a venue of zero", VENUE_ID, {"order_id": 108, "venue_id": 0}),
        bad("a boolean for a venue", VENUE_ID, {"order_id": 108, "venue_id": True}),
        bad("a fraction of a venue", VENUE_ID, {"order_id": 108, "venue_id": 1.0}),
        bad("a wrapper with nothing in it", MESSAGE, {"detail": {}}),
        bad("a wrapper with text in it", f"not JSON: {MESSAGE}", {"Message": "cancel 108"}),
        bad("wrapped five times", MESSAGE, {"data": {"data": {"data": {"data": {"data": MEANT}}}}}),
    ],
)
def test_a_bad_message_goes_to_the_dead_letter_queue_with_what_to_change(
    clopos, run_batch, output, body, message
):
    batch = run_batch(body)
    assert batch.fates == ["dead"]
    [dead] = batch.dead
    assert dead["Body"] == (body if isinstance(body, str) else json.dumps(body))
    assert {
        name: (sent["DataType"], sent["StringValue"]) for name, sent in dead["MessageAttributes"].items()
    } == {
        "ErrorCode": ("String", "invalid_request"),
        "ErrorMessage": ("String", message),
        "OriginalMessageId": ("String", batch.ids[0]),
    }
    assert clopos.calls() == []
    [line] = output.orders()
    assert (line["outcome"], line["order_id"], line["venue_id"]) == ("rejected", None, None)
    assert (line["result"]["error"], line["result"]["message"]) == ("invalid_request", message)


# -- what ties a message to where it came from


def test_the_log_line_names_the_webhook_and_the_trace_that_a_message_came_by(run_batch, output):
    trace = "Root=1-69600000-0123456789abcdef01234567"
    run_batch(
        {"order_id": 108},
        MessageAttributes={
            "WebhookId": {"DataType": "String", "StringValue": "msg_1"},
            "CorrelationId": {"DataType": "String", "StringValue": "request-0"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    [line] = output.orders()
    assert (line["webhook_id"], line["correlation_id"], line["message_trace"]) == (
        "msg_1",
        "request-0",
        trace,
    )


# -- a batch that runs out of time


def test_a_batch_that_runs_out_of_time_hands_its_unfinished_messages_back(clopos, run_batch, output):
    clopos.add_orders(range(1, 10))
    clopos.fail_all(Fault(delay=30))
    batch = run_batch(*({"order_id": n} for n in range(1, 11)), remaining_s=14)
    assert batch.fates == ["queued"] * 10
    assert set(batch.hidden_s) == set(range(10))
    assert {line["result"]["error"] for line in output.orders()} == {"clopos_timeout"}
    assert max(line["duration_ms"] for line in output.orders()) < 10_000


def test_a_batch_without_time_calls_nobody(clopos, run_batch, output):
    batch = run_batch({"order_id": 108}, "not JSON", remaining_s=10.5)
    assert batch.fates == ["queued", "dead"]
    assert clopos.calls() == []
    assert output.orders()[0]["result"]["error"] == "clopos_timeout"


def test_what_was_done_before_the_time_ran_out_stays_done(clopos, run_batch):
    clopos.add_order(1)
    clopos.fail(1, Fault(delay=30), repeat=None)
    assert run_batch({"order_id": 108}, {"order_id": 1}, remaining_s=14).fates == ["done", "queued"]


def test_a_message_whose_turn_does_not_come_in_time_waits_on_the_queue_until_then(clopos, run_batch, output):
    clopos.add_orders(range(1, 4))
    clopos.fail(1, Fault(429, {"success": False}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "50"}))
    assert run_batch({"order_id": 1}, remaining_s=30).hidden_s == {0: 50}
    batch = run_batch({"order_id": 2}, {"order_id": 3}, remaining_s=30)
    assert batch.fates == ["queued"] * 2
    assert all(45 <= hidden_s <= 51 for hidden_s in batch.hidden_s.values())
    assert [line["result"]["error"] for line in output.orders()] == ["rate_limited"] * 3
    assert len(clopos.calls()) == 1
