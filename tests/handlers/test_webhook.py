"""`POST /webhooks/cancellations`: signatures, the messages on the queue, and the responses."""

import base64
import json
import time
import uuid

import pytest

from local.signing import webhook_headers
from tests.handlers.conftest import WEBHOOK_SECRET

BODY = '{"order_id": 108}'
OTHER_SECRET = "whsec_" + base64.b64encode(b"another-fake-secret-of-32-bytes!").decode()
NO_SECRETS = [" ", "whsec_", "whsec_a", b"\x00\x01"]


def sign(secret=WEBHOOK_SECRET, body=BODY, webhook_id="msg_1", prefix="webhook-"):
    """Return the headers of a signed webhook."""
    signed = webhook_headers(secret, body, webhook_id=webhook_id)
    return {prefix + name.removeprefix("webhook-"): value for name, value in signed.items()}


# -- accepted


def test_a_signed_webhook_is_on_the_queue_when_it_is_answered(call_webhook, on_queue, clopos, output):
    answer = call_webhook({"type": "order.cancelled", "data": {"order_id": 108}}, webhook_id="msg_27")
    [message] = on_queue.take_all()
    assert answer.status == 202
    assert answer.body == {
        "success": True,
        "data": {"message_id": message["MessageId"]},
        "request_id": "request-1",
    }
    assert clopos.calls(method=None) == []
    [line] = output.logs("webhook accepted")
    assert (line["order_id"], line["webhook_id"]) == ("108", "msg_27")
    assert line["message_id"] == message["MessageId"]
    assert output.metrics() == {"WebhooksAccepted": [1]}


@pytest.mark.parametrize(
    ("order", "queued"),
    [
        ({"order_id": 108}, {"order_id": 108, "venue_id": None}),
        ({"order_id": "ORD-1", "venue_id": 31}, {"order_id": "ORD-1", "venue_id": 31}),
        (
            {"order_id": 108, "customer": {"name": "A. Person", "phone": "+994500000000"}, "note": "\uffff"},
            {"order_id": 108, "venue_id": None},
        ),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda order: order, lambda order: {"type": "order.canceled", "data": order}]
)
def test_the_order_and_the_ids_go_on_the_queue_and_nothing_else_of_the_body(
    call_webhook, on_queue, order, queued, wrap
):
    assert call_webhook(wrap(order)).status == 202
    [message] = on_queue.take_all()
    assert json.loads(message["Body"]) == queued
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == {
        "WebhookId": "msg_1",
        "CorrelationId": "d7b00bd7-8c72-11e6-9a41-93e8deadbeef",
    }


@pytest.mark.parametrize("raw", ["\uffff", "\ufffe", "\x7f", "😀"])
def test_characters_that_sqs_refuses_do_not_matter(call_webhook, on_queue, raw):
    assert call_webhook(f'{{"order_id": 108, "note": "{raw}"}}', webhook_id=f"msg{raw}").status == 202
    [message] = on_queue.take_all()
    assert message["MessageAttributes"]["WebhookId"]["StringValue"].startswith("msg")


@pytest.mark.parametrize("prefix", ["webhook-", "svix-", "Webhook-", "SVIX-"])
def test_the_headers_are_taken_under_either_name(call_webhook, on_queue, prefix):
    none = dict.fromkeys(["webhook-id", "webhook-timestamp", "webhook-signature"])
    assert call_webhook(headers=none | sign(prefix=prefix)).status == 202
    [message] = on_queue.take_all()
    assert message["MessageAttributes"]["WebhookId"]["StringValue"] == "msg_1"


@pytest.mark.parametrize(
    "signatures",
    [
        "{bad} {good}",
        "{good} {bad}",
        "v1a,AAAA v2,AAAA {good}",
        "v1,AAAA {good}",
        "v1,AAA {good}",
        "v1,not-base64! {good}",
        "v1, {good}",
        "v1 {good}",
        ", {good}",
        "  {bad}   {good}  ",
        "{bad}\t{good}",
        "éé {good}",
        "v1,,, {good} =",
    ],
)
def test_one_good_signature_among_others_and_junk_is_enough(call_webhook, signatures):
    headers = sign()
    bad = sign(OTHER_SECRET)["webhook-signature"]
    headers["webhook-signature"] = signatures.format(good=headers["webhook-signature"], bad=bad)
    assert call_webhook(headers=headers).status == 202


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json; charset=utf-8", 202), ("application/cloudevents+json", 202), ("text/plain", 400)],
)
def test_the_body_is_json_by_its_type_too(call_webhook, content_type, status):
    assert call_webhook(headers={"Content-Type": content_type}).status == status


def test_headers_count_in_whichever_form_the_event_has_them(call_webhook):
    assert call_webhook(multiValueHeaders=None).status == 202
    assert call_webhook(headers=sign(), multiValueHeaders={}).status == 202


def test_the_webhook_function_neither_reads_the_token_nor_calls_clopos(call_webhook, aws_calls, clopos):
    call_webhook()
    assert {operation for operation, _ in aws_calls} <= {"GetSecretValue", "SendMessage"}
    assert clopos.calls(method=None) == []


# -- ignored


@pytest.mark.parametrize("type_", ["order.created", "ORDER.CANCELLED", "", None])
def test_a_webhook_of_another_type_is_ignored_visibly(call_webhook, on_queue, output, type_):
    answer = call_webhook({"type": type_, "data": {"order_id": 132}})
    assert answer.status == 200
    assert answer.body == {
        "success": True,
        "data": {"message_id": None, "ignored": str(type_)},
        "request_id": "request-1",
    }
    assert on_queue.counts() == (0, 0)
    [line] = output.logs("webhook ignored")
    assert line["type"] == str(type_)
    assert output.metrics() == {"WebhooksIgnored": [1]}


@pytest.mark.parametrize(
    "body",
    [
        {"type": "order.created", "order_id": 132},
        {"type": "order.created", "detail": {"order_id": 132}},
        {"type": "order.created", "Message": '{"order_id": 132}'},
        {"type": "order.created", "data": [{"order_id": 132}], "order_id": 132},
        {"type": "order.created"},
    ],
)
def test_a_webhook_of_another_type_is_ignored_in_any_shape(call_webhook, on_queue, body):
    answer = call_webhook(body)
    assert (answer.status, answer.body["data"]) == (200, {"message_id": None, "ignored": "order.created"})
    assert on_queue.counts() == (0, 0)


def test_the_types_are_those_that_the_stack_was_given(call_webhook, environment):
    environment("CANCELLATION_TYPES", "order.created, order.gone")
    types = ["order.created", "order.gone", "order.cancelled"]
    bodies = [{"type": type_, "data": {"order_id": 132}} for type_ in types]
    assert [call_webhook(body).status for body in bodies] == [202, 202, 200]


def test_a_type_that_is_ignored_has_to_be_signed_as_well(call_webhook):
    assert call_webhook({"type": "order.created", "data": {}}, secret=OTHER_SECRET).status == 401


# -- refused

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
MISSING = "the header {} is missing".format
NO_TIME = "webhook-timestamp: must be Unix seconds"
NO_SIGNATURE = "webhook-signature: must have the form v1,<base64>"
OLD = "the timestamp is more than five minutes off; check the clock"
FORGED = "the webhook cannot be authenticated"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"headers": {ID: None, TIMESTAMP: None, SIGNATURE: None}}, MISSING(ID)),
        ({"headers": {SIGNATURE: None}}, MISSING(SIGNATURE)),
        ({"headers": {SIGNATURE: ""}}, MISSING(SIGNATURE)),
        ({"headers": {TIMESTAMP: None}}, MISSING(TIMESTAMP)),
        ({"headers": {SIGNATURE: "v1"}}, NO_SIGNATURE),
        ({"headers": {SIGNATURE: "v1,not base64!"}}, NO_SIGNATURE),
        ({"headers": {SIGNATURE: "v2,AAAA"}}, NO_SIGNATURE),
        ({"headers": {SIGNATURE: "v1,AAAA"}}, FORGED),
        ({"headers": {TIMESTAMP: "yesterday"}}, NO_TIME),
        ({"headers": {TIMESTAMP: "nan"}}, NO_TIME),
        ({"headers": {TIMESTAMP: "-1"}}, NO_TIME),
        ({"headers": {TIMESTAMP: "1e9"}}, NO_TIME),
        ({"headers": {TIMESTAMP: "9" * 5000}}, NO_TIME),
        ({"headers": {TIMESTAMP: "٣"}}, NO_TIME),
        ({"headers": {TIMESTAMP: "9999999999"}}, OLD),
        ({"headers": {TIMESTAMP: "999999999999"}}, FORGED),
        ({"headers": {ID: "msg_of_another_webhook"}}, FORGED),
        ({"headers": {ID: "\ud800"}}, FORGED),
        ({"secret": OTHER_SECRET}, FORGED),
        ({"signed_body": '{"order_id": 109}'}, FORGED),
        ({"signed_body": BODY + " "}, FORGED),
        ({"age_s": 301}, OLD),
        ({"age_s": -302}, OLD),
        ({"body": "not JSON", "secret": OTHER_SECRET}, FORGED),
    ],
)
def test_the_sender_is_told_what_is_missing_malformed_or_old_and_nothing_of_the_signature(
    call_webhook, on_queue, output, how, message
):
    answer = call_webhook(**how)
    assert answer.status == 401
    assert answer.body == {
        "success": False,
        "error": "unauthenticated",
        "message": message,
        "retryable": False,
        "request_id": "request-1",
        "upstream": None,
    }
    assert on_queue.counts() == (0, 0)
    assert [line["error"] for line in output.logs("webhook refused")] == ["unauthenticated"]
    assert output.metrics() == {"WebhooksRefused": [1]}


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("not JSON", "not JSON"),
        ("", "not JSON"),
        ("[1]", "JSON object"),
        ("{}", "order_id is missing"),
        ({"order_id": True}, "order_id: must be"),
        ({"data": {"order_id": "../1"}}, "order_id: must be"),
        ({"type": "order.cancelled", "data": {}}, "order_id is missing"),
        ({"order_id": 108, "venue_id": 0}, "venue_id: must be"),
    ],
)
def test_a_bad_body_with_a_good_signature_is_told_what_to_change(call_webhook, on_queue, body, hint):
    answer = call_webhook(body)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert hint in answer.body["message"]
    assert on_queue.counts() == (0, 0)


def test_a_body_of_64_kib_is_accepted(call_webhook):
    body = json.dumps({"order_id": 108, "note": ""})
    assert call_webhook(body.replace('""', f'"{"x" * (65536 - len(body))}"')).status == 202


@pytest.mark.parametrize("signed_with", [WEBHOOK_SECRET, OTHER_SECRET], ids=["signed", "forged"])
@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_body_that_is_too_long_is_refused_before_its_signature_is_looked_at(
    call_webhook, aws_calls, signed_with, letter
):
    body = json.dumps({"order_id": 108, "note": letter * (65537 // len(letter.encode()))}, ensure_ascii=False)
    answer = call_webhook(body, secret=signed_with)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "65536 bytes" in answer.body["message"]
    assert aws_calls == []


# -- secrets


def test_both_secrets_are_good_while_the_secret_rotates(
    call_webhook, secretsmanager, webhook_secret_arn, output
):
    output.secrets.add(OTHER_SECRET.removeprefix("whsec_"))
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202
    assert call_webhook(secret=WEBHOOK_SECRET).status == 202
    assert [line["secret"] for line in output.logs("webhook accepted")] == ["current", "previous"]


def test_a_secret_without_its_prefix_is_the_same(call_webhook, secretsmanager, webhook_secret_arn):
    bare = OTHER_SECRET.removeprefix("whsec_") + "\n"
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=bare)
    assert call_webhook(secret=OTHER_SECRET).status == 202


def test_a_secret_that_is_rotated_in_is_good_without_waiting_for_the_cache(
    call_webhook, secretsmanager, webhook_secret_arn
):
    assert call_webhook().status == 202
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202


def test_a_secret_that_was_ended_is_refused_within_five_minutes_of_the_wall_clock(
    call_webhook, secretsmanager, webhook_secret_arn, monkeypatch
):
    assert call_webhook().status == 202
    for _ in range(2):  # after two rotations it is not the previous one either
        secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 300)  # the monotonic clock stands still, as when frozen
    assert call_webhook(secret=WEBHOOK_SECRET).status == 401


@pytest.mark.parametrize("emptied", NO_SECRETS)
def test_an_empty_or_malformed_secret_authenticates_no_webhook(
    call_webhook, secretsmanager, webhook_secret_arn, emptied
):
    field = {"SecretBinary" if isinstance(emptied, bytes) else "SecretString": emptied}
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, **field)
    forged = call_webhook(secret=OTHER_SECRET)
    assert (forged.status, forged.body["error"]) == (503, "service_unavailable")
    assert call_webhook(secret=WEBHOOK_SECRET).status == 202  # the previous one, until it is ended


@pytest.mark.parametrize("emptied", NO_SECRETS)
def test_an_empty_previous_secret_does_not_matter(call_webhook, secretsmanager, webhook_secret_arn, emptied):
    field = {"SecretBinary" if isinstance(emptied, bytes) else "SecretString": emptied}
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, **field)
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202
    assert call_webhook(secret=WEBHOOK_SECRET).status == 401


def test_forged_webhooks_do_not_cause_a_read_of_the_secret_each(call_webhook, aws_calls):
    for _ in range(20):
        assert call_webhook(secret=OTHER_SECRET).status == 401
    assert [operation for operation, _ in aws_calls].count("GetSecretValue") <= 4


@pytest.mark.parametrize("variable", ["QUEUE_URL", "WEBHOOK_SECRET_ARN"])
def test_a_sender_is_asked_to_send_again_if_aws_fails(call_webhook, environment, on_queue, variable):
    gone = {"QUEUE_URL": on_queue.url + "-is-gone", "WEBHOOK_SECRET_ARN": str(uuid.uuid4())}
    environment(variable, gone[variable])
    answer = call_webhook()
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        503,
        "service_unavailable",
        True,
    )
    assert int(answer.headers["Retry-After"]) > 0
