"""Handlers answer before Lambda's timeout; if one is killed anyway, no order is lost."""

import json

import pytest

from local.emulator.clients import Queue
from tests.conftest import eventually
from tests.runtime.conftest import batch, event
from tests.runtime.environment import EnvironmentEnded

NEVER_S = 120  # longer than any of the functions may take


def test_an_api_call_is_answered_before_the_timeout(start, clopos):
    clopos.fail(108, {"delay": NEVER_S}, repeat=None)
    result = start("ApiFunction").invoke(event("api.json"), timeout_s=6)
    assert json.loads(result.payload["body"])["error"] == "clopos_timeout"
    assert result.left_s > 0


def test_a_batch_whose_worker_is_killed_comes_back_and_is_done(start, clopos, sqs, dead_letters, references):
    """The worker has cancelled one order, waits for another one, and has not called SQS yet."""
    queue = Queue.create(sqs, VisibilityTimeout="4")
    references["QUEUE_URL"] = queue.url
    clopos.add_order(109)
    clopos.fail(109, {"delay": NEVER_S, "processed": False})
    sent = queue.send({"order_id": 108}, {"order_id": 109})
    worker = start("QueueFunction")
    invocation = worker.start(batch(queue))
    eventually(lambda: clopos.order(108)["status"] == "IGNORE" and len(clopos.calls()) == 2)
    worker.kill()
    with pytest.raises(EnvironmentEnded):
        invocation.result(0)
    assert clopos.order(109)["status"] == "PENDING"

    records = {}
    while len(records) < len(sent):
        records |= {record["messageId"]: record for record in batch(queue)["Records"]}
    assert set(records) == set(sent)
    result = start("QueueFunction").invoke({"Records": list(records.values())})
    assert result.payload == {"batchItemFailures": []}
    assert clopos.statuses() == {"108": "IGNORE", "109": "IGNORE"}
    assert dead_letters.take_all() == []
