"""``make run``: cancel orders through the deployed local stack, check what happened, and print it."""

import json
import os
import sys
import textwrap
import time
from collections import Counter
from typing import Any

import requests

from local import settings
from local.common import run_command, say, wait_for
from local.emulator.clients import Outcomes
from local.stack import IGNORE, REFUSED_AT_FIRST, STACK_NAME, LocalStack
from tools.signing import webhook_headers

ORDERS = range(101, 131)  # pending at Clopos at the beginning
TIMEOUT_S = 60  # for waits that take up to 5 s on an idle machine
WIDTH = 100

NEXT = """\
make start      the same stack, until Ctrl-C, with a page to cancel orders of your own
make test       all tests
functions/      the code; start with api.py, queue_worker.py or webhook.py
README.md       how to deploy to AWS, and what to do when something is wrong"""


class Story:
    """Runs the scenes, prints what happens, and remembers which checks failed."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.clopos = stack.clopos
        self.checks = 0
        self.failures: list[str] = []

    def check(self, text: str, truth: bool) -> None:
        """Print a claim, and whether it is true."""
        self.checks += 1
        if not truth:
            self.failures.append(text)
        say(f"  {_paint('32', 'ok    ') if truth else _paint('31;1', 'FAILED')} {text}")

    def answer(self, request: str, answer: requests.Response) -> None:
        """Print a request and its answer."""
        show(f"{request}\n{answer.status_code} {answer.reason} in {answer.elapsed.total_seconds():.2f} s")
        show_json(answer.json())

    def is_cancelled(self, *order_ids: int) -> bool:
        """Return whether these orders are cancelled at Clopos."""
        return all(self.clopos.order(order_id)["status"] == "IGNORE" for order_id in order_ids)

    def statuses(self, order_id: int) -> list[int | None]:
        """Return the statuses of Clopos's answers to the PUTs of an order."""
        return [call.status for call in self.clopos.calls(order_id)]

    def tell(self) -> None:
        """Run all scenes."""
        self.deployment()
        self.api()
        self.expired_token()
        self.queue()
        self.webhook()

    def deployment(self) -> None:
        """Show what was deployed."""
        cloudformation = self.stack.client("cloudformation")
        resources = cloudformation.describe_stack_resources(StackName=STACK_NAME)["StackResources"]
        kinds = Counter(resource["ResourceType"].removeprefix("AWS::") for resource in resources)
        title("The stack of template.yaml, deployed to an AWS emulator on this machine")
        paragraph(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
        show(f"API     {self.stack.outputs['ApiUrl']}\nClopos  {self.clopos.url} (a simulator)")
        states = {resource["ResourceStatus"] for resource in resources}
        self.check("every resource was created", states == {"CREATE_COMPLETE"})

    def api(self) -> None:
        """Cancel an order for an API caller."""
        title("1. A back end cancels order 108: PUT /orders/108, signed with SigV4")
        answer = self.stack.put_order(108)
        self.answer(f"PUT /orders/108  {IGNORE}", answer)
        self.check(
            "the order's status at Clopos is IGNORE: it is cancelled",
            answer.status_code == 200 and self.is_cancelled(108),
        )
        self.clopos.add_order(109, status="DELIVERED")
        answer = self.stack.put_order(109)
        self.answer("PUT /orders/109, which has been delivered already", answer)
        self.check("the caller is told why not", answer.json()["error"] == "order_not_cancellable")
        answer = self.stack.call("PUT", "/orders/110", IGNORE)
        refused = answer.status_code == 403 and not self.statuses(110)
        self.check("without a signature, the answer is 403, and Clopos is not called", refused)

    def expired_token(self) -> None:
        """Let all tokens expire early."""
        title("2. Clopos says that the access token has expired")
        self.clopos.expire_tokens()
        answer = self.stack.put_order(111)
        show(f"PUT /orders/111\n{answer.status_code} {answer.reason}")
        self.check("Clopos refused the first PUT and took the second", self.statuses(111) == [401, 200])
        self.check("the caller notices nothing", answer.status_code == 200 and self.is_cancelled(111))

    def queue(self) -> None:
        """Cancel orders through the queue, among messages that can never succeed."""
        title("3. Three good messages on the queue, one that Clopos refuses at first, and two bad ones")
        self.clopos.add_order(118, status="RECEIVED")
        self.clopos.fail(115, REFUSED_AT_FIRST)
        good = [112, 113, 114, 115]
        bad = {
            '{"order_id": true}': "invalid_request",
            '{"order_id": 118}': "order_not_cancellable",
        }
        messages = [*(json.dumps({"order_id": order_id}) for order_id in good), *bad]
        self.stack.queue.send(*messages)
        show("\n".join(messages))
        dead: list[dict[str, Any]] = []

        def is_done() -> bool:
            dead.extend(self.stack.dead_letters.receive())  # receiving hides them, so each is received once
            return self.is_cancelled(*good) and len(dead) >= len(bad)

        wait_for(is_done, TIMEOUT_S)
        once = all(self.statuses(order_id) == [200] for order_id in good[:3])
        self.check("the good ones are cancelled with one PUT each", self.is_cancelled(*good) and once)
        self.check(
            "order 115, refused while it was PENDING, was tried again and is cancelled",
            len(self.statuses(115)) == 2,
        )
        paragraph("In the dead-letter queue, unchanged, with the reason:")
        for message in dead:
            attributes = message["MessageAttributes"]
            code, text = (attributes[name]["StringValue"] for name in ("ErrorCode", "ErrorMessage"))
            show(f"{message['Body']}  {code}: {text}")
        codes = {m["Body"]: m["MessageAttributes"]["ErrorCode"]["StringValue"] for m in dead}
        self.check("the bad ones are there, and nothing else", codes == bad)

    def webhook(self) -> None:
        """Cancel an order for a webhook sender."""
        title("4. A webhook sender cancels order 120")
        outcomes = Outcomes(self.stack.client("events"), self.stack.client("sqs"), rule="webhook-sender")
        body = '{"type": "order.cancelled", "data": {"order_id": 120}}'
        answer = self.stack.post_webhook(body, headers={"webhook-id": "msg_120"})
        self.answer(f"POST /webhooks/cancellations  {body}", answer)
        self.check("accepted at once, and put on the queue", answer.status_code == 202)
        mine = wait_for(lambda: [o for o in outcomes.latest() if o["webhook_id"] == "msg_120"], TIMEOUT_S)
        paragraph("What became of it is published on EventBridge, with the sender's own webhook-id:")
        show_json({key: mine[0][key] for key in ("order_id", "outcome", "webhook_id")} if mine else {})
        told = [outcome["outcome"] for outcome in mine] == ["cancelled"]
        self.check("the order is cancelled, and the event says so", told and self.is_cancelled(120))
        headers = webhook_headers(self.stack.webhook_secret(), body)
        forged = body.replace("120", "121")
        answer = self.stack.call("POST", "/webhooks/cancellations", forged, headers=headers)
        self.check("with one digit changed, the answer is 401", answer.status_code == 401)


def title(text: str) -> None:
    """Print the title of a scene."""
    say(f"\n{_paint('1', text)}")


def paragraph(text: str) -> None:
    """Print a paragraph."""
    say(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "))


def show(text: str) -> None:
    """Print what was sent or received."""
    say(textwrap.indent(text, "    "))


def show_json(value: Any) -> None:
    """Print a JSON object; lines break between its values."""
    lines = textwrap.wrap(json.dumps(value), WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    show(_paint("36", "\n".join(lines)))


def _paint(color: str, text: str) -> str:
    return f"\033[{color}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def main() -> int:
    """Tell the story; return the exit status."""
    started = time.monotonic()
    ports = settings.ports({settings.AWS_PORT: 0, settings.CLOPOS_PORT: 0})
    with LocalStack(
        aws_port=ports[settings.AWS_PORT], clopos_port=ports[settings.CLOPOS_PORT], report=say
    ) as stack:
        stack.clopos.add_orders(ORDERS)
        story = Story(stack)
        story.tell()
        title("Where to look next")
        show(NEXT)
        say("")
    took = f"in {time.monotonic() - started:.0f} s"
    if story.failures:
        title(f"{len(story.failures)} of {story.checks} checks FAILED, {took}:")
        show("\n".join(story.failures))
        paragraph("The log of the functions and of the emulator is .local/emulator.log.")
        return 1
    title(f"All {story.checks} checks passed, {took}. Nothing is left running.")
    return 0


if __name__ == "__main__":
    run_command(main)
