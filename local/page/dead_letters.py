"""Show, redrive or delete the messages of the dead-letter queue."""

from typing import Any

from local.emulator.clients import Queue

Json = dict[str, Any]

SHOWN_BODY_CHARS = 200
HIDDEN_S = 30  # while they are moved
RECEIVED_TOO_OFTEN = "received too often"  # SQS itself has moved the message, without a reason


class DeadLetters:
    """The dead-letter queue of a stack.

    Parameters
    ----------
    dead_letters, queue : Queue
        The dead-letter queue, and the queue that its messages came from.
    """

    def __init__(self, dead_letters: Queue, queue: Queue) -> None:
        self._dead_letters = dead_letters
        self._queue = queue

    def count(self) -> int:
        """Return how many there are."""
        return self._dead_letters.counts().visible

    def peek(self) -> list[Json]:
        """Return `code`, `message`, `body` (truncated) and `length` of up to ten messages, which stay."""
        return [_reason(message) for message in self._dead_letters.receive(hide_s=0)]

    def redrive(self) -> int:
        """Send all of them back to the queue, with their attributes; return how many there were."""
        messages = self._collect()
        for message in messages:
            self._queue.send(message["Body"], MessageAttributes=message.get("MessageAttributes", {}))
            self._dead_letters.delete(message)
        return len(messages)

    def delete(self) -> int:
        """Delete all of them; return how many there were."""
        return len(self._dead_letters.take_all())

    def _collect(self) -> list[Json]:
        """Return the messages that are there now, hidden from others.

        All are collected before the first one is sent, so that one that fails again is not sent twice.
        """
        messages: list[Json] = []
        while received := self._dead_letters.receive(hide_s=HIDDEN_S):
            messages += received
        return messages


def _reason(message: Json) -> Json:
    attributes = {
        name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "code": attributes.get("ErrorCode", RECEIVED_TOO_OFTEN),
        "message": attributes.get("ErrorMessage", ""),
        "body": message["Body"][:SHOWN_BODY_CHARS],
        "length": len(message["Body"]),
    }
