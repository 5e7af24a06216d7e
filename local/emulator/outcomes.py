"""Read the outcomes that the stack publishes on EventBridge, as a consumer does: with a rule and a queue."""

import json
from collections import deque
from typing import Any

from local.emulator.queues import Queue

Json = dict[str, Any]

SOURCE = "clopos-cancel"
SHOWN = 10


class Outcomes:
    """Subscribes to the outcomes on the emulator's default bus.

    Parameters
    ----------
    events, sqs : boto3 client
        Clients of EventBridge and SQS.
    rule : str
        Name of the rule to create.
    """

    def __init__(self, events: Any, sqs: Any, rule: str) -> None:
        self._latest: deque[Json] = deque(maxlen=SHOWN)
        self._queue = Queue.create(sqs)
        target = {"Id": "queue", "Arn": self._queue.attribute("QueueArn")}
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [SOURCE]}))
        events.put_targets(Rule=rule, Targets=[target])

    def new(self) -> list[Json]:
        """Return the details of the events since the last call, oldest first."""
        return [json.loads(message["Body"])["detail"] for message in self._queue.take_all()]

    def latest(self) -> list[Json]:
        """Return the details of the latest events, newest first."""
        self._latest.extendleft(self.new())
        return list(self._latest)
