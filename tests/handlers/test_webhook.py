"""`POST /webhooks/cancellations`: signatures, the messages on the queue, and the responses."""

import base64
import json

import pytest

from tests.handlers.conftest import WEBHOOK_SECRET
from tools.signing import webhook_headers

BODY = '{"order_id": 108}'
OTHER_SECRET = "whsec_" + base64.b64encode(b"another-fake-secret-of-32-bytes!").decode()
# Nobody is authenticated by any of these; tests/unit/test_secrets.py has more of them.
UNUSABLE = [" ", "whsec_QQ==", f"v1,{OTHER_SECRET}"]


def sign(secret=WEBHOOK_SECRET, body=BODY, webhook_id="msg_1", prefix="webhook-"):
    """Return the headers of a signed webhook."""
    signed = webhook_headers(secret, body, webhook_id=webhook_id)
    return {prefix + name.removeprefix("webhook-"): value for name, value in signed.items()}


# -- accepted


def test_a_signed_webhook_is_on_the_queue_when_it_is_answered(
    call_webhook, on_queue, clopos, output, aws_calls
):
    answer = call_webhook({"type": "order.cancelled", "data": {"order_id": 108}}, webhook_id="msg_27")
    [message] = on_queue.take_all()
    data = {"message_id": message["MessageId"]}
    assert (answer.status, answer.body) == (202, {"success": True, "data": data, "request_id": "request-1"})
    [line] = output.logs("webhook accepted")
    assert (line["order_id"], line["webhook_id"], line["message_id"]) == ("108", "msg_27", data["message_id"])
    sent = message["MessageAttributes"]["CorrelationId"]["StringValue"]
    assert sent == line["correlation_id"] == line["gateway_request_id"]
    assert line["function_request_id"] == "request-1"
    assert line["source_ip"]
    assert output.metrics() == {"WebhooksAccepted": [1]}
    assert clopos.calls(method=None) == []
    read_or_queued = {"GetSecretValue", "SendMessage", "ReceiveMessage", "DeleteMessage"}
    assert {operation for operation, _ in aws_calls} <= read_or_queued


def test_the_order_and_the_ids_go_on_the_queue_and_nothing_else_of_the_body(call_webhook, on_queue):
    order = {"order_id": "ORD-1", "venue_id": 31, "correlation_id": "request-0", "type": "CALL_CENTER_ORDER"}
    body = {"type": "order.canceled", "data": order | {"customer": {"name": "A. Person"}}, "note": "\uffff"}
    assert call_webhook(body, webhook_id="msg\x7f").status == 202
    [message] = on_queue.take_all()
    assert json.loads(message["Body"]) == {"order_id": "ORD-1", "venue_id": 31}
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"WebhookId": "msg ", "CorrelationId": "request-0"}


@pytest.mark.parametrize("prefix", ["svix-", "Webhook-"])
def test_the_headers_are_taken_under_either_name(call_webhook, prefix):
    none = dict.fromkeys(["webhook-id", "webhook-timestamp", "webhook-signature"])
    assert call_webhook(headers=none | sign(prefix=prefix)).status == 202


def test_a_repeated_signature_header_is_joined(call_webhook):
    good, bad = sign(WEBHOOK_SECRET), sign(OTHER_SECRET)["webhook-signature"]
    for values in ([good["webhook-signature"], bad], [bad, good["webhook-signature"]]):
        assert call_webhook(headers={**good, "webhook-signature": values}).status == 202


def test_a_body_in_base64_is_decoded(call_webhook, on_queue):
    encoded = base64.b64encode(BODY.encode()).decode()
    assert call_webhook(encoded, signed_body=BODY, isBase64Encoded=True).status == 202


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json; charset=utf-8", 202), ("application/cloudevents+json", 202), ("text/plain", 400)],
)
def test_the_body_is_json_by_its_type_too(call_webhook, content_type, status):
    assert call_webhook(headers={"Content-Type": content_type}).status == status


# -- ignored


@pytest.mark.parametrize(
    "body",
    [
        {"type": "order.created", "data": {"type": "order.cancelled", "order_id": 132}},
        {"detail": {"type": "order.created", "order_id": 132}},
        json.dumps(json.dumps({"type": "order.created", "order_id": 132})),
    ],
)
def test_a_webhook_of_another_type_is_ignored_visibly_in_any_shape(call_webhook, on_queue, output, body):
    answer = call_webhook(body)
    data = {"message_id": None, "ignored": "order.created"}
    assert (answer.status, answer.body) == (200, {"success": True, "data": data, "request_id": "request-1"})
    assert on_queue.counts() == (0, 0)
    [line] = output.logs("webhook ignored")
    assert line["type"] == "order.created"
    assert output.metrics() == {"WebhooksIgnored": [1]}
    assert call_webhook(body, secret=OTHER_SECRET).status == 401  # it has to be signed as well


def test_the_types_are_those_that_the_stack_was_given(call_webhook, environment):
    environment("CANCELLATION_TYPES", "order.created, order.gone")
    types = ["order.created", "order.gone", "order.cancelled"]
    bodies = [{"type": type_, "data": {"order_id": 132}} for type_ in types]
    assert [call_webhook(body).status for body in bodies] == [202, 202, 200]


# -- refused

MISSING = "the header webhook-id is missing"
NO_TIME = "webhook-timestamp: must be Unix seconds"
OLD = "the timestamp is more than five minutes off; check the clock"
FORGED = "the webhook cannot be authenticated"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"headers": {"webhook-id": None}}, MISSING),
        ({"headers": {"webhook-timestamp": "9" * 5000}}, NO_TIME),
        ({"age_s": 301}, OLD),
        ({"headers": {"webhook-id": "msg_of_another_webhook"}}, FORGED),
        ({"headers": {"webhook-id": "\ud800"}}, FORGED),
        ({"secret": OTHER_SECRET}, FORGED),
        ({"signed_body": BODY + " "}, FORGED),
        ({"body": "not JSON", "secret": OTHER_SECRET}, FORGED),
    ],
)
def test_the_sender_is_told_what_is_missing_malformed_or_old_and_nothing_of_the_signature(
    call_webhook, on_queue, output, how, message
):
    answer = call_webhook(**how)
    expected = {"success": False, "error": "unauthenticated", "message": message, "retryable": False}
    assert (answer.status, answer.body) == (401, expected | {"request_id": "request-1", "upstream": None})
    assert on_queue.counts() == (0, 0)
    assert [line["error"] for line in output.logs("webhook refused")] == ["unauthenticated"]
    assert output.metrics() == {"WebhooksRefused": [1]}


@pytest.mark.parametrize(
    ("body", "hint"), [("", "not JSON"), ({"data": {"order_id": "../1"}}, "order_id: must be")]
)
def test_a_bad_body_with_a_good_signature_is_told_what_to_change(call_webhook, on_queue, body, hint):
    answer = call_webhook(body)
    assert answer.told == (400, "invalid_request", False)
    assert hint in answer.body["message"]
    assert on_queue.counts() == (0, 0)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_body_is_at_most_64_kib_and_a_longer_one_is_not_looked_at(call_webhook, aws_calls, letter):
    def body(size):
        note = letter * ((size - len(BODY)) // len(letter.encode()) + 1)
        return json.dumps({"order_id": 108, "note": note}, ensure_ascii=False)

    answer = call_webhook(body(65536))
    assert answer.told == (400, "invalid_request", False)
    assert "65536 bytes" in answer.body["message"]
    assert aws_calls == []
    assert call_webhook(body(65536 - 40)).status == 202


# -- secrets


@pytest.fixture
def store(secretsmanager, webhook_secret_arn):
    return lambda value: secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=value)


def test_both_secrets_are_good_while_the_secret_rotates(call_webhook, store, output):
    output.secrets.add(OTHER_SECRET.removeprefix("whsec_"))
    assert call_webhook().status == 202
    store(OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202  # without waiting for the cache
    assert call_webhook(secret=WEBHOOK_SECRET).status == 202
    assert [line["secret"] for line in output.logs("webhook accepted")] == ["current", "current", "previous"]


def test_a_secret_that_was_ended_is_refused_within_five_minutes_of_the_wall_clock(call_webhook, store, later):
    assert call_webhook().status == 202
    for _ in range(2):  # after two rotations it is not the previous one either
        store(OTHER_SECRET)
    assert call_webhook().status == 202  # it is cached
    later(300)
    assert call_webhook(secret=WEBHOOK_SECRET).status == 401


@pytest.mark.parametrize("unusable", UNUSABLE)
def test_an_unusable_secret_authenticates_nobody_and_is_named(call_webhook, store, output, unusable):
    store(unusable)
    assert call_webhook(secret=OTHER_SECRET).told == (503, "service_unavailable", True)
    assert [line for line in output.lines() if "not base64 of at least 16 bytes" in line.get("message", "")]
    assert call_webhook(secret=WEBHOOK_SECRET).status == 202  # the previous one, until it is ended


def test_an_unusable_previous_secret_does_not_matter(call_webhook, store):
    store(UNUSABLE[1])
    store(OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202
    assert call_webhook(secret=WEBHOOK_SECRET).status == 401


def test_forged_webhooks_do_not_cause_a_read_of_the_secret_each(call_webhook, aws_calls):
    for _ in range(20):
        assert call_webhook(secret=OTHER_SECRET).status == 401
    assert [operation for operation, _ in aws_calls].count("GetSecretValue") <= 4
