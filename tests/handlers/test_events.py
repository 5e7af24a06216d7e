"""Every sample event is used in a test, unchanged."""

import json

import pytest

from tests.handlers.conftest import EVENTS

QUEUE = sorted(path.name for path in EVENTS.glob("queue*.json"))


def event(name):
    return json.loads((EVENTS / name).read_text())


def test_every_sample_is_used():
    assert {path.name for path in EVENTS.iterdir()} == {
        "api.json",
        "webhook.json",
        "schedule.json",
        "outcome.json",
        *QUEUE,
    }


def test_the_api_sample_cancels_its_order(invoke):
    assert invoke("api", event("api.json")).body["data"]["status"] == "IGNORE"


@pytest.mark.parametrize("name", QUEUE)
def test_a_queue_sample_cancels_its_order(invoke, clopos, on_queue, on_dead_letter_queue, name):
    records = event(name)["Records"][:1]
    assert invoke("queue_worker", {"Records": records}) == {"batchItemFailures": []}
    assert clopos.order(108)["status"] == "IGNORE"


def test_the_schedule_sample_refreshes_the_token(invoke, refreshable):
    assert invoke("token_refresh", event("schedule.json"))["refreshed"] is True


def test_the_webhook_sample_is_refused_for_its_old_signature(invoke, on_queue, webhook_secret_arn):
    assert invoke("webhook", event("webhook.json")).status == 401
