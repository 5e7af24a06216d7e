"""Read a dead-letter queue without losing messages: they are only hidden, and can be put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10  # the most that one call of SQS takes
LONG_POLL_S = 2  # a short poll asks only some of the servers of SQS, and may miss the last few messages

#: Stands for the code of a message that SQS itself moved after its last receive: it has no `ErrorCode`.
NO_CODE = "none"


def take(
    sqs: SQSClient, url: str, *, limit: int, hidden_s: int, report: Callable[[int], None] = lambda count: None
) -> list[MessageTypeDef]:
    """Receive messages without deleting them.

    Parameters
    ----------
    sqs : SQSClient
        A client of SQS.
    url : str
        The queue's URL.
    limit : int
        The most messages to take.
    hidden_s : int
        Seconds for which they are hidden from others; `put_back` ends that.
    report : callable
        Called after each batch with the number of messages so far.

    Returns
    -------
    list
        The messages with all their attributes, each once.
    """
    taken: dict[str, MessageTypeDef] = {}
    while len(taken) < limit:
        received = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, limit - len(taken)),
            WaitTimeSeconds=LONG_POLL_S,
            VisibilityTimeout=hidden_s,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp", "AWSTraceHeader"],
        ).get("Messages", [])
        before = len(taken)
        taken |= {message["MessageId"]: message for message in received}
        if len(taken) == before:  # none are left, or the first ones are visible again
            break
        report(len(taken))
    return list(taken.values())


def put_back(sqs: SQSClient, url: str, messages: Sequence[MessageTypeDef]) -> None:
    """Make messages visible again at once; one for which that fails becomes visible a little later."""
    for start in range(0, len(messages), BATCH):
        sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, message in enumerate(messages[start : start + BATCH])
            ],
        )


def text_attribute(message: MessageTypeDef, name: str) -> str:
    """Return an attribute of a message; empty if it has none of this name."""
    attribute = message.get("MessageAttributes", {}).get(name)
    return attribute.get("StringValue", "") if attribute else ""


def error_code(message: MessageTypeDef) -> str:
    """Return why a message is in the dead-letter queue."""
    return text_attribute(message, "ErrorCode") or NO_CODE


def message_counts(sqs: SQSClient, url: str) -> tuple[int, int]:
    """Return the approximate numbers of visible messages, and of hidden or delayed ones."""
    counts = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return (
        int(counts["ApproximateNumberOfMessages"]),
        int(counts["ApproximateNumberOfMessagesNotVisible"])
        + int(counts["ApproximateNumberOfMessagesDelayed"]),
    )
