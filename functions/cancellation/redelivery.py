"""What becomes of a message that was not done: it comes back later, or goes to the dead-letter queue."""

import math
import random
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cancellation.errors import CancelError, printable
from cancellation.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

# Back-off: a random time between 1 s and 2, 4, 8 ... s, 300 s at most ("full jitter").
# The cap is how long a message sleeps at most after Clopos is back: five minutes.
# It also says how many receives an outage costs: with 150 s on average, six hours are 144 (standard deviation
# 7), and the ramp 8 more. template.yaml allows 300, which is half a day.
BACKOFF_BASE_S = 2
BACKOFF_CAP_S = 300
BACKOFF_FLOOR_S = 1
SQS_MAX_VISIBILITY_S = 12 * 60 * 60  # SQS API reference, ChangeMessageVisibility
SQS_MAX_ATTRIBUTES = 10  # SQS developer guide, message metadata
SQS_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})


def text_attribute(text: str) -> "MessageAttributeValueTypeDef":
    """Return `text` as an attribute of an SQS message."""
    return {"DataType": "String", "StringValue": printable(text)}


def delay_s(
    receive_count: int, asked_s: float | None, uniform: Callable[[float, float], float] = random.uniform
) -> int:
    """Return the seconds for which a message that was not done stays hidden.

    Parameters
    ----------
    receive_count : int
        How often SQS has delivered it, this time included.
    asked_s : float or None
        The seconds that Clopos asked for: the least that is waited.
    uniform : callable
        The source of randomness.
    """
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S ** min(receive_count, 20))
    jittered = uniform(BACKOFF_FLOOR_S, max(BACKOFF_FLOOR_S, ceiling))
    return min(SQS_MAX_VISIBILITY_S, max(math.ceil(asked_s or 0), round(jittered)))


class Redelivery:
    """The two ways back for a message: to its queue, later, or to the dead-letter queue, at once.

    Parameters
    ----------
    queue_url : str
        The queue that the messages come from.
    dead_letter_queue_url : str
        Where messages go that no retry can help.
    """

    def __init__(self, queue_url: str, dead_letter_queue_url: str) -> None:
        self._queue_url = queue_url
        self._dead_letter_queue_url = dead_letter_queue_url
        self._sqs: SQSClient = boto3.client("sqs", config=SQS_CONFIG)

    def hand_back(self, record: SQSRecord, asked_s: float | None) -> None:
        """Leave a message on its queue, hidden for a growing time; at least `asked_s` seconds."""
        delay = delay_s(int(record.attributes.approximate_receive_count), asked_s)
        try:
            self._sqs.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=record.receipt_handle, VisibilityTimeout=delay
            )
        except (ClientError, BotoCoreError) as exc:
            # It comes back all the same, when the queue's own visibility timeout ends.
            logger.warning("visibility not changed", message_id=record.message_id, error=type(exc).__name__)

    def dead_letter(self, record: SQSRecord, error: CancelError) -> bool:
        """Copy a message to the dead-letter queue with its reasons, and return whether that worked."""
        reasons = {
            "ErrorCode": error.code,
            "ErrorMessage": error.message,
            "OriginalMessageId": record.message_id,
        }
        attributes: dict[str, Any] = {name: text_attribute(value) for name, value in reasons.items()}
        for name, sent in record.raw_event.get("messageAttributes", {}).items():
            if len(attributes) < SQS_MAX_ATTRIBUTES and name not in reasons:
                binary = sent.get("binaryValue")
                value = (
                    {"StringValue": sent.get("stringValue")}
                    if binary is None
                    else {"BinaryValue": b64decode(binary)}
                )
                attributes[name] = {"DataType": sent["dataType"], **value}
        trace = record.attributes.aws_trace_header
        try:
            self._sqs.send_message(
                QueueUrl=self._dead_letter_queue_url,
                MessageBody=record.body,
                MessageAttributes=attributes,
                MessageSystemAttributes={"AWSTraceHeader": text_attribute(trace)} if trace else {},
            )
        except (ClientError, BotoCoreError) as exc:
            # It stays on its queue, and SQS's own redrive moves it in the end.
            logger.error(
                "message not moved to the dead-letter queue",
                message_id=record.message_id,
                error=type(exc).__name__,
            )
            return False
        return True
