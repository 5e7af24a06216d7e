"""A queue of the emulator."""

import json
import uuid
from typing import Any, NamedTuple

Json = dict[str, Any]


class Counts(NamedTuple):
    """How many messages are on a queue.

    Attributes
    ----------
    visible : int
        Can be received now.
    hidden : int
        Have been received, and are hidden until their visibility timeout ends.
    """

    visible: int
    hidden: int


class Queue:
    """A queue of the emulator.

    Parameters
    ----------
    sqs : SQS.Client
        The emulator's.
    url : str
        The queue's URL.
    """

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self.url = url

    @classmethod
    def create(cls, sqs: Any, **attributes: str) -> "Queue":
        """Create a queue with an unused name and these attributes."""
        return cls(sqs, sqs.create_queue(QueueName=str(uuid.uuid4()), Attributes=attributes)["QueueUrl"])

    def attribute(self, name: str) -> str:
        """Return one of the queue's attributes."""
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return str(found["Attributes"][name])

    def send(self, *bodies: Any, **message: Any) -> list[str]:
        """Send a message for each body (a string as it is, anything else as JSON) and return their ids."""
        return [
            self._sqs.send_message(QueueUrl=self.url, MessageBody=_text(body), **message)["MessageId"]
            for body in bodies
        ]

    def send_many(self, *bodies: Any) -> None:
        """Send a message for each body, ten at a time.

        Raises
        ------
        RuntimeError
            If the emulator does not accept all of them.
        """
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": _text(body)}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            answer = self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
            if answer.get("Failed"):
                raise RuntimeError(f"the emulator did not accept all messages: {answer['Failed']}")

    def receive(self, *, wait_s: int = 0, hide_s: int | None = None) -> list[Json]:
        """Receive up to ten messages with all their attributes.

        Parameters
        ----------
        wait_s : int
            How long to wait for a message.
        hide_s : int, optional
            How long they are hidden from other receivers, by default the queue's visibility timeout.
        """
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **({} if hide_s is None else {"VisibilityTimeout": hide_s}),
        )
        return list(answer.get("Messages", []))

    def delete(self, message: Json) -> None:
        """Delete a message that was received."""
        self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def take_all(self) -> list[Json]:
        """Receive and delete all messages that are visible."""
        messages = []
        while batch := self.receive():
            messages += batch
            for message in batch:
                self.delete(message)
        return messages

    def counts(self) -> Counts:
        """Return how many messages are visible, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return Counts(*(int(found[name]) for name in names))


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
