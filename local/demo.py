"""``make run``: cancel orders through the deployed local stack, check what happened, and print it."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests

from local.common import run_command, say, wait_for
from local.emulator.clients import Outcomes
from local.settings import port_from_environment
from local.signing import webhook_headers
from local.stack import IGNORE, STACK_NAME, LocalStack

ORDERS = range(101, 131)  # pending at Clopos at the beginning
TIMEOUT_S = 60  # for waits that take up to 5 s on an idle machine
WIDTH = 100


class Story:
    """Prints what happens, and remembers which checks failed."""

    def __init__(self) -> None:
        self.checks = 0
        self.failures: list[str] = []
        self._color = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def title(self, text: str) -> None:
        """Print the title of a section."""
        print(f"\n{self._paint('1', text)}", flush=True)

    def say(self, text: str) -> None:
        """Print a paragraph."""
        print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)

    def show(self, text: str) -> None:
        """Print an indented block, for example what was sent or received."""
        print(textwrap.indent(text, "    "), flush=True)

    def show_json(self, value: Any) -> None:
        """Print a JSON object, wrapped to `WIDTH`."""
        self.show(self._paint("36", "{" + textwrap.indent(_lines(value), " ").lstrip() + "}"))

    def check(self, claim: str, truth: bool) -> None:
        """Print a claim, and whether it is true."""
        self.checks += 1
        if not truth:
            self.failures.append(claim)
        mark = self._paint("32", "ok    ") if truth else self._paint("31;1", "FAILED")
        print(f"  {mark} {claim}", flush=True)

    def _paint(self, color: str, text: str) -> str:
        return f"\033[{color}m{text}\033[0m" if self._color else text


def show_deployment(story: Story, stack: LocalStack) -> None:
    """Show what was deployed."""
    resources = stack.client("cloudformation").describe_stack_resources(StackName=STACK_NAME)[
        "StackResources"
    ]
    kinds = Counter(resource["ResourceType"].removeprefix("AWS::") for resource in resources)
    story.title("Deployed: the stack of template.yaml, by CloudFormation on the local emulator")
    story.say(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    story.show(f"API      {stack.outputs['ApiUrl']}\nClopos   {stack.outputs['CloposUrl']} (a simulator)")
    story.check(
        "every resource was created", all(r["ResourceStatus"] == "CREATE_COMPLETE" for r in resources)
    )


def show_token(story: Story, stack: LocalStack) -> None:
    """Show the token that the scheduled function fetched when the stack started."""
    story.title("1. The scheduled function fetches a token")
    log = find(lambda: stack.logs("TokenRefreshFunction"), message="token refreshed")
    secret = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["TokenSecretArn"])
    expires_at = json.loads(secret["SecretString"])["expires_at"]
    good_until = datetime.fromtimestamp(expires_at, UTC)
    story.say(
        f"POST /auth at Clopos; the token is in Secrets Manager and valid until {good_until:%H:%M:%S} UTC."
    )
    story.check(
        "the token secret expires when Clopos said", log is not None and log["expires_at"] == expires_at
    )
    story.check("Clopos saw one /auth call", len(auth_calls(stack)) == 1)


def show_api(story: Story, stack: LocalStack) -> None:
    """Cancel an order for an API caller."""
    story.title("2. An API caller cancels order 108")
    answer = stack.put_order(108)
    story.show(f"PUT /orders/108  {IGNORE}   (signed with SigV4)\n{status(answer)}")
    story.show_json(answer.json())
    story.check(
        "the answer is 200, and the order IGNORE", answer.status_code == 200 and is_cancelled(stack, 108)
    )
    story.check(f"Clopos saw one PUT, with {IGNORE}", bodies(stack, 108) == [IGNORE])

    stack.clopos.add_order(109, status="DELIVERED")
    answer = stack.put_order(109)
    story.say("Order 109 has already been delivered:")
    story.show(status(answer))
    story.show_json(answer.json())
    story.check(
        "the caller is told so, with 409",
        (answer.status_code, answer.json()["error"]) == (409, "order_not_cancellable"),
    )

    answer = stack.call("PUT", "/orders/110", IGNORE)
    story.check(
        f"without a signature: {status(answer)}", answer.status_code == 403 and not bodies(stack, 110)
    )


def show_expired_token(story: Story, stack: LocalStack) -> None:
    """Let all tokens expire early."""
    story.title("3. Clopos says that the token has expired")
    before = len(auth_calls(stack))
    stack.clopos.expire_tokens()
    answer = stack.put_order(111)
    story.show(f"PUT /orders/111  {IGNORE}\n{status(answer)}")
    story.check("the caller notices nothing", answer.status_code == 200 and is_cancelled(stack, 111))
    seen = [call.status for call in stack.clopos.calls(111)]
    story.check("Clopos rejected the first PUT and accepted the second", seen == [401, 200])
    story.check("one /auth call renewed the token", len(auth_calls(stack)) == before + 1)


def show_queue(story: Story, stack: LocalStack) -> None:
    """Cancel orders through the queue, among messages that can never succeed."""
    story.title("4. Five good messages and three bad ones on the queue")
    stack.clopos.add_order(118, status="RECEIVED")
    good = [112, 113, 114, 115, 116]
    sent = [
        *({"order_id": order_id} for order_id in good[:3]),
        {"order_id": True},
        {"order_id": 404},
        {"order_id": 118},
        *({"order_id": str(order_id), "venue_id": 1} for order_id in good[3:]),
    ]
    bodies_sent = [json.dumps(message) for message in sent]
    stack.queue.send_many(*bodies_sent)
    story.show("\n".join(bodies_sent))
    dead: list[dict[str, Any]] = []

    def is_done() -> bool:
        dead.extend(stack.dead_letters.receive())  # receiving hides them, so each is received once
        return all(is_cancelled(stack, order_id) for order_id in good) and len(dead) >= 3

    all_done = wait_for(is_done, TIMEOUT_S)
    story.check("the good ones are cancelled", all(is_cancelled(stack, order_id) for order_id in good))
    story.check("with one PUT each", all(bodies(stack, order_id) == [IGNORE] for order_id in good))
    log = find(lambda: stack.logs("QueueFunction"), message="order cancelled", order_id="112", source="queue")
    story.check("each with a line in the log, for example:", log is not None)
    story.show_json(
        {key: (log or {}).get(key) for key in ("message", "source", "order_id", "outcome", "attempts")}
    )
    story.say("In the dead-letter queue, at once and unchanged, with the reason:")
    for message in dead:
        attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
        story.show(f"{message['Body']:<19} {attributes['ErrorCode']}: {attributes['ErrorMessage']}")
    reasons = {m["Body"]: m["MessageAttributes"]["ErrorCode"]["StringValue"] for m in dead}
    expected = dict(
        zip(bodies_sent[3:6], ("invalid_request", "order_not_found", "order_not_cancellable"), strict=True)
    )
    story.check("the bad messages are there, and nothing else", all_done and reasons == expected)


def show_webhook(story: Story, stack: LocalStack) -> None:
    """Cancel an order for a webhook sender."""
    story.title("5. A webhook sender cancels order 120")
    outcomes = Outcomes(stack.client("events"), stack.client("sqs"), rule="webhook-sender")
    body = '{"type": "order.cancelled", "data": {"order_id": 120}}'
    answer = stack.post_webhook(body, headers={"webhook-id": "msg_120"})
    story.show(f"POST /webhooks/cancellations  {body}\n{status(answer)}")
    story.show_json(answer.json())
    story.check("accepted at once, with 202", answer.status_code == 202)
    story.check("and cancelled through the queue", wait_for(lambda: is_cancelled(stack, 120), TIMEOUT_S))
    mine = wait_for(lambda: [o for o in outcomes.latest() if o["webhook_id"] == "msg_120"], TIMEOUT_S)
    story.say("The sender hears what became of it, as an EventBridge event with its own webhook-id:")
    keys = ("order_id", "outcome", "webhook_id", "message_id", "stack")
    story.show_json({key: mine[0][key] for key in keys} if mine else {})
    story.check("the event says that the order is cancelled", [o["outcome"] for o in mine] == ["cancelled"])
    headers = webhook_headers(stack.webhook_secret(), body)
    forged = stack.call("POST", "/webhooks/cancellations", body.replace("120", "121"), headers=headers)
    story.check(
        f"with one digit changed: {status(forged)}", forged.status_code == 401 and not bodies(stack, 121)
    )


SCENES = (show_deployment, show_token, show_api, show_expired_token, show_queue, show_webhook)

NEXT = """\
make start      the same stack, until Ctrl-C: cancel orders of your own
make test       all tests
events/         examples of the events that call the functions
functions/      the code; start with api.py, queue_worker.py or webhook.py
README.md       how to deploy to AWS, and what to do when something is wrong"""


def status(answer: requests.Response) -> str:
    """Return the status of an answer, and how long it took."""
    return f"{answer.status_code} {answer.reason} in {answer.elapsed.total_seconds():.2f} s"


def is_cancelled(stack: LocalStack, order_id: int) -> bool:
    """Return whether the order is cancelled at Clopos."""
    return bool(stack.clopos.order(order_id)["status"] == "IGNORE")


def bodies(stack: LocalStack, order_id: int) -> list[str]:
    """Return the bodies of the PUTs that Clopos saw for an order."""
    return [call.body for call in stack.clopos.calls(order_id)]


def auth_calls(stack: LocalStack) -> list[Any]:
    """Return the calls of /auth that Clopos saw."""
    return [call for call in stack.clopos.calls(method="POST") if call.path.endswith("/auth")]


def find(logs: Callable[[], list[dict[str, Any]]], **values: Any) -> dict[str, Any] | None:
    """Return the first log record with these values, as soon as there is one."""

    def matching() -> dict[str, Any] | None:
        return next((record for record in logs() if values.items() <= _flat(record).items()), None)

    return wait_for(matching, TIMEOUT_S)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not isinstance(value, dict | list)}


def _lines(value: Any) -> str:
    """Return the fields of a JSON object, wrapped between its values."""
    lines = [""]
    for part in json.dumps(value)[1:-1].replace(", ", ",\n").split("\n"):
        if len(lines[-1]) + len(part) > WIDTH - 8:
            lines.append("")
        lines[-1] += part + " "
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    """Run all sections; return the exit status."""
    started = time.monotonic()
    story = Story()
    with LocalStack(
        aws_port=port_from_environment("LOCAL_AWS_PORT", 0),
        clopos_port=port_from_environment("LOCAL_CLOPOS_PORT", 0),
        report=say,
    ) as stack:
        stack.clopos.add_orders(ORDERS)
        for scene in SCENES:
            scene(story, stack)
    story.title("Where to look next")
    story.show(NEXT)
    took = f"in {time.monotonic() - started:.0f} s"
    if story.failures:
        story.title(f"{len(story.failures)} of {story.checks} checks FAILED, {took}:")
        story.show("\n".join(story.failures))
        story.say("The log of the functions and of the emulator is .local/emulator.log.")
        return 1
    story.title(f"All {story.checks} checks passed, {took}. Nothing is left running.")
    return 0


if __name__ == "__main__":
    run_command(main)
