"""Every sample event is used in a test, unchanged."""

import json

import pytest

from tests.handlers.conftest import EVENTS, Answer

ORDERS = {
    "queue.json": 108,
    "queue-sns.json": 108,
    "queue-eventbridge.json": 108,
    "queue-standard-webhooks.json": 108,
}
USED = {"api.json", "webhook.json", "schedule.json", "outcome.json", *ORDERS}


def event(name):
    return json.loads((EVENTS / name).read_text())


def test_every_sample_is_used():
    assert {path.name for path in EVENTS.iterdir()} == USED


def test_the_api_sample_cancels_its_order(invoke, clopos, token, environment, secret):
    environment("TOKEN_SECRET_ARN", secret(token))
    answer = invoke("api", event("api.json"))
    assert isinstance(answer, Answer)
    assert answer.body["data"]["status"] == "IGNORE"


@pytest.mark.parametrize("name", ORDERS)
def test_a_queue_sample_cancels_its_order(
    invoke, clopos, on_queue, on_dead_letter_queue, token, environment, secret, name
):
    environment("TOKEN_SECRET_ARN", secret(token))
    assert invoke("queue_worker", event(name)) == {"batchItemFailures": []}
    assert clopos.order(ORDERS[name])["status"] == "IGNORE"


def test_the_schedule_sample_refreshes_the_token(invoke, refreshable, clopos):
    assert invoke("token_refresh", event("schedule.json"))["refreshed"] is True


def test_the_webhook_sample_is_refused_for_its_old_signature(invoke, on_queue, webhook_secret_arn):
    assert invoke("webhook", event("webhook.json")).status == 401
