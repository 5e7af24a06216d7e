"""Cancel a real order in each of the three ways, for ``make doctor ORDER=108``."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from requests.auth import AuthBase
from standardwebhooks import Webhook

from tools.operate.checks.findings import Finding, Findings, ok, problem, unknown
from tools.operate.stack import Deployed

API_TIMEOUT_S = 35  # API Gateway answers within 29 s
WEBHOOK_TIMEOUT_S = 20
RESULT_WITHIN_S = 90  # includes a cold start, a retry, and a few seconds until the log can be read
POLL_S = 2

#: Errors of the order itself: the other two ways would fail too, and leave dead letters.
ORDER_REFUSED = ("invalid_request", "order_not_found", "order_not_cancellable")


class SigV4(AuthBase):
    """Signs requests with the operator's credentials."""

    def __init__(self, stack: Deployed) -> None:
        credentials = stack.session.get_credentials()
        assert credentials, "the stack was described with them"  # noqa: S101 - for the type checker
        self._credentials = credentials
        self._region = stack.region

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers of the signature."""
        signed = AWSRequest(request.method, request.url, data=request.body)
        SigV4Auth(self._credentials, "execute-api", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


class OrderCheck:
    """The three ways to cancel one order.

    Parameters
    ----------
    order_id : str
        An order that may be cancelled. Cancelling it again by the second and third way does no harm.
    """

    def __init__(self, order_id: str) -> None:
        self._order_id = order_id
        self._refused = ""

    def by_api(self, stack: Deployed) -> Findings:
        """A caller of the API cancels it."""
        url = f"{stack.outputs['ApiUrl']}/orders/{self._order_id}"
        started = time.monotonic()
        try:
            answer = requests.put(url, json={"status": "IGNORE"}, auth=SigV4(stack), timeout=API_TIMEOUT_S)
        except requests.RequestException as error:  # no connection, or no answer in time
            yield _unreachable(url, error)
            return
        body = _json_object(answer)
        if answer.status_code == 200 and body.get("success"):
            yield ok(f"cancelled in {time.monotonic() - started:.1f} s, request {body.get('request_id')}")
        elif answer.status_code == 403:
            yield problem(
                f"the API refuses your signature: {body.get('message', answer.reason)}",
                "Your credentials need the permission execute-api:Invoke for "
                f"arn:aws:execute-api:{stack.region}:*:{stack.physical_id('Api')}/*/PUT/orders/*",
            )
        else:
            if body.get("error") in ORDER_REFUSED:
                self._refused = str(body["error"])
            yield _not_cancelled(answer.status_code, body)

    def by_queue(self, stack: Deployed) -> Findings:
        """A message on the queue cancels it."""
        if self._refused:
            yield self._not_tried()
            return
        message = stack.client("sqs").send_message(
            QueueUrl=stack.outputs["QueueUrl"], MessageBody=json.dumps({"order_id": self._order_id})
        )
        yield result_of_message(stack, message["MessageId"])

    def by_webhook(self, stack: Deployed) -> Findings:
        """A signed webhook cancels it."""
        if self._refused:
            yield self._not_tried()
            return
        url = f"{stack.outputs['ApiUrl']}/webhooks/cancellations"
        cancelled = stack.parameters["CancellationTypes"].split(",")[0].strip()
        body = json.dumps({"type": cancelled, "data": {"order_id": self._order_id}})
        try:
            answer = requests.post(
                url, data=body, headers=_webhook_headers(stack, body), timeout=WEBHOOK_TIMEOUT_S
            )
        except requests.RequestException as error:  # no connection, or no answer in time
            yield _unreachable(url, error)
            return
        result = _json_object(answer)
        if answer.status_code == 202:
            yield result_of_message(stack, result["data"]["message_id"])
        else:
            yield problem(
                f"the answer is {answer.status_code} {result.get('error')}: {result.get('message')}",
                f"See its log: .venv/bin/sam logs --stack-name {stack.name} --name WebhookFunction",
            )

    def _not_tried(self) -> Finding:
        return unknown(f"not tried, as Clopos answered {self._refused}")


def result_of_message(stack: Deployed, message_id: str) -> Finding:
    """Wait for the line that the queue worker logs about a message."""
    function = stack.physical_id("QueueFunction")
    configuration = stack.client("lambda").get_function_configuration(FunctionName=function)
    started = time.monotonic()
    while time.monotonic() - started < RESULT_WITHIN_S:
        for line in _log_lines(stack, configuration["LoggingConfig"]["LogGroup"], message_id):
            if line.get("outcome") == "cancelled":
                return ok(f"cancelled in {time.monotonic() - started:.1f} s, message {message_id}")
            if "outcome" in line:
                return _not_cancelled(line["outcome"], line.get("result", {}))
        time.sleep(POLL_S)
    return problem(
        f"message {message_id} has no result after {RESULT_WITHIN_S} s; it may be waiting behind others",
        f"Look later: .venv/bin/sam logs --stack-name {stack.name} --name QueueFunction "
        f"--filter '\"{message_id}\"'",
    )


def _log_lines(stack: Deployed, log_group: str, message_id: str) -> list[dict[str, Any]]:
    pages = stack.client("logs").get_paginator("filter_log_events")
    # The clocks of this machine and of AWS may differ by some minutes.
    since_ms = int((time.time() - RESULT_WITHIN_S - 600) * 1000)
    messages = [
        event["message"]
        for page in pages.paginate(
            logGroupName=log_group, startTime=since_ms, filterPattern=f'"{message_id}"'
        )
        for event in page["events"]
    ]
    lines = [json.loads(message) for message in messages if message.startswith("{")]
    return [line for line in lines if line.get("message_id") == message_id]


def _webhook_headers(stack: Deployed, body: str) -> dict[str, str]:
    secret = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["WebhookSecretArn"])
    webhook_id, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret["SecretString"]).sign(webhook_id, now, body),
    }


def _json_object(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:  # a proxy's page, for example
        return {}
    return body if isinstance(body, dict) else {}


def _unreachable(url: str, error: requests.RequestException) -> Finding:
    return problem(
        f"{url} cannot be reached from here: {type(error).__name__}",
        "Check the network between this machine and the API",
    )


def _not_cancelled(outcome: object, result: dict[str, Any]) -> Finding:
    return problem(
        f"not cancelled ({outcome}), {result.get('error')}: {result.get('message')}",
        "Look the error up in the README, section Errors",
    )
