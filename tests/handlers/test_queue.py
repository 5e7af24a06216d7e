"""The queue's handler: the outcome of each message of a batch."""

import json
import threading

import pytest

from local.simulator import Fault

ORDER_ID = "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"
VENUE_ID = "venue_id: must be a positive integer"
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
    assert run_batch(*({"order_id": n} for n in range(1, 11)), remaining_s=13.5).fates == ["queued"] * 10


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


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("108 please", f"not JSON: {MESSAGE}"),
        ({"id": 108}, f"order_id is missing: {MESSAGE}"),
        ({"order_id": "../1"}, ORDER_ID),
        ({"order_id": 108, "venue_id": 0}, VENUE_ID),
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


# -- the ids that link a message to its webhook and trace


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
    batch = run_batch(*({"order_id": n} for n in range(1, 11)), remaining_s=16)
    assert batch.fates == ["queued"] * 10
    assert set(batch.hidden_s) == set(range(10))
    # Those that were not called for stay on the queue.
    assert {line["result"]["error"] for line in output.orders()} <= {"clopos_timeout", "rate_limited"}
    assert max(line["duration_ms"] for line in output.orders()) < 10_000


def test_a_batch_without_time_makes_no_call(clopos, run_batch, output):
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
