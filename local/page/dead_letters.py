"""The messages of the dead-letter queue: a look at them, and what can be done with them."""

from typing import Any

Json = dict[str, Any]

SHOWN = 10  # what SQS returns in one call
SHOWN_BODY_CHARS = 200
HIDDEN_S = 30  # while they are moved
RECEIVED_TOO_OFTEN = "received too often"  # SQS itself has moved the message, and gives no reason


class DeadLetters:
    """The dead-letter queue of a stack.

    Parameters
    ----------
    sqs : boto3 client
        Of SQS.
    dead_letter_queue_url, queue_url : str
        Where the messages are, and where they came from.
    """

    def __init__(self, sqs: Any, dead_letter_queue_url: str, queue_url: str) -> None:
        self._sqs = sqs
        self._url = dead_letter_queue_url
        self._queue_url = queue_url

    def peek(self) -> list[Json]:
        """Return `code`, `message`, `body` (cut) and `length` of up to ten messages, and leave them there."""
        return [_reason(message) for message in self._receive(hidden_s=0)]

    def redrive(self) -> int:
        """Send all of them back to the queue, with their attributes; return how many there were."""
        messages = self._collect()
        for message in messages:
            self._sqs.send_message(
                QueueUrl=self._queue_url,
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            self._delete(message)
        return len(messages)

    def delete(self) -> int:
        """Delete all of them; return how many there were."""
        messages = self._collect()
        for message in messages:
            self._delete(message)
        return len(messages)

    def _collect(self) -> list[Json]:
        """Return the messages that are there now, hidden from others.

        All are collected before the first one is sent: one that fails again at once is not met twice.
        """
        messages: list[Json] = []
        while received := self._receive(hidden_s=HIDDEN_S):
            messages += received
        return messages

    def _receive(self, hidden_s: int) -> list[Json]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MessageAttributeNames=["All"],
            MaxNumberOfMessages=SHOWN,
            VisibilityTimeout=hidden_s,
        )
        return list(answer.get("Messages", []))

    def _delete(self, message: Json) -> None:
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])


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
