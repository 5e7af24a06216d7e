"""The actions of the page's buttons, and the status line with their results."""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests
from requests.auth import AuthBase

from local.page.dead_letters import DeadLetters
from local.signing import SigV4
from local.simulator import AnyFault, Fault
from local.stack import LocalStack

Json = dict[str, Any]

SILENCE_S = 30  # API Gateway gives up after 29 s
NORMALLY = "normally"
ANSWERS: dict[str, AnyFault | None] = {
    NORMALLY: None,
    "503": "unavailable",
    "429": "rate_limited",
    "HTML": "html",
    "not at all": Fault(delay=SILENCE_S, name="silence"),
}
RECEIPT = 10950  # the receipt of every accepted order
MISSING_ORDER = 404404  # far above the numbers of the orders that the page adds


class Controls:
    """The buttons of the page, shared by all browsers that show it. Each method blocks until it is done.

    Parameters
    ----------
    stack : LocalStack
        A running stack.
    dead_letters : DeadLetters
        Its dead letters.

    Attributes
    ----------
    answer : str
        How Clopos answers every PUT: one of `ANSWERS`.
    """

    def __init__(self, stack: LocalStack, dead_letters: DeadLetters) -> None:
        self._stack = stack
        self._dead_letters = dead_letters
        self._said = "Ready"
        self._under_way: dict[int, Json] = {}
        self._ids = itertools.count(1)
        self._numbering = threading.Lock()
        self.answer = NORMALLY

    def status(self) -> str:
        """Return the calls in progress, or the result of the last action."""
        if not (under_way := self.under_way()):
            return self._said
        more = f" (and {len(under_way) - 1} more)" if len(under_way) > 1 else ""
        return f"{under_way[0]['call']}: waiting for the answer{more}"

    def under_way(self) -> list[Json]:
        """Return the calls that wait for their answers (`at`, `source`, `order_id`, `call`), newest first."""
        return list(reversed(self._under_way.values()))

    def say(self, text: str) -> None:
        """Make this the status."""
        self._said = text

    def cancel_by_api(self) -> None:
        """Cancel a new order through the API."""
        order_id = self._new_order()
        self._call("api", order_id, "PUT", f"/orders/{order_id}", {"status": "IGNORE"}, SigV4())

    def cancel_by_webhook(self) -> None:
        """Cancel a new order through the webhook, signed with the secret that is stored now."""
        try:
            signature = self._stack.webhook_auth()
        except ValueError:  # the user has stored something else, which the error's text may quote
            self.say("The webhook secret is not base64, so nothing can be signed with it")
            return
        order_id = self._new_order()
        body = {"type": "order.cancelled", "data": {"order_id": order_id}}
        self._call("webhook", order_id, "POST", "/webhooks/cancellations", body, signature)

    def cancel_by_queue(self) -> None:
        """Cancel a new order through the queue."""
        self._send(self._new_order())

    def cancel_received(self) -> None:
        """Cancel an order that the restaurant has accepted, through the queue."""
        self._send(self._new_order(status="RECEIVED", receipt_id=RECEIPT))

    def cancel_missing(self) -> None:
        """Cancel an order that does not exist, through the queue."""
        self._send(MISSING_ORDER)

    def answer_with(self, answer: str) -> None:
        """Make Clopos answer every PUT from now on in one of the ways of `ANSWERS`."""
        fault = ANSWERS[answer]
        self._stack.clopos.heal()
        if fault is not None:
            self._stack.clopos.fail_all(fault)
        self.answer = answer
        self.say(f"Clopos now answers {answer}")

    def revoke_tokens(self) -> None:
        """Make Clopos reject every token that it has issued."""
        self._stack.clopos.revoke_tokens()
        self.say("Clopos now rejects every token that it has issued")

    def redrive(self) -> None:
        """Send all dead letters back to the queue."""
        self.say(f"{_dead_letters(self._dead_letters.redrive())} sent back to the queue")

    def delete_dead_letters(self) -> None:
        """Delete all dead letters."""
        self.say(f"{_dead_letters(self._dead_letters.delete())} deleted")

    def _new_order(self, **properties: Any) -> int:
        with self._numbering:  # so that two clicks make two orders
            numbers = [int(number) for number in self._stack.clopos.statuses() if number.isdecimal()]
            order_id = max((number for number in numbers if number < MISSING_ORDER), default=0) + 1
            self._stack.clopos.add_order(order_id, **properties)
        return order_id

    def _send(self, order_id: int) -> None:
        message = {"order_id": order_id}
        self._stack.queue.send(message)
        self.say(f"SendMessage {json.dumps(message)}: sent")

    def _call(self, source: str, order_id: int, method: str, path: str, body: Json, auth: AuthBase) -> None:
        call = f"{method} {path}"
        with self._shown({"source": source, "order_id": order_id, "call": call}):
            try:
                answer = self._stack.call(method, path, json.dumps(body), auth=auth)
            except requests.RequestException as error:  # the stack is stopping, or the answer is late
                self.say(f"{call}: no answer ({type(error).__name__})")
                return
            took_s = answer.elapsed.total_seconds()
            self.say(f"{call}: {answer.status_code} {answer.reason} in {took_s:.2f} s")

    @contextlib.contextmanager
    def _shown(self, call: Json) -> Iterator[None]:
        number = next(self._ids)
        self._under_way[number] = {**call, "at": time.time()}
        try:
            yield
        finally:
            del self._under_way[number]


def _dead_letters(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"
