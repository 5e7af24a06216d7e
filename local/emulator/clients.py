"""Clients of the AWS emulator: boto3's own, a queue, and a subscription to the outcomes."""

import json
import os
import uuid
from collections import deque
from functools import cache
from typing import Any, NamedTuple, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials

Json = dict[str, Any]

REGION = "us-east-1"

#: The emulator's root user. All other users and roles are subject to its IAM checks.
ROOT_USER = Credentials("test", "test")

SHOWN_OUTCOMES = 10


def aws_client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of the emulator at this address."""
    return _session().client(
        service,
        endpoint_url=endpoint,
        aws_access_key_id=ROOT_USER.access_key,
        aws_secret_access_key=ROOT_USER.secret_key,
        region_name=REGION,
        config=Config(proxies={}),
    )


@cache
def _session() -> Any:
    """Return a session that ignores what the user has configured for the real AWS."""
    settings = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
    return boto3.Session(botocore_session=botocore.session.Session(settings))


class Counts(NamedTuple):
    """How many messages can be received now, and how many are hidden until their visibility timeout ends."""

    visible: int
    hidden: int


class Queue:
    """A queue of the emulator, by its client of SQS and the queue's URL."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self.url = url

    @classmethod
    def create(cls, sqs: Any, **attributes: str) -> Self:
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

    def receive(self, *, wait_s: int = 0, hide_s: int | None = None) -> list[Json]:
        """Receive up to ten messages with all their attributes.

        They are hidden from other receivers for `hide_s`, by default the queue's visibility timeout.
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


class Outcomes:
    """Reads what the stack publishes on the default bus, as a consumer does: with a rule and a queue."""

    def __init__(self, events: Any, sqs: Any, rule: str) -> None:
        self._latest: deque[Json] = deque(maxlen=SHOWN_OUTCOMES)
        self._queue = Queue.create(sqs)
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["clopos-cancel"]}))
        events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": self._queue.attribute("QueueArn")}])

    def new(self) -> list[Json]:
        """Return the details of the events since the last call, oldest first."""
        return [json.loads(message["Body"])["detail"] for message in self._queue.take_all()]

    def latest(self) -> list[Json]:
        """Return the details of the latest events, newest first."""
        self._latest.extendleft(self.new())
        return list(self._latest)
