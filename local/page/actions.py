"""What the buttons of the page do, and what it says about it."""

import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from local.simulator import AnyFault, Fault
from local.stack import REFUSED_AT_FIRST, LocalStack

Json = dict[str, Any]
Say = Callable[..., None]  # a text and its kind: "good" by default, "bad" or "waiting"

SHOWN_MESSAGES = 4
HIDDEN_S = 30  # dead letters, while they are moved
SILENCE_S = 30  # API Gateway gives up after 29 s
RECEIPT = 10950  # the receipt of every accepted order
MISSING_ORDER = 404404  # far above the numbers of the orders that the page adds
NORMALLY = "normally"
ANSWERS: dict[str, AnyFault | None] = {
    NORMALLY: None,
    "503": "unavailable",
    "429": "rate_limited",
    "403 access refused": "module_missing",
    "HTML": "html_200",
    "broken connection": "reset",
    "nothing": Fault(delay=SILENCE_S, name="silence"),
}

# The errors of boto3 and requests if the emulator or the simulator is being or has been stopped.
STOPPED = (BotoCoreError, ClientError, requests.RequestException)


class Actions:
    """The actions by the names that the buttons have in `index.html`.

    Attributes
    ----------
    answer : str
        How Clopos answers every PUT: one of `ANSWERS`.
    messages : deque
        What became of the latest actions, newest first: `at`, `text` and `kind`.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._ids = itertools.count(1)
        self._numbering = threading.Lock()
        self.answer = NORMALLY
        self.messages: deque[Json] = deque(maxlen=SHOWN_MESSAGES)

    def perform(self, name: str, argument: str = "") -> None:
        """Perform an action and wait for its end. Its message is there from the beginning.

        Raises
        ------
        KeyError
            If there is no such action.
        """
        action = {
            "api": self._cancel_by_api,
            "webhook": self._cancel_by_webhook,
            "queue": lambda say: self._send(say, self._new_order()),
            "accepted": lambda say: self._send(say, self._new_order(status="RECEIVED", receipt_id=RECEIPT)),
            "pending": self._cancel_refused_at_first,
            "unknown": lambda say: self._send(say, MISSING_ORDER),
            "answer": lambda say: self._answer(say, argument),
            "revoke": self._revoke_tokens,
            "redrive": self._redrive,
            "delete": self._delete,
        }[name]
        message = {"at": time.time(), "text": "In progress", "kind": "waiting"}
        self.messages.appendleft(message)
        try:
            action(lambda text, kind="good": message.update(text=text, kind=kind))
        except STOPPED as error:
            message.update(text=f"That did not work: {error}", kind="bad")

    def _new_order(self, **properties: Any) -> int:
        with self._numbering:  # so that two clicks make two orders
            numbers = [int(number) for number in self._stack.clopos.statuses() if number.isdecimal()]
            order_id = max((number for number in numbers if number < MISSING_ORDER), default=0) + 1
            self._stack.clopos.add_order(order_id, **properties)
        return order_id

    def _cancel_by_api(self, say: Say) -> None:
        order_id = self._new_order()
        self._call(say, f"PUT /orders/{order_id}", lambda: self._stack.put_order(order_id))

    def _cancel_by_webhook(self, say: Say) -> None:
        body = json.dumps({"type": "order.cancelled", "data": {"order_id": self._new_order()}})
        self._call(say, "POST /webhooks/cancellations", lambda: self._stack.post_webhook(body))

    def _call(self, say: Say, call: str, send: Callable[[], requests.Response]) -> None:
        say(f"{call}: waiting for the answer", "waiting")
        try:
            answer = send()
        except requests.RequestException as error:  # the stack is stopping, or the answer is late
            say(f"{call}: no answer ({type(error).__name__})", "bad")
            return
        except ValueError:  # the user has stored another webhook secret, which the error's text may quote
            say("The webhook secret is not base64, so nothing can be signed with it", "bad")
            return
        code = "" if answer.ok else f" `{answer.json().get('error', '')}`"
        seconds = answer.elapsed.total_seconds()
        say(
            f"{call}: {answer.status_code} {answer.reason}{code} in {seconds:.2f} s",
            "good" if answer.ok else "bad",
        )

    def _send(self, say: Say, order_id: int) -> None:
        message = {"order_id": order_id}
        self._stack.queue.send(message)
        say(f"Sent to the queue: `{json.dumps(message)}`")

    def _cancel_refused_at_first(self, say: Say) -> None:
        order_id = self._new_order()
        self._stack.clopos.fail(order_id, REFUSED_AT_FIRST)
        self._send(say, order_id)

    def _answer(self, say: Say, answer: str) -> None:
        fault = ANSWERS[answer]
        self._stack.clopos.heal()
        if fault is not None:
            self._stack.clopos.fail_all(fault)
        self.answer = answer
        say(f"What Clopos answers from now on: {answer}")

    def _revoke_tokens(self, say: Say) -> None:
        self._stack.clopos.revoke_tokens()
        say("Clopos now rejects every token that it has issued")

    def _redrive(self, say: Say) -> None:
        letters: list[Json] = []  # all, before the first one is sent: one that fails again is not sent twice
        while received := self._stack.dead_letters.receive(hide_s=HIDDEN_S):
            letters += received
        for letter in letters:
            self._stack.queue.send(letter["Body"], MessageAttributes=letter.get("MessageAttributes", {}))
            self._stack.dead_letters.delete(letter)
        say(f"{len(letters)} dead letter{'s' * (len(letters) != 1)} sent back to the queue")

    def _delete(self, say: Say) -> None:
        number = len(self._stack.dead_letters.take_all())
        say(f"{number} dead letter{'s' * (number != 1)} deleted")
