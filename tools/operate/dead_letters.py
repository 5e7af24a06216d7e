"""Read a dead-letter queue without losing messages: they are only hidden, and can be put back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10  # the most that one call of SQS takes
LONG_POLL_S = 2  # a short poll asks only some of the servers of SQS, and may miss the last few messages

#: Stands for the code of a message that SQS itself moved after its last receive: it has no `ErrorCode`.
NO_CODE = "none"


class Letter:
    """A dead letter. Only ids are read from its body, which may hold a customer's data."""

    def __init__(self, message: MessageTypeDef) -> None:
        self.message, self.id = message, message["MessageId"]
        self.code = self.attribute("ErrorCode") or NO_CODE
        self.reason = self.attribute("ErrorMessage") or "moved by SQS after its last receive"
        # To the dead-letter queue; if SQS moved it, to the queue.
        self.sent_at = int(message["Attributes"]["SentTimestamp"]) / 1000
        receipt = re.search(r"receipt is (\d+)", self.reason)
        self.receipt = receipt[1] if receipt else ""
        found = find_order(message["Body"])
        self.order, self.venue = (as_id(found.get(name)) for name in ("order_id", "venue_id"))

    def attribute(self, name: str) -> str:
        """Return one of the message's own attributes; empty if it has none of this name."""
        return self.message.get("MessageAttributes", {}).get(name, {"DataType": ""}).get("StringValue", "")


def find_order(value: Any, depth: int = 8) -> dict[str, Any]:
    """Return the object that names the order, whatever it is wrapped in; empty if there is none."""
    if isinstance(value, str) and depth:
        try:
            return find_order(json.loads(value), depth - 1)
        except (ValueError, RecursionError):  # text, or nested too deeply
            return {}
    if not isinstance(value, dict) or not depth:
        return {}
    inside = (find_order(value.get(name), depth - 1) for name in ("Message", "detail", "data"))
    return value if "order_id" in value else next(filter(None, inside), {})


def as_id(value: object) -> str:
    """Return an id as text; empty if it cannot be one."""
    text = str(value) if type(value) in (int, str) else ""
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) else ""


def take(
    sqs: SQSClient, url: str, *, limit: int, hidden_s: int, report: Callable[[str], None] = lambda text: None
) -> list[Letter]:
    """Receive up to `limit` messages, each once, and hide them from others; `put_back` ends that."""
    taken: dict[str, Letter] = {}
    while len(taken) < limit:
        received = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, limit - len(taken)),
            WaitTimeSeconds=LONG_POLL_S,
            VisibilityTimeout=hidden_s,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp", "AWSTraceHeader"],
        )
        before = len(taken)
        taken |= {message["MessageId"]: Letter(message) for message in received.get("Messages", [])}
        if len(taken) == before:  # none are left, or the first ones are visible again
            break
        report(f"Read {len(taken)} dead letters")
    return list(taken.values())


def put_back(sqs: SQSClient, url: str, letters: Sequence[Letter]) -> None:
    """Make messages visible again at once; one for which that fails becomes visible a little later."""
    for start in range(0, len(letters), BATCH):
        sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": letter.message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + BATCH])
            ],
        )


def message_counts(sqs: SQSClient, url: str) -> tuple[int, int]:
    """Return the approximate numbers of visible messages, and of hidden or delayed ones."""
    counts: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    name = "ApproximateNumberOfMessages"
    visible, *hidden = (int(counts[f"{name}{kind}"]) for kind in ("", "NotVisible", "Delayed"))
    return visible, sum(hidden)
