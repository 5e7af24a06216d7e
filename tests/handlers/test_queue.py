"""The queue's handler: what becomes of each message of a batch, and when it comes again."""

import json
import threading

import pytest

from local.simulator import Fault
from tests.handlers.conftest import EVENTS

MESSAGE = 'a message must be a JSON object such as {"order_id": 108, "venue_id": 1}'
OWN_EVENT = "an outcome event of this project is not a cancellation request"
OTHER_TYPE = "type: 'order.created' does not mean a cancellation (parameter CancellationTypes)"


def text(value, data_type="String"):
    return {"DataType": data_type, "StringValue": value}


def test_a_message_cancels_its_order_and_is_done(clopos, run_batch, output):
    batch = run_batch({"order_id": 108, "venue_id": 1})
    assert batch.fates == ["done"]
    assert clopos.order(108)["status"] == "IGNORE"
    [call] = clopos.calls()
    assert (call.headers["x-venue"], json.loads(call.body)) == ("1", {"status": "IGNORE"})
    [line] = output.orders()
    assert (line["message"], line["outcome"], line["level"]) == ("order cancelled", "cancelled", "INFO")
    assert (line["source"], line["order_id"], line["venue_id"]) == ("queue", "108", 1)
    assert (line["message_id"], line["request_id"], line["attempts"]) == (batch.ids[0], "request-1", 1)
    assert line["function_request_id"] == "request-1"
    assert line["result"]["data"]["status"] == "IGNORE"
    metrics = output.metrics()
    assert (metrics["OrdersCancelled"], len(metrics["CloposLatency"])) == ([1], 1)
    assert run_batch({"order_id": 108}).fates == ["done"]


@pytest.mark.parametrize("sample", sorted(EVENTS.glob("queue*.json")), ids=lambda path: path.stem)
def test_a_sample_event_cancels_its_order(clopos, invoke, on_queue, on_dead_letter_queue, sample):
    records = json.loads(sample.read_text())["Records"][:1]
    assert invoke("queue_worker", {"Records": records}) == {"batchItemFailures": []}
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_bad_message_never_makes_a_good_one_run_again(clopos, run_batch, output):
    clopos.add_orders(range(1, 6))
    clopos.fail(3, "unavailable", repeat=None)
    clopos.add_order(5, status="RECEIVED")
    batch = run_batch({"order_id": 1}, "not JSON", *({"order_id": n} for n in (3, 4, 5, 404)))
    assert batch.fates == ["done", "dead", "queued", "done", "dead", "dead"]
    assert {len(clopos.calls(order_id)) for order_id in (1, 3, 4, 5, 404)} == {1}
    names = {"done": "cancelled", "dead": "rejected", "queued": "deferred"}
    assert [line["outcome"] for line in output.orders()] == [names[fate] for fate in batch.fates]
    assert [line["message_id"] for line in output.orders()] == batch.ids
    counted = {name: len(values) for name, values in output.metrics().items() if name.startswith("Orders")}
    expected = {"OrdersCancelled": 2, "OrdersRejected": 3, "OrdersDeferred": 1, "OrdersDeadLettered": 3}
    assert counted == expected


def test_messages_of_one_batch_are_cancelled_side_by_side(clopos, run_batch, function):
    """Five calls at a time: each of them is answered only when all five are there."""
    clopos.add_orders(range(1, 6))
    client, everybody = function("queue_worker").clopos, threading.Barrier(5, timeout=60)
    cancel = client.cancel
    client.cancel = lambda *arguments: everybody.wait() < 5 and cancel(*arguments)
    assert run_batch(*({"order_id": n} for n in range(1, 6))).fates == ["done"] * 5


def test_a_bug_of_ours_loses_no_message(run_batch, function, monkeypatch, output):
    monkeypatch.setattr(function("queue_worker").clopos, "cancel", lambda *_: {}["nothing"])
    assert run_batch({"order_id": 108}, "not JSON").fates == ["queued", "dead"]
    assert output.orders()[0]["result"]["error"] == "internal_error"


def test_a_bug_in_a_report_neither_raises_nor_brings_a_dead_letter_back(
    run_batch, function, monkeypatch, output
):
    monkeypatch.setattr(function("queue_worker"), "report_job", lambda *_: {}["a bug"])
    assert run_batch({"order_id": 404}, {"order_id": 108}).fates == ["dead", "done"]
    assert [line["error"] for line in output.logs("outcome not reported")] == ["KeyError"] * 2


def test_the_log_line_names_the_webhook_the_correlation_and_the_trace_that_a_message_came_by(
    run_batch, output
):
    trace = "Root=1-69600000-0123456789abcdef01234567"
    run_batch(
        {"order_id": 108},
        {"order_id": 108, "correlation_id": "of the body"},
        MessageAttributes={"WebhookId": text("msg_1"), "CorrelationId": text("of the attribute")},
        MessageSystemAttributes={"AWSTraceHeader": text(trace)},
    )
    found = [(line["webhook_id"], line["correlation_id"], line["message_trace"]) for line in output.orders()]
    assert found == [("msg_1", "of the attribute", trace), ("msg_1", "of the body", trace)]


# -- messages that no retry can help


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (" \n no JSON & <at all> 🍕 \n", f"not JSON: {MESSAGE}"),
        ({"Message": (EVENTS / "outcome.json").read_text()}, OWN_EVENT),
        ({"type": "order.created", "data": {"order_id": 108}}, OTHER_TYPE),
    ],
)
def test_a_bad_message_goes_to_the_dead_letter_queue_unchanged_with_what_to_change(
    clopos, run_batch, output, body, message
):
    batch = run_batch(body)
    assert batch.fates == ["dead"]
    [dead] = batch.dead
    assert dead["Body"] == (body if isinstance(body, str) else json.dumps(body))
    assert dead["MessageAttributes"] == {
        "ErrorCode": text("invalid_request"),
        "ErrorMessage": text(message),
        "OriginalMessageId": text(batch.ids[0]),
    }
    assert clopos.calls() == []
    [line] = output.orders()
    assert (line["outcome"], line["order_id"], line["venue_id"]) == ("rejected", None, None)
    assert (line["result"]["error"], line["result"]["message"]) == ("invalid_request", message)


def test_a_messages_own_attributes_and_trace_are_kept_but_not_earlier_reasons(run_batch):
    own = {
        "Priority": text("7", "Number"),
        "Kind": text("x", "String.custom"),
        "Seal": {"DataType": "Binary", "BinaryValue": b"\x00\xff\x80"},
        "Seal.png": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
    }
    earlier = {"ErrorCode": text("rate_limited"), "OriginalMessageId": text("0"), "ErrorMessage": text("x")}
    trace = {"AWSTraceHeader": text("Root=1-69600000-0123456789abcdef01234567")}
    batch = run_batch({"order_id": 404}, MessageAttributes=own | earlier, MessageSystemAttributes=trace)
    [dead] = batch.dead
    assert dead["MessageAttributes"] == own | {
        "ErrorCode": text("order_not_found"),
        "ErrorMessage": text("Clopos knows no such order in this brand and venue: Order not found"),
        "OriginalMessageId": text(batch.ids[0]),
    }
    assert dead["Attributes"]["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]


def test_a_message_that_cannot_be_moved_stays_on_its_queue(
    environment, run_batch, on_dead_letter_queue, output
):
    environment("DEAD_LETTER_QUEUE_URL", on_dead_letter_queue.url + "-is-gone")
    batch = run_batch({"order_id": 404}, {"order_id": 108}, "not JSON")
    assert (batch.fates, set(batch.hidden_s)) == (["queued", "done", "queued"], {0, 2})
    assert [line["outcome"] for line in output.orders()] == ["deferred", "cancelled", "deferred"]
    assert [output.orders()[n]["result"]["error"] for n in (0, 2)] == ["order_not_found", "invalid_request"]
    assert len(output.logs("message not moved to the dead-letter queue")) == 2
    metrics = output.metrics()
    assert metrics["OrdersDeferred"] == [1, 1]
    assert not {"OrdersRejected", "OrdersDeadLettered"} & metrics.keys()


# -- messages that come again


def test_a_message_whose_visibility_cannot_be_changed_stays_on_the_queue(
    clopos, environment, run_batch, on_queue, output
):
    environment("QUEUE_URL", on_queue.url + "-is-gone")
    clopos.fail(108, "unavailable")
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert len(output.logs("visibility not changed")) == 1


def test_a_batch_without_time_makes_no_call(clopos, run_batch, output):
    batch = run_batch({"order_id": 108}, "not JSON", remaining_s=10.5)
    assert batch.fates == ["queued", "dead"]
    assert clopos.calls() == []
    assert output.orders()[0]["result"]["error"] in ("clopos_timeout", "token_unavailable")


def test_the_first_probe_that_is_answered_ends_an_outage_for_the_whole_batch(
    clopos, run_batch, function, output
):
    clopos.add_orders(range(1, 4))
    clopos.fail_all("unavailable", repeat=3)
    assert run_batch(*({"order_id": n} for n in range(1, 4)), remaining_s=30).fates == ["done"] * 3
    assert [line["attempts"] for line in output.orders()] == [2, 2, 2]
    assert not function("queue_worker").outage.is_on


def test_a_message_whose_turn_does_not_come_in_time_waits_on_the_queue_until_then(clopos, run_batch, output):
    clopos.add_orders(range(1, 4))
    clopos.fail(1, Fault(429, {"success": False}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "50"}))
    assert run_batch({"order_id": 1}, remaining_s=30).hidden_s == {0: 50}
    batch = run_batch({"order_id": 2}, {"order_id": 3}, remaining_s=30)
    assert batch.fates == ["queued"] * 2
    assert all(hidden_s <= 51 for hidden_s in batch.hidden_s.values())
    assert [line["result"]["error"] for line in output.orders()] == ["rate_limited"] * 3
    assert len(clopos.calls()) == 1
