import base64
import json
import uuid
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from tests.handlers.conftest import WEBHOOK_SECRET

OTHER_SECRET = "whsec_" + base64.b64encode(b"another-fake-secret-of-32-bytes!").decode()
REFUSED = {
    "success": False,
    "error": "unauthenticated",
    "message": "the signature is missing or wrong",
    "retryable": False,
    "upstream": None,
}


def test_a_signed_webhook_is_on_the_queue_unchanged_when_it_is_answered(call_webhook, on_queue, clopos):
    body = '{ "type": "order.cancelled", "data": {"order_id": 108} }'
    answer = call_webhook(body, webhook_id="msg_27")
    [message] = on_queue.take_all()
    assert answer.status == 202
    assert answer.body["data"] == {"message_id": message["MessageId"]}
    assert message["Body"] == body
    assert message["MessageAttributes"]["WebhookId"]["StringValue"] == "msg_27"
    assert message["MessageAttributes"]["CorrelationId"]["StringValue"]
    assert clopos.calls() == []


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"webhook-id": None, "webhook-timestamp": None, "webhook-signature": None}},
        {"headers": {"webhook-signature": None}},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-signature": "v1"}},
        {"headers": {"webhook-signature": "v1,not base64!"}},
        {"headers": {"webhook-signature": "v2,AAAA"}},
        {"headers": {"webhook-timestamp": "yesterday"}},
        {"headers": {"webhook-timestamp": "nan"}},
        {"headers": {"webhook-id": "msg_of_another_webhook"}},
        {"secret": OTHER_SECRET},
        {"signed_body": '{"order_id": 109}'},
        {"signed_body": '{"order_id": 108} '},
        {"age_s": 301},
        {"age_s": -301},
        {"body": "not JSON", "secret": OTHER_SECRET},
    ],
)
def test_whatever_is_wrong_with_a_signature_the_caller_learns_no_more_than_that(
    call_webhook, on_queue, output, how
):
    answer = call_webhook(**how)
    assert answer.status == 401
    assert {key: value for key, value in answer.body.items() if key != "request_id"} == REFUSED
    assert on_queue.counts() == (0, 0)
    [line] = output.logs("webhook refused")
    assert line["cause"] != REFUSED["message"]


def test_one_good_signature_among_several_is_enough(call_webhook):
    now = datetime.now(UTC)
    good, bad = (
        Webhook(secret).sign("msg_1", now, '{"order_id": 108}') for secret in (WEBHOOK_SECRET, OTHER_SECRET)
    )
    headers = {"webhook-timestamp": str(int(now.timestamp())), "webhook-signature": f"{bad} v2,AAAA {good}"}
    assert call_webhook('{"order_id": 108}', headers=headers).status == 202


def test_the_example_of_the_standard_is_signed_as_it_says():
    """The test vector of the Standard Webhooks libraries."""
    webhook = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = webhook.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), '{"test": 2432232314}'
    )
    assert signature == "v1," + "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("not JSON", "not JSON"),
        ("[1]", "JSON object"),
        ("{}", "JSON object"),
        ({"order_id": True}, "order id"),
        ({"data": {"order_id": "../1"}}, "order id"),
        ({"order_id": 108, "venue_id": 0}, "venue id"),
        ({"order_id": 108, "padding": "x" * 65536}, "65536 bytes"),
    ],
)
def test_a_bad_body_with_a_good_signature_is_told_what_to_change(call_webhook, on_queue, body, hint):
    answer = call_webhook(body)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert hint in answer.body["message"]
    assert on_queue.counts() == (0, 0)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json; charset=utf-8", 202), ("application/cloudevents+json", 202), ("text/plain", 400)],
)
def test_the_body_is_json_by_its_type_too(call_webhook, content_type, status):
    assert call_webhook(headers={"Content-Type": content_type}).status == status


def test_both_secrets_are_good_while_the_secret_rotates(
    call_webhook, secretsmanager, webhook_secret_arn, output
):
    output.secrets.add(OTHER_SECRET.removeprefix("whsec_"))
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202
    assert call_webhook(secret=WEBHOOK_SECRET).status == 202


def test_a_fresh_secret_is_good_from_the_next_webhook_on(call_webhook, secretsmanager, webhook_secret_arn):
    assert call_webhook().status == 202
    secretsmanager.put_secret_value(SecretId=webhook_secret_arn, SecretString=OTHER_SECRET)
    assert call_webhook(secret=OTHER_SECRET).status == 202


def test_forged_webhooks_do_not_cost_a_look_into_secrets_manager_each(call_webhook, aws_calls):
    for _ in range(20):
        assert call_webhook(secret=OTHER_SECRET).status == 401
    assert [operation for operation, _ in aws_calls].count("GetSecretValue") <= 4


@pytest.mark.parametrize("variable", ["QUEUE_URL", "WEBHOOK_SECRET_ARN"])
def test_a_sender_is_asked_to_send_again_where_aws_fails(call_webhook, environment, on_queue, variable):
    gone = {"QUEUE_URL": on_queue.url + "-is-gone", "WEBHOOK_SECRET_ARN": str(uuid.uuid4())}
    environment(variable, gone[variable])
    answer = call_webhook()
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        503,
        "service_unavailable",
        True,
    )
    assert int(answer.headers["Retry-After"]) > 0


def test_the_webhook_function_neither_reads_the_token_nor_calls_clopos(call_webhook, aws_calls, clopos):
    call_webhook(json.dumps({"order_id": 108}))
    assert {operation for operation, _ in aws_calls} <= {"GetSecretValue", "SendMessage"}
    assert clopos.calls(method=None) == []
