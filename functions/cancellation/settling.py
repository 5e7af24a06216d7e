"""Defer or dead-letter the messages whose orders were not cancelled."""

import json
import math
import random
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cancellation.aws import AWS_ERRORS, call, client
from cancellation.deadline import Deadline
from cancellation.errors import CancelError, printable
from cancellation.telemetry import logger

# Back-off: a random time in the last third of 2, 4, 8 ... s, 300 s at most.
# The cap is the longest that a message stays hidden after the cause is gone: five minutes.
# It also determines how often a message is received if Clopos denies access for a weekend (60 h): with 250 s
# on average, 216,000 s / 250 s = 864 times (standard deviation 4), plus 9 in the beginning. template.yaml
# allows 1,000.
BACKOFF_BASE_S = 2
BACKOFF_CAP_S = 300
# In an outage of Clopos, a worker keeps its messages until its deadline (outage.py). After that they are
# hidden only for long enough to let other messages in.
OUTAGE_DELAY_S = (60, 90)
# SQS API reference, ChangeMessageVisibility: 12 hours from the receive, of which a part has passed.
MAX_DELAY_S = 12 * 60 * 60 - 30 * 60
MAX_ATTRIBUTES = 10  # SQS developer guide, message metadata
MAX_MESSAGE_BYTES = 2**20  # SQS quotas (2025), attributes included


@dataclass(frozen=True)
class Message:
    """A message of the queue, as Lambda hands it over.

    Attributes
    ----------
    message_id, receipt_handle, body : str
        As received from SQS.
    receive_count : int
        How often SQS has delivered it, this time included.
    sent_at : float
        Unix seconds.
    attributes : mapping
        Its message attributes, in the form of the Lambda event.
    trace_header : str or None
        The sender's X-Ray trace header.
    """

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int = 1
    sent_at: float = math.inf
    attributes: Mapping[str, Any] = field(default_factory=dict)
    trace_header: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Message":
        """Return the message of one record of an event."""
        system = record["attributes"]
        return cls(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            body=record["body"],
            receive_count=int(system["ApproximateReceiveCount"]),
            sent_at=int(system.get("SentTimestamp", 0)) / 1000 or math.inf,
            attributes=record.get("messageAttributes") or {},
            trace_header=system.get("AWSTraceHeader"),
        )

    @property
    def ids(self) -> dict[str, str | None]:
        """The ids that join it to its log lines, its outcome event and the webhook that it came from."""
        webhook_id, correlation_id = (self._text_of(name) for name in ("WebhookId", "CorrelationId"))
        return {
            "message_id": self.message_id,
            "webhook_id": webhook_id,
            "correlation_id": correlation_id,
        }

    def _text_of(self, attribute: str) -> str | None:
        """Return a text attribute; None if there is none of this name."""
        value = self.attributes.get(attribute, {}).get("stringValue")
        return printable(value) if isinstance(value, str) else None


def text_attribute(text: str) -> dict[str, str]:
    """Return `text` as an attribute of an SQS message."""
    return {"DataType": "String", "StringValue": printable(text)}


def backoff_s(
    receive_count: int, asked_s: float | None, uniform: Callable[[float, float], float] = random.uniform
) -> int:
    """Return the seconds for which a deferred message stays hidden.

    Parameters
    ----------
    receive_count : int
        How often SQS has delivered it, this time included.
    asked_s : float or None
        The seconds that Clopos asked us to wait: the minimum.
    uniform : callable
        The random function; tests replace it.
    """
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S ** min(receive_count, 20))
    return min(MAX_DELAY_S, max(math.ceil(asked_s or 0), round(uniform(ceiling * 2 / 3, ceiling)), 1))


class Settling:
    """Defers messages, and moves those that are at fault to the dead-letter queue.

    Parameters
    ----------
    queue_url, dead_letter_queue_url : str
        The queue of the messages, and the queue to move them to.
    """

    def __init__(self, queue_url: str, dead_letter_queue_url: str) -> None:
        self._queue_url = queue_url
        self._dead_letter_queue_url = dead_letter_queue_url
        self._sqs = client("sqs")

    def defer(self, delays_s: Mapping[str, int], deadline: Deadline) -> None:
        """Hide messages with one call. `delays_s` are the seconds, by receipt handle."""
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": delay_s}
            for number, (handle, delay_s) in enumerate(delays_s.items())
        ]
        problem: Any = None
        try:
            answer = call(
                self._sqs.change_message_visibility_batch, deadline, QueueUrl=self._queue_url, Entries=entries
            )
            problem = [failed.get("Code") for failed in answer.get("Failed", [])]
        except AWS_ERRORS as exc:  # refused, not reachable, or too slow
            problem = type(exc).__name__
        if problem:
            # The messages come back anyway, when the visibility timeout of the queue ends.
            logger.warning("visibility not changed", error=problem)

    def dead_letter(self, message: Message, error: CancelError, deadline: Deadline) -> bool:
        """Copy a message to the dead-letter queue, with the reason; return whether that worked."""
        try:
            trace = message.trace_header
            call(
                self._sqs.send_message,
                deadline,
                QueueUrl=self._dead_letter_queue_url,
                MessageBody=message.body,
                MessageAttributes=_attributes(message, error),
                MessageSystemAttributes={"AWSTraceHeader": text_attribute(trace)} if trace else {},
            )
        except Exception as exc:  # noqa: BLE001 - AWS_ERRORS, or attributes in an unknown form
            # The message stays on its queue; SQS's own redrive policy is the last resort.
            logger.error(
                "message not moved to the dead-letter queue",
                message_id=message.message_id,
                error=type(exc).__name__,
            )
            return False
        return True


def _attributes(message: Message, error: CancelError) -> dict[str, Any]:
    """Return the attributes of the copy: the reason, then the message's own, as many as SQS allows."""
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


def order_message(order_id: str, venue_id: int | None) -> str:
    """Return the body of a message that asks to cancel an order. A numeric id becomes a JSON number."""
    is_number = re.fullmatch("[1-9][0-9]*", order_id)
    return json.dumps({"order_id": int(order_id) if is_number else order_id, "venue_id": venue_id})
