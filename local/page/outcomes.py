"""The outcomes that the stack publishes on EventBridge, read as any consumer would: by a rule and a queue."""

import json
from collections import deque
from typing import Any

Json = dict[str, Any]

NAME = "page-outcomes"  # of the rule and of the queue
SOURCE = "clopos-cancel"
SHOWN = 10


class Outcomes:
    """Subscribes to the outcomes on the emulator's default bus.

    Parameters
    ----------
    events, sqs : boto3 client
        Of EventBridge and of SQS.
    """

    def __init__(self, events: Any, sqs: Any) -> None:
        self._sqs = sqs
        self._latest: deque[Json] = deque(maxlen=SHOWN)
        self._queue_url = sqs.create_queue(QueueName=NAME)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])["Attributes"]
        events.put_rule(Name=NAME, EventPattern=json.dumps({"source": [SOURCE]}))
        events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])

    def latest(self) -> list[Json]:
        """Return the details of the latest events, newest first."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self._latest.appendleft(json.loads(message["Body"])["detail"])
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return list(self._latest)
