"""Cancel a real order in each of the three ways, for ``make doctor ORDER=108``."""

import json
import time
from typing import Any

import requests
from requests.auth import AuthBase

from tools.operate.checks import Finding, Findings, ok, problem, unknown
from tools.operate.checks.secrets import json_object, secret_text
from tools.operate.stack import Deployed
from tools.signing import SigV4, StandardWebhooks

TIMEOUT_S = 35  # API Gateway answers within 29 s
RESULT_WITHIN_S = 90  # includes a cold start, a retry, and a few seconds until the log can be read
CLOCKS_DIFFER_S = 600  # this machine's and AWS's
POLL_S = 2
IGNORE = '{"status": "IGNORE"}'

#: Errors of the order itself: the other two ways would fail too, and leave dead letters.
ORDER_REFUSED = ("invalid_request", "order_not_found", "order_not_cancellable")


class OrderCheck:
    """The three ways to cancel one order. The second and third time do no harm."""

    def __init__(self, order_id: str) -> None:
        self._order_id = order_id
        self._refused = ""

    def by_api(self, stack: Deployed) -> Findings:
        """A caller of the API cancels it."""
        url = f"{stack.outputs['ApiUrl']}/orders/{self._order_id}"
        credentials: Any = stack.session.get_credentials()  # not None: the stack was described with them
        started = time.monotonic()
        status, body = _call("PUT", url, IGNORE, SigV4(credentials, stack.region))
        if status == 200 and body.get("success"):
            yield ok(f"cancelled in {time.monotonic() - started:.1f} s, request {body.get('request_id')}")
        elif status == 403:
            needed = f"arn:*:execute-api:{stack.region}:*:{stack.physical_id('Api')}/*/PUT/orders/*"
            text = f"the API refuses your signature: {body.get('message')}"
            yield problem(text, f"Your credentials need the permission execute-api:Invoke for {needed}")
        else:
            if body.get("error") in ORDER_REFUSED:
                self._refused = str(body["error"])
            yield _not_cancelled(status, body)

    def by_queue(self, stack: Deployed) -> Findings:
        """A message on the queue cancels it."""
        body = json.dumps({"order_id": self._order_id})
        if self._refused:
            yield unknown(f"not tried, as Clopos answered {self._refused}")
            return
        message = stack.client("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody=body)
        yield result_of_message(stack, message["MessageId"])

    def by_webhook(self, stack: Deployed) -> Findings:
        """A signed webhook cancels it."""
        cancelled = stack.parameters["CancellationTypes"].split(",")[0]
        body = json.dumps({"type": cancelled, "data": {"order_id": self._order_id}})
        if self._refused:
            yield unknown(f"not tried, as Clopos answered {self._refused}")
            return
        try:
            auth = StandardWebhooks(secret_text(stack, stack.outputs["WebhookSecretArn"]))
        except ValueError:  # empty, or not base64: its own check says so
            yield unknown("not tried, as the webhook secret cannot be used")
            return
        status, result = _call("POST", f"{stack.outputs['ApiUrl']}/webhooks/cancellations", body, auth)
        if status == 202:
            yield result_of_message(stack, result["data"]["message_id"])
        else:
            yield _not_cancelled(status, result)


def result_of_message(stack: Deployed, message_id: str) -> Finding:
    """Wait for the line that the queue worker logs about a message."""
    started, since = time.monotonic(), time.time() - CLOCKS_DIFFER_S
    while (waited_s := time.monotonic() - started) < RESULT_WITHIN_S:
        for line in stack.log_lines("Queue", f'"{message_id}"', since):
            if line.get("message_id") == message_id and (outcome := line.get("outcome")):
                done = ok(f"cancelled in {waited_s:.1f} s, message {message_id}")
                return done if outcome == "cancelled" else _not_cancelled(outcome, line.get("result", {}))
        time.sleep(POLL_S)
    text = f"message {message_id} has no result after {RESULT_WITHIN_S} s; it may be waiting behind others"
    look = f".venv/bin/sam logs --stack-name {stack.name} --filter '\"{message_id}\"'"
    return problem(text, f"Look later: {look}")


def _call(method: str, url: str, body: str, auth: AuthBase) -> tuple[object, dict[str, Any]]:
    """Return the status and the body of an answer."""
    headers = {"Content-Type": "application/json"}
    try:
        answer = requests.request(method, url, data=body, headers=headers, auth=auth, timeout=TIMEOUT_S)
    except requests.RequestException as error:  # no connection, or no answer in time
        return "no answer", {"error": type(error).__name__, "message": f"{url} cannot be reached from here"}
    return answer.status_code, json_object(answer.text) or {"error": answer.reason}  # a proxy's page


def _not_cancelled(outcome: object, result: dict[str, Any]) -> Finding:
    text = f"not cancelled ({outcome}), {result.get('error')}: {result.get('message')}"
    return problem(text, "Look the error up in the README, section Errors")
