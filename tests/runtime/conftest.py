"""Execution environments for the tests: against the emulator and the simulator of the deployed stack."""

import base64
import contextlib
import importlib.metadata
import importlib.util
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.common import ROOT
from local.emulator.clients import ROOT_USER
from local.signing import webhook_headers
from local.simulator import CREDENTIALS
from tests.runtime.environment import Environment
from tests.runtime.relay import Relay

Json = dict[str, Any]
Start = Callable[..., Environment]

#: The runtime client and what it imports.
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"not-a-real-secret-but-32-bytes-!").decode()
SESSION_TOKEN = "not-a-real-session-token"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("awslambdaric"):
        return
    skip = pytest.mark.skip(
        reason=f"AWS's runtime client has no wheel for this Python ({sys.version.split()[0]}) here"
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """A folder with the runtime client, and nothing else of this virtual environment."""
    folder = tmp_path_factory.mktemp("runtime-client")
    for distribution in map(importlib.metadata.distribution, CLIENT):
        for name in {file.parts[0] for file in distribution.files or ()}:
            (folder / name).symlink_to(distribution.locate_file(name))
    return folder


@pytest.fixture
def clopos_relay(clopos):
    with Relay(clopos.url) as relay:
        yield relay


@pytest.fixture
def aws_relay(stack):
    with Relay(stack.endpoint) as relay:
        yield relay


@pytest.fixture
def secrets():
    """What no output may hold. A test adds the secrets that it makes."""
    return {SESSION_TOKEN, CREDENTIALS["client_secret"], WEBHOOK_SECRET.removeprefix("whsec_")}


@pytest.fixture
def make_secret(stack):
    def make(value: str | Json) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        client = stack.client("secretsmanager")
        return client.create_secret(Name=str(uuid.uuid4()), SecretString=text)["ARN"]

    return make


@pytest.fixture
def make_queue(stack):
    def make(**attributes: str) -> str:
        return stack.client("sqs").create_queue(QueueName=str(uuid.uuid4()), Attributes=attributes)[
            "QueueUrl"
        ]

    return make


@pytest.fixture
def references(clopos, clopos_relay, secrets, make_secret, make_queue):
    """What the template's references stand for: a good token, queues of the test's own. A test may change them."""
    token = clopos.issue_token()
    secrets.add(token)
    return {
        "CLOPOS_BASE_URL": clopos_relay.url,
        "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
        "TOKEN_SECRET_ARN": make_secret(token),
        "TOKEN_REFRESH_FUNCTION": "",
        "CREDENTIALS_SECRET_ARN": make_secret(CREDENTIALS),
        "WEBHOOK_SECRET_ARN": make_secret(WEBHOOK_SECRET),
        "QUEUE_URL": make_queue(),
        "DEAD_LETTER_QUEUE_URL": make_queue(),
        "QUEUE_WORKERS": "2",
        "API_RESERVE": "30",
        "CANCELLATION_TYPES": "order.cancelled,order.canceled",
        "EVENT_BUS_NAME": "",
    }


@pytest.fixture
def start(traces, client, references, secrets, aws_relay):
    """Start an execution environment of a function.

    When the test ends, every line that came out of it is one JSON object, and none holds a secret.
    """
    environments: list[Environment] = []

    with contextlib.ExitStack() as running:

        def start(function: str, *, wrapper: Path | None = None, **variables: str) -> Environment:
            of_lambda = {
                "AWS_ACCESS_KEY_ID": ROOT_USER.access_key,
                "AWS_SECRET_ACCESS_KEY": ROOT_USER.secret_key,
                "AWS_SESSION_TOKEN": SESSION_TOKEN,
                "AWS_ENDPOINT_URL": aws_relay.url,
                "AWS_XRAY_DAEMON_ADDRESS": traces.address,
                **variables,
            }
            environments.append(
                running.enter_context(Environment(function, client, references, of_lambda, wrapper=wrapper))
            )
            return environments[-1]

        yield start
    for environment in environments:
        for line in environment.lines:
            assert is_object(line), line
            assert not [secret for secret in secrets if secret in line]


def is_object(line: str) -> bool:
    """Whether a line is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:  # not JSON
        return False


def event(name: str) -> Json:
    """Return an event as AWS sends it."""
    loaded: Json = json.loads((ROOT / "events" / name).read_text())
    return loaded


def webhook_event() -> Json:
    """Return the webhook's event, signed just now."""
    webhook = event("webhook.json")
    webhook_id = webhook["headers"]["webhook-id"]
    signed = webhook_headers(WEBHOOK_SECRET, webhook["body"], webhook_id=webhook_id)
    webhook["headers"] |= signed
    webhook["multiValueHeaders"] |= {name: [value] for name, value in signed.items()}
    return webhook


def receive(sqs: Any, queue_url: str, wait_s: int = 0) -> list[Json]:
    """Return a batch of messages as Lambda hands them over."""
    received = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["All"],
    )
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
            "awsRegion": "us-east-1",
        }
        for message in received.get("Messages", [])
    ]
