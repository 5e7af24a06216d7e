"""Handlers answer before Lambda's timeout; if one is killed anyway, no order is lost."""

import json
import time

import pytest

from tests.conftest import eventually
from tests.runtime.conftest import event, receive
from tests.runtime.environment import EnvironmentEnded

NEVER_S = 120  # longer than any of the functions may take


def test_an_api_call_is_answered_before_the_timeout(start, clopos):
    clopos.fail(108, {"delay": NEVER_S}, repeat=None)
    started = time.monotonic()
    result = start("ApiFunction").invoke(event("api.json"), timeout_s=6)
    assert time.monotonic() - started < 6
    assert json.loads(result.payload["body"])["error"] == "clopos_timeout"


def test_a_batch_is_settled_before_the_timeout(start, clopos, stack, references, make_queue):
    clopos.add_order(109)
    clopos.fail(108, {"delay": NEVER_S}, repeat=None)
    sqs = stack.client("sqs")
    for order in (108, 109):
        sqs.send_message(QueueUrl=references["QUEUE_URL"], MessageBody=json.dumps({"order_id": order}))
    batch = receive(sqs, references["QUEUE_URL"])
    started = time.monotonic()
    result = start("QueueFunction").invoke({"Records": batch}, timeout_s=20)
    assert time.monotonic() - started < 20
    late = next(record["messageId"] for record in batch if "108" in record["body"])
    assert result.payload == {"batchItemFailures": [{"itemIdentifier": late}]}


def test_a_batch_whose_worker_is_killed_comes_back_and_is_done(start, clopos, stack, references, make_queue):
    """The worker has cancelled one order, waits for another one, and has not called SQS yet."""
    references["QUEUE_URL"] = queue = make_queue(VisibilityTimeout="4")
    clopos.add_order(109)
    clopos.fail(109, {"delay": NEVER_S, "processed": False})
    sqs = stack.client("sqs")
    for order in (108, 109):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"order_id": order}))
    batch = receive(sqs, queue)
    worker = start("QueueFunction")
    invocation = worker.start({"Records": batch})
    eventually(lambda: clopos.order(108)["status"] == "IGNORE" and len(clopos.calls()) == 2)
    worker.kill()
    with pytest.raises(EnvironmentEnded):
        invocation.result(0)
    assert clopos.order(109)["status"] == "PENDING"

    again = []
    while len(again) < len(batch):
        again += receive(sqs, queue, wait_s=5)
    assert {record["messageId"] for record in again} == {record["messageId"] for record in batch}
    result = start("QueueFunction").invoke({"Records": again})
    assert result.payload == {"batchItemFailures": []}
    assert clopos.statuses() == {"108": "IGNORE", "109": "IGNORE"}
    assert receive(sqs, references["DEAD_LETTER_QUEUE_URL"]) == []
