"""Some hundreds of orders through the deployed stack while everything fails at once.

Every fifth call to Clopos fails, workers are killed in the middle of a batch, and the token is revoked. In
the end each order is cancelled, or it was reported why Clopos refused it. The seed decides which calls fail and how:
`CHAOS_SEED=7 make test` runs that one again.
"""

import contextlib
import json
import os
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from local.emulator.clients import Outcomes
from local.simulator import CREDENTIALS, Fault
from tests.conftest import LEAKS, WAIT_LIMIT_S, eventually, output_of_functions

SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
BY_API, BY_WEBHOOK, BY_QUEUE = range(1, 61), range(101, 161), range(1001, 1201)
DELIVERED = {n for orders in (BY_API, BY_WEBHOOK, BY_QUEUE) for n in orders if n % 10 == 0}
UNKNOWN = {n for n in BY_API if n % 20 == 7}  # a message would wait for its order, for two minutes

FAILING = 0.2
# Not "older": it says that an order is cancelled, also if there is none.
TEMPORARY = [
    *["server_error", "unavailable", "gateway_timeout", "html", "html_200", "empty", "redirect"],
    *["rate_limited", "token_expired", "invalid_token", "unauthorized", "quotes_inner_token"],
    *["reset", "lost_answer", "reset_in_body", "truncated", "not_http", "second_answer"],
    *["another_order", "oversized", "bomb", "live_fields"],
]
# What Clopos says about an order, whether it is right or not, is a reason to give it up.
FINAL = ["status_not_allowed:identifier"]  # an order that is "not found" would wait for two minutes
KILLS = 5
# After six failures in a row, which a run in sixty has, a message may have slept for 2 + 4 + ... + 64 s.
LONGEST_BACKOFF_S = 200
VISIBILITY_S = 8  # how soon the messages of a killed worker come back; the template's 180 s are for real ones


@pytest.fixture
def troubled(stack, clopos, sqs, deployed_queues):
    """The deployed stack, in trouble."""
    url = stack.outputs["QueueUrl"]
    as_deployed = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY_S)})
    # Pacing is tested elsewhere; here no call should wait for the next minute.
    clopos.configure(quota=40_000, failed_quota=40_000, auth_quota=40_000, latency=0.1, strict=True)
    for n in (*BY_API, *BY_WEBHOOK, *BY_QUEUE):
        if n not in UNKNOWN:
            clopos.add_order(n, status="DELIVERED" if n in DELIVERED else "PENDING")
        # Which calls of an order fail does not depend on the timing of workers.
        chance, faults = random.Random(f"{SEED}/{n}"), [*TEMPORARY, *TEMPORARY, *FINAL]
        clopos.fail(n, *(chance.choice(faults) if chance.random() < FAILING else Fault() for _ in range(20)))
    stack.refresh_token()
    yield stack
    clopos.heal()
    sqs.set_queue_attributes(QueueUrl=url, Attributes=as_deployed)


def call_api(stack, order_id):
    """PUT an order, again as long as the answer says so; return the last answer."""
    while True:
        answer = stack.put_order(order_id)
        if answer.status_code == 200 or not answer.json()["retryable"]:
            return answer


def send_webhook(stack, order_id):
    """POST a webhook, again until it is accepted; return the last answer."""
    while True:
        answer = stack.post_webhook(json.dumps({"data": {"order_id": order_id}}))
        if answer.status_code == 202 or not answer.json()["retryable"]:
            return answer


def queue_workers(stack):
    """Return the processes in which QueueFunction runs."""
    name, found = stack.physical_id("QueueFunction"), []
    for child in psutil.Process(stack.emulator.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended, or is a zombie
            if name in " ".join(child.cmdline()):
                found.append(child)
    return found


def make_trouble(stack, queue, clopos):
    """Kill workers while they have messages, and revoke the token in between; return how many were killed."""
    killed, patience = 0, time.monotonic() + WAIT_LIMIT_S
    while killed < KILLS and time.monotonic() < patience:
        if all(queue.counts()) and (workers := queue_workers(stack)):
            workers[-1].kill()
            killed += 1
            if killed == KILLS // 2:
                clopos.revoke_tokens()
        time.sleep(0.5)  # for its messages to be taken by another
    return killed


def order_of(letter):
    body = json.loads(letter["Body"])
    return int(body["order_id"])


def clopos_said(n, reason, clopos):
    """Whether Clopos has a reason to refuse an order, or said for a fault that it has."""
    refused, status = {"order_not_cancellable": (DELIVERED, 400), "order_not_found": (UNKNOWN, 404)}[reason]
    return n in refused or status in [call.status for call in clopos.calls(n, method=None)]


@pytest.fixture
def outcomes(stack, sqs):
    """A subscriber to the outcomes of the orders."""
    return Outcomes(stack.client("events"), sqs, rule="chaos")


def test_no_order_is_lost_while_everything_fails(
    troubled, deployed_queues, clopos, secretsmanager, traces, outcomes
):
    print(f"CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it if the test fails, to run it again
    stack, (queue, dead_letters) = troubled, deployed_queues
    with ThreadPoolExecutor(8) as callers:
        killed = callers.submit(make_trouble, stack, queue, clopos)
        queue.send(*({"order_id": n} for n in BY_QUEUE))
        webhooks = list(callers.map(lambda n: send_webhook(stack, n), BY_WEBHOOK))
        answers = dict(zip(BY_API, callers.map(lambda n: call_api(stack, n), BY_API), strict=True))
    eventually(lambda: queue.counts() == (0, 0), LONGEST_BACKOFF_S)
    assert killed.result() == KILLS
    assert {answer.status_code for answer in webhooks} == {202}

    cancelled = {int(n) for n, status in clopos.statuses().items() if status == "IGNORE"}
    letters = dead_letters.take_all()
    reasons = {
        order_of(letter): letter["MessageAttributes"]["ErrorCode"]["StringValue"] for letter in letters
    }
    assert reasons.keys() <= {*BY_WEBHOOK, *BY_QUEUE}
    assert {*BY_WEBHOOK, *BY_QUEUE} <= cancelled | reasons.keys()
    assert not [n for n, reason in reasons.items() if reason == "order_not_cancellable" and n in cancelled]
    for n, reason in reasons.items():
        assert clopos_said(n, reason, clopos), f"{n}: Clopos never said {reason}"
    for n, answer in answers.items():
        if answer.status_code == 200:
            assert n in cancelled
        else:  # a caller was told what Clopos said, and an order that is cancelled is not refused
            assert answer.json()["error"] != "order_not_cancellable" or n not in cancelled
            assert answer.json()["error"] == "clopos_access_denied" or clopos_said(
                n, answer.json()["error"], clopos
            )
    assert not cancelled & (DELIVERED | UNKNOWN)

    published = defaultdict(set)
    for event in outcomes.new():
        published[int(event["order_id"])].add(event["outcome"])
    for n in (*BY_WEBHOOK, *BY_QUEUE):
        assert ("rejected" if n in reasons else "cancelled") in published[n], f"{n}: nobody was told"
    assert {n for n, told in published.items() if "cancelled" in told} <= cancelled

    said = [output_of_functions(stack, traces)]
    said += [json.dumps(letter) for letter in letters]
    said += [answer.text for answer in (*answers.values(), *webhooks)]
    said = "\n".join(said)
    assert not LEAKS.findall(said)
    assert CREDENTIALS["client_secret"] not in said
    webhook_secret = secretsmanager.get_secret_value(SecretId=stack.outputs["WebhookSecretArn"])[
        "SecretString"
    ]
    assert webhook_secret not in said
