"""The deployed stack: API Gateway, SQS and IAM. tests/handlers has the tests of the handlers."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from local.emulator.clients import REGION, ROOT_USER
from local.stack import IGNORE
from tests.conftest import eventually, logs
from tools.signing import SigV4, webhook_headers

NAMES = {
    *("ApiUrl", "QueueUrl", "QueueArn", "DeadLetterQueueUrl", "TokenSecretArn", "CredentialsSecretArn"),
    *("WebhookSecretArn", "TokenRefreshFunctionName"),
}


@pytest.fixture
def deployed(stack, clopos, deployed_queues):
    stack.refresh_token()
    return stack


@pytest.fixture
def put(deployed):
    def put(order_id, body=None, **kw):
        return deployed.put_order(order_id, json.dumps(body) if body else IGNORE, **kw)

    return put


@pytest.fixture
def webhook(deployed):
    secret = deployed.webhook_secret()

    def post(body, *, webhook_id="msg_1", signed_body=None, at=None):
        headers = webhook_headers(secret, signed_body or body, webhook_id=webhook_id, signed_at=at)
        return deployed.call("POST", "/webhooks/cancellations", body, headers=headers)

    return post


def test_the_outputs_are_those_of_the_contract(stack):
    assert stack.outputs.keys() >= NAMES


def test_a_signed_call_cancels_an_order(put, clopos):
    answer = put(108)
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "IGNORE")
    assert clopos.order(108)["status"] == "IGNORE"


def test_an_unsigned_call_is_refused_in_our_envelope(deployed, clopos):
    answer = deployed.call("PUT", "/orders/108", IGNORE)
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthenticated")
    assert clopos.calls() == []


@pytest.mark.parametrize("order_id", ["1%3Fx=2", "a%20b", "108?x=2", "x" * 65])
def test_a_bad_id_is_refused_and_clopos_not_called(put, clopos, order_id):
    answer = put(order_id)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert clopos.calls() == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/orders/108"), ("PUT", "/orders"), ("POST", "/webhooks"), ("GET", "/")]
)
def test_no_other_route_exists(deployed, method, path):
    assert deployed.call(method, path, "", auth=SigV4(ROOT_USER, REGION)).status_code == 403


def test_messages_are_done_or_dead_lettered_with_their_reasons(deployed, deployed_queues, clopos):
    clopos.add_orders([1, 2])
    clopos.add_order(404, status="RECEIVED")
    queue, dead_letters = deployed_queues
    bad = ' {"order_id":  404}'
    queue.send({"order_id": 1}, bad, {"Type": "Notification", "Message": '{"order_id": "2"}'})
    eventually(lambda: clopos.statuses()["1"] == clopos.statuses()["2"] == "IGNORE")
    [message] = eventually(dead_letters.take_all)
    assert message["Body"] == bad
    assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == "order_not_cancellable"


def test_a_webhook_is_cancelled_at_clopos_and_can_be_followed_there_by_its_id(deployed, webhook, clopos):
    webhook_id = f"msg_{time.time_ns()}"
    for _ in range(2):  # sending it twice does no harm
        assert webhook('{"data": {"order_id": 108}}', webhook_id=webhook_id).status_code == 202
    eventually(lambda: clopos.order(108)["status"] == "IGNORE")
    [accepted, *_] = [
        line for line in logs(deployed, "WebhookFunction") if line.get("webhook_id") == webhook_id
    ]
    done = eventually(
        lambda: [line for line in logs(deployed, "QueueFunction") if line.get("webhook_id") == webhook_id]
    )
    assert done[0]["outcome"] == "cancelled"
    assert accepted["correlation_id"] in {line["correlation_id"] for line in done}


def test_a_forged_an_altered_and_a_replayed_webhook_are_refused(webhook, clopos):
    body = '{"order_id": 108}'
    altered = webhook('{"order_id": 109}', signed_body=body)
    replayed = webhook(body, at=datetime.fromtimestamp(time.time() - 301, UTC))
    assert [altered.status_code, replayed.status_code] == [401, 401]
    assert clopos.calls() == []


def test_a_burst_of_calls_with_a_revoked_token_is_answered_after_one_refresh(put, clopos):
    put(108)
    clopos.add_orders(range(1, 5))
    clopos.revoke_tokens()
    refreshes = len(clopos.calls(method="POST"))
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(put, range(1, 5)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(clopos.calls(method="POST")) == refreshes + 1


def test_only_the_refresh_function_may_read_the_credentials(stack):
    iam = stack.client("iam")
    readers = set()
    for role in ("ApiRole", "QueueRole", "WebhookRole", "TokenRefreshRole"):
        name = stack.physical_id(role)
        policies = [
            iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ]
        for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
            document = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)
            policies.append(document["PolicyVersion"]["Document"])
        text = json.dumps(policies)
        assert '"Action": "*"' not in text
        if stack.outputs["CredentialsSecretArn"] in text:
            readers.add(role)
    assert readers == {"TokenRefreshRole"}
