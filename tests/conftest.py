"""What the tests of every layer share: the environment, the deployed local stack, and its queues.

``tests/unit`` needs neither a build nor a stack; ``tests/handlers`` runs each handler in this process, against the
simulator and the emulator of the deployed stack; ``tests/deployed`` goes through the deployed stack itself.
"""

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

# Before any of the functions' modules is imported. The keys are the emulator's: no test can reach a real account.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
    "POWERTOOLS_METRICS_NAMESPACE": "CloposOrders",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}

from local.stack import LocalStack
from local.xray import Traces

Json = dict[str, Any]

FUNCTIONS = ("ApiFunction", "QueueFunction", "WebhookFunction", "TokenRefreshFunction")

# What no output may hold, whoever made it: a JWT, and a Standard Webhooks signature.
LEAKS = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|v1,[A-Za-z0-9+/]{43}=")


def said_by_functions(stack: LocalStack, traces: Traces) -> str:
    """Return all that the deployed functions have logged and traced."""
    return "\n".join([*(line for name in FUNCTIONS for line in stack.log_lines(name)), traces.text()])


@pytest.fixture(scope="session")
def traces():
    """The X-Ray daemon of the deployed functions."""
    with Traces() as traces:
        yield traces


@pytest.fixture(scope="session")
def stack(traces):
    """The deployed stack: its emulator and its simulator serve the handlers in this process, too."""
    with LocalStack(xray_daemon=traces.address) as stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", stack.endpoint)
        yield stack
        leaks = LEAKS.findall(said_by_functions(stack, traces))
        assert not leaks, "a deployed function wrote a secret into its log or a trace"


@pytest.fixture(scope="session")
def secretsmanager(stack):
    return stack.client("secretsmanager")


@pytest.fixture(scope="session")
def sqs(stack):
    return stack.client("sqs")


@pytest.fixture
def clopos(stack):
    """The simulator, with order 108 waiting to be cancelled."""
    stack.clopos.reset()
    stack.clopos.add_order(108)
    return stack.clopos


@pytest.fixture
def store_token(stack, secretsmanager):
    """Put something into the token secret of the deployed stack."""

    def store(value: str | Json) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        secretsmanager.put_secret_value(SecretId=stack.outputs["TokenSecretArn"], SecretString=text)

    return store


# -- the queue


class Queue:
    """A queue of the emulator."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self.url = url

    def send(self, *bodies: Any, **message: Any) -> list[str]:
        """Send messages and return their ids."""
        return [
            self._sqs.send_message(
                QueueUrl=self.url, MessageBody=body if isinstance(body, str) else json.dumps(body), **message
            )["MessageId"]
            for body in bodies
        ]

    def receive(self, wait_s: int = 0) -> list[Json]:
        """Take up to ten messages."""
        return self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])

    def delete(self, message: Json) -> None:
        self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def take_all(self) -> list[Json]:
        """Take all that can be had, for good."""
        messages = []
        while batch := self.receive():
            messages += batch
            for message in batch:
                self.delete(message)
        return messages

    def counts(self) -> tuple[int, int]:
        """Return how many messages can be had, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def deployed_queues(stack, sqs):
    """The queue of the deployed stack and its dead-letter queue; the test leaves both empty."""
    queue, dead_letters = (Queue(sqs, stack.outputs[name]) for name in ("QueueUrl", "DeadLetterQueueUrl"))
    yield queue, dead_letters
    eventually(lambda: queue.counts() == (0, 0))
    dead_letters.take_all()


PATIENCE_S = 90  # for what takes a second on an idle machine


def eventually(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return the first truth that the condition yields."""
    patience = time.monotonic() + patience_s
    while time.monotonic() < patience:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come true")


# test_template.py and test_alarms.py use them too, and stand here until they move to tests/infrastructure.
from tests.handlers.conftest import *  # noqa: E402, F403
