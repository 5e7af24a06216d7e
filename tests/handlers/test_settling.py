"""Messages whose orders were not cancelled are received again later, or go to the dead-letter queue."""

import pytest
from cancellation.settling import MAX_DELAY_S

from local.simulator import Fault

# -- deferred messages


def test_a_message_that_goes_back_is_received_again_long_before_the_queues_own_timeout(
    clopos, run_batch, on_queue
):
    clopos.fail(108, "unavailable")
    batch = run_batch({"order_id": 108})
    assert batch.fates == ["queued"]
    assert batch.hidden_s[0] in (1, 2)
    assert on_queue.counts() == (0, 1)
    [message] = on_queue.receive(wait_s=10)
    assert message["MessageId"] == batch.ids[0]
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.parametrize(
    ("status", "asked", "hidden_s"),
    [
        (429, {"RateLimit-Reset": "41"}, 41),
        (429, {"RateLimit-Reset": "41", "Retry-After": "50"}, 50),
        (503, {"Retry-After": "120"}, 120),
        (429, {"Retry-After": "43200"}, MAX_DELAY_S),
    ],
)
def test_a_message_stays_hidden_for_as_long_as_clopos_asks(clopos, run_batch, status, asked, hidden_s):
    clopos.fail(108, Fault(status, {"success": False}, {"RateLimit-Reset": "7"} | asked))
    assert run_batch({"order_id": 108}).hidden_s == {0: hidden_s}


def test_a_message_whose_visibility_cannot_be_changed_stays_on_the_queue(
    clopos, environment, run_batch, on_queue, output
):
    environment("QUEUE_URL", on_queue.url + "-is-gone")
    clopos.fail(108, "unavailable")
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert len(output.logs("visibility not changed")) == 1


# -- dead-lettered messages


def text(value, data_type="String"):
    return {"DataType": data_type, "StringValue": value}


def dead_letter_attributes(batch):
    [dead] = batch.dead
    return dead["MessageAttributes"]


@pytest.mark.parametrize(
    "body",
    [
        '{ "order_id" :404,\t"note": "caf\\u00e9" }\n',
        '{"order_id": 404, "note": "отмена заказа 🍕"}',
        " \n no JSON & <at all> \n",
    ],
)
def test_the_body_is_unchanged_byte_for_byte(run_batch, body):
    [dead] = run_batch(body).dead
    assert dead["Body"].encode() == body.encode()


def test_the_reasons_say_what_clopos_said(run_batch):
    batch = run_batch({"order_id": 404})
    assert dead_letter_attributes(batch) == {
        "ErrorCode": text("order_not_found"),
        "ErrorMessage": text("Clopos knows no such order in this brand and venue: Order not found"),
        "OriginalMessageId": text(batch.ids[0]),
    }


def test_a_messages_own_attributes_are_kept(run_batch):
    own = {
        "Tenant": text("north"),
        "Priority": text("7", "Number"),
        "Kind": text("x", "String.custom"),
        "Seal": {"DataType": "Binary", "BinaryValue": b"\x00\xff\x80"},
        "Seal.png": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
    }
    batch = run_batch({"order_id": 404}, MessageAttributes=own)
    kept = dead_letter_attributes(batch)
    assert {name: kept[name] for name in own} == own
    assert kept["ErrorCode"] == text("order_not_found")


def test_ten_attributes_at_most_are_kept_and_ours_are_among_them(run_batch):
    own = {f"Own{n}": text(str(n)) for n in range(10)}
    batch = run_batch({"order_id": 404}, MessageAttributes=own)
    kept = dead_letter_attributes(batch)
    assert len(kept) == 10
    assert {"ErrorCode", "ErrorMessage", "OriginalMessageId"} < set(kept)
    assert own.items() >= {name: value for name, value in kept.items() if name in own}.items()


def test_new_reasons_replace_earlier_ones(run_batch):
    earlier = {"ErrorCode": text("rate_limited"), "OriginalMessageId": text("0"), "ErrorMessage": text("x")}
    batch = run_batch({"order_id": 404}, MessageAttributes=earlier)
    assert dead_letter_attributes(batch)["ErrorCode"] == text("order_not_found")
    assert dead_letter_attributes(batch)["OriginalMessageId"] == text(batch.ids[0])


def test_the_trace_header_is_kept(run_batch):
    trace = "Root=1-69600000-0123456789abcdef01234567"
    [dead] = run_batch({"order_id": 404}, MessageSystemAttributes={"AWSTraceHeader": text(trace)}).dead
    assert dead["Attributes"]["AWSTraceHeader"] == trace


@pytest.mark.parametrize("words", ["x" * 5000, "two\nlines\x00\x1b[31m\ud83d", "\ufffe\uffff", "日本" * 300])
def test_sqs_accepts_any_text_of_clopos(clopos, run_batch, words):
    clopos.fail(108, Fault(404, {"success": False, "error": "not_found", "message": words}))
    said = dead_letter_attributes(run_batch({"order_id": 108}))["ErrorMessage"]["StringValue"]
    assert said.isprintable()
    assert said.startswith("Clopos knows no such order in this brand and venue: ")
    assert len(said) < 1000


def test_a_message_that_cannot_be_moved_stays_on_its_queue(
    environment, run_batch, on_dead_letter_queue, output
):
    environment("DEAD_LETTER_QUEUE_URL", on_dead_letter_queue.url + "-is-gone")
    batch = run_batch({"order_id": 404}, {"order_id": 108}, "not JSON")
    assert batch.fates == ["queued", "done", "queued"]
    assert set(batch.hidden_s) == {0, 2}
    assert [line["outcome"] for line in output.orders()] == ["deferred", "cancelled", "deferred"]
    assert [line["result"]["error"] for line in output.orders() if line["outcome"] == "deferred"] == [
        "order_not_found",
        "invalid_request",
    ]
    assert len(output.logs("message not moved to the dead-letter queue")) == 2
    assert output.metrics()["OrdersDeferred"] == [1, 1]
    assert "OrdersRejected" not in output.metrics()


@pytest.mark.parametrize("attribute", ["x" * 200, "x" * 3000], ids=len)
def test_a_message_of_the_size_that_sqs_takes_is_moved_with_the_attributes_that_fit(run_batch, attribute):
    own = {"Own": text(attribute)}
    limit = 1024 * 1024 - len("Own" + "String" + attribute)
    body = '{"order_id": 404, "note": "%s"}'
    body %= "x" * (limit - len(body) + 2)
    batch = run_batch(body, MessageAttributes=own)
    assert batch.fates == ["dead"]
    [dead] = batch.dead
    assert dead["Body"] == body
    size = len(body) + sum(
        len(name + value["DataType"] + value["StringValue"])
        for name, value in dead["MessageAttributes"].items()
    )
    assert size <= 1024 * 1024
    assert dead["MessageAttributes"]["OriginalMessageId"]["StringValue"] == batch.ids[0]


def test_a_bug_in_a_report_neither_raises_nor_brings_a_dead_letter_back(
    run_batch, function, monkeypatch, output
):
    def fail(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(function("queue_worker"), "report_message", fail)
    assert run_batch({"order_id": 404}, {"order_id": 108}).fates == ["dead", "done"]
    assert [line["error"] for line in output.logs("outcome not reported")] == ["KeyError"] * 2
