"""What AWS sends to each function is answered as the contract says."""

import json

import pytest

from tests.runtime.conftest import event, receive, webhook_event


def test_an_api_call_cancels_its_order(start, clopos):
    result = start("ApiFunction").invoke(event("api.json"))
    answer = json.loads(result.payload["body"])
    assert (result.payload["statusCode"], answer["data"]["status"]) == (200, "IGNORE")
    assert answer["request_id"] == result.request_id
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_batch_cancels_orders_and_dead_letters_what_no_retry_can_help(start, clopos, stack, references):
    clopos.add_order(109, venue_id=2)
    result = start("QueueFunction").invoke(event("queue.json"))
    assert result.payload == {"batchItemFailures": []}
    assert clopos.statuses() == {"108": "IGNORE", "109": "IGNORE"}
    dead = receive(stack.client("sqs"), references["DEAD_LETTER_QUEUE_URL"])
    assert sorted(message["body"] for message in dead) == ["not JSON", '{"order_id": 404}']


@pytest.mark.parametrize("name", ["queue-sns.json", "queue-eventbridge.json", "queue-standard-webhooks.json"])
def test_a_message_may_be_wrapped(start, clopos, name):
    assert start("QueueFunction").invoke(event(name)).payload == {"batchItemFailures": []}
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_webhook_is_put_on_the_queue(start, stack, references):
    result = start("WebhookFunction").invoke(webhook_event())
    assert result.payload["statusCode"] == 202
    [message] = receive(stack.client("sqs"), references["QUEUE_URL"])
    assert json.loads(result.payload["body"])["data"]["message_id"] == message["messageId"]
    assert json.loads(message["body"]) == {"order_id": 108, "venue_id": 1}


def test_the_schedule_stores_a_token_that_clopos_accepts(start, clopos, stack, references, secrets):
    result = start("TokenRefreshFunction").invoke(event("schedule.json"))
    assert result.payload["success"] is True
    secret = stack.client("secretsmanager").get_secret_value(SecretId=references["TOKEN_SECRET_ARN"])
    stored = json.loads(secret["SecretString"])
    secrets.add(stored["token"])
    assert stored["expires_at"] == result.payload["expires_at"]
    assert start("ApiFunction").invoke(event("api.json")).payload["statusCode"] == 200
    assert [call.headers["x-token"] for call in clopos.calls(108)] == [stored["token"]]


def test_several_invocations_share_an_environment(start, clopos, clopos_relay):
    environment = start("ApiFunction")
    results = [environment.invoke(event("api.json")) for _ in range(3)]
    assert [result.payload["statusCode"] for result in results] == [200] * 3
    ids = [json.loads(result.payload["body"])["request_id"] for result in results]
    assert ids == [result.request_id for result in results]
    assert len(set(ids)) == 3
    assert clopos_relay.opened == 1
