"""The queues: messages, deferring them, and what a dead letter says."""

import json
import math
import random
import re
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cancellation.aws import AWS_ERRORS, call
from cancellation.deadline import Deadline
from cancellation.errors import CancelError, printable
from cancellation.messages import Order, read_correlation_id
from cancellation.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Back-off: a random time in the last third of 2, 4, 8 ... s, at most 300 s: so long may a message stay hidden
# after the cause is gone. For how long 1,000 receives last is calculated in docs/design.md.
BACKOFF_BASE_S = 2
BACKOFF_CAP_S = 300
# In an outage of Clopos, a worker keeps its messages until its deadline (queue_worker.py). After that they
# are hidden only for long enough to let other messages in.
OUTAGE_DELAY_S = (60, 90)
# SQS API reference, ChangeMessageVisibility: 12 hours from the receive, of which a part has passed.
MAX_DELAY_S = 12 * 60 * 60 - 30 * 60
MAX_ATTRIBUTES = 10  # SQS developer guide, message metadata
MAX_MESSAGE_BYTES = 2**20  # SQS quotas (2025), attributes included


@dataclass(frozen=True)
class Message:
    """A message of the queue, as Lambda hands it over."""

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int = 1  # how often SQS has delivered it, this time included
    sent_at: float | None = None  # Unix seconds; None in an event that was made by hand
    attributes: Mapping[str, Any] = field(default_factory=dict)  # in the form of the Lambda event
    trace_header: str | None = None  # of the sender, for X-Ray

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Message":
        """Return the message of one record of an event."""
        system = record["attributes"]
        return cls(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            body=record["body"],
            receive_count=int(system["ApproximateReceiveCount"]),
            sent_at=int(system["SentTimestamp"]) / 1000 if "SentTimestamp" in system else None,
            attributes=record.get("messageAttributes") or {},
            trace_header=system.get("AWSTraceHeader"),
        )

    @property
    def age_s(self) -> float | None:
        """The seconds since it was sent; None if that is not known."""
        return None if self.sent_at is None else max(0.0, time.time() - self.sent_at)

    @property
    def webhook_id(self) -> str | None:
        """The id of the webhook that it came from."""
        value = self._text_of("WebhookId")
        return None if value is None else printable(value)

    @property
    def correlation_id(self) -> str | None:
        """The sender's own id, from the message attribute."""
        return read_correlation_id(self._text_of("CorrelationId"))

    def _text_of(self, attribute: str) -> str | None:
        value = self.attributes.get(attribute, {}).get("stringValue")
        return value if isinstance(value, str) else None


def text_attribute(text: str) -> Any:
    """Return `text` as an attribute of an SQS message."""
    return {"DataType": "String", "StringValue": printable(text)}


def backoff_s(receive_count: int, retry_after_s: float | None) -> int:
    """Return for how long to hide a message after so many receives: at least as long as Clopos asks."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S ** min(receive_count, 20))
    wait_s = max(math.ceil(retry_after_s or 0), round(random.uniform(ceiling * 2 / 3, ceiling)), 1)
    return min(MAX_DELAY_S, wait_s)


class Queue:
    """A queue that messages are sent to, and deferred on."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(
        self, body: str, attributes: Mapping[str, Any], trace_header: str | None, deadline: Deadline
    ) -> str:
        """Send a message and return its id; raises `AWS_ERRORS`."""
        answer = call(
            deadline,
            self._sqs.send_message,
            QueueUrl=self._url,
            MessageBody=body,
            MessageAttributes=attributes,
            MessageSystemAttributes={"AWSTraceHeader": text_attribute(trace_header)} if trace_header else {},
        )
        return answer["MessageId"]

    def defer(self, delays_s: Sequence[tuple[Message, int]], deadline: Deadline) -> None:
        """Hide messages, each for its own number of seconds, with one call."""
        entries: list[Any] = [
            {"Id": str(number), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": delay_s}
            for number, (message, delay_s) in enumerate(delays_s)
        ]
        problem: Any = None
        try:
            answer = call(
                deadline, self._sqs.change_message_visibility_batch, QueueUrl=self._url, Entries=entries
            )
            problem = [failed.get("Code") for failed in answer.get("Failed", [])]
        except AWS_ERRORS as exc:  # refused, not reachable, or too slow
            problem = type(exc).__name__
        if problem:
            # The messages come back anyway, when the visibility timeout of the queue ends.
            logger.warning("visibility not changed", error=problem)


def dead_letter_attributes(message: Message, error: CancelError) -> dict[str, Any]:
    """Return the attributes of a dead letter: the reason, then the message's own, as many as SQS allows."""
    reasons = {
        "ErrorCode": error.code,
        "ErrorMessage": error.message,
        "OriginalMessageId": message.message_id,
    }
    wanted: dict[str, Any] = {name: text_attribute(text) for name, text in reasons.items()}
    for name, sent in message.attributes.items():
        value: dict[str, Any] = {"StringValue": sent.get("stringValue")}
        if sent.get("binaryValue") is not None:
            value = {"BinaryValue": b64decode(sent["binaryValue"])}
        wanted.setdefault(name, {"DataType": sent["dataType"], **value})
    kept: dict[str, Any] = {}
    room = MAX_MESSAGE_BYTES - len(message.body.encode())
    for name, attribute in wanted.items():
        size = len(name.encode()) + sum(
            len(part if isinstance(part, bytes) else str(part).encode()) for part in attribute.values()
        )
        if size <= room and len(kept) < MAX_ATTRIBUTES:
            kept[name] = attribute
            room -= size
    return kept


def order_message(order: Order) -> str:
    """Return the body of a message that asks to cancel an order. A numeric id becomes a JSON number."""
    is_number = re.fullmatch("[1-9][0-9]*", order.order_id)
    order_id = int(order.order_id) if is_number else order.order_id
    return json.dumps({"order_id": order_id, "venue_id": order.venue_id})
