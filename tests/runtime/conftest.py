"""Execution environments for the tests: against the emulator and the simulator of the deployed stack."""

import base64
import contextlib
import importlib.metadata
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.common import BUILD, ROOT
from local.emulator.clients import ROOT_USER, Queue
from local.emulator.deploy import built_template, functions
from local.lambda_events import environment_variables, sqs_record
from local.simulator import CREDENTIALS
from tests.runtime.environment import Environment
from tests.runtime.relay import Relay
from tools.signing import webhook_headers

Json = dict[str, Any]

#: The runtime client and what it imports.
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"not-a-real-secret-but-32-bytes-!").decode()
SESSION_TOKEN = "not-a-real-session-token"
#: An event for each function, to which it answers with success.
EVENTS = {
    "ApiFunction": "api.json",
    "QueueFunction": "queue-standard-webhooks.json",
    "WebhookFunction": "webhook.json",
    "TokenRefreshFunction": "schedule.json",
}


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """A folder with the runtime client, and nothing else of this virtual environment."""
    pytest.importorskip("awslambdaric", reason="AWS's runtime client has no wheel for this Python here")
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
def queue(sqs):
    return Queue.create(sqs)


@pytest.fixture
def dead_letters(sqs):
    return Queue.create(sqs)


@pytest.fixture
def secrets():
    """What no output may hold. A test adds the secrets that it makes."""
    return {SESSION_TOKEN, CREDENTIALS["client_secret"], WEBHOOK_SECRET.removeprefix("whsec_")}


@pytest.fixture
def references(clopos, clopos_relay, secrets, secretsmanager, queue, dead_letters):
    """What the template's references stand for: a good token, queues of the test's own. A test may change them."""

    def secret(value: str) -> str:
        return secretsmanager.create_secret(Name=str(uuid.uuid4()), SecretString=value)["ARN"]

    token = clopos.issue_token()
    secrets.add(token)
    return {
        "CLOPOS_BASE_URL": clopos_relay.url,
        "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
        "TOKEN_SECRET_ARN": secret(token),
        "TOKEN_REFRESH_FUNCTION": "",
        "CREDENTIALS_SECRET_ARN": secret(json.dumps(CREDENTIALS)),
        "WEBHOOK_SECRET_ARN": secret(WEBHOOK_SECRET),
        "QUEUE_URL": queue.url,
        "DEAD_LETTER_QUEUE_URL": dead_letters.url,
    }


@pytest.fixture
def start(traces, client, references, secrets, aws_relay):
    """Start an execution environment of a function, whose handler may be called through one of `wrappers`.

    When the test ends, every line that came out of it is one JSON object, and none holds a secret.
    """
    environments: list[Environment] = []

    with contextlib.ExitStack() as running:

        def start(function: str, *, wrapper: str = "", **more: str) -> Environment:
            template, artifact = built_template(), BUILD / function
            properties = functions(template)[function]
            variables = {
                **environment_variables(template, function, artifact, references),
                "PYTHONPATH": os.pathsep.join(map(str, (artifact, client, Path(__file__).parent))),
                "AWS_ACCESS_KEY_ID": ROOT_USER.access_key,
                "AWS_SECRET_ACCESS_KEY": ROOT_USER.secret_key,
                "AWS_SESSION_TOKEN": SESSION_TOKEN,
                "AWS_ENDPOINT_URL": aws_relay.url,
                "AWS_XRAY_DAEMON_ADDRESS": traces.address,
                **more,
            }
            if wrapper:
                variables["WRAPPED_MODULE"] = properties["Handler"].partition(".")[0]
                variables["_HANDLER"] = f"wrappers.{wrapper}"
            environments.append(Environment(variables, properties["Timeout"]))
            running.callback(environments[-1].kill)
            return environments[-1]

        yield start
    for environment in environments:
        for line in environment.lines:
            assert isinstance(json.loads(line), dict)
            assert not [secret for secret in secrets if secret in line]


def event(name: str) -> Json:
    """Return an event as AWS sends it; a webhook is signed just now."""
    loaded: Json = json.loads((ROOT / "events" / name).read_text())
    if name == "webhook.json":
        webhook_id = loaded["headers"]["webhook-id"]
        signed = webhook_headers(WEBHOOK_SECRET, loaded["body"], webhook_id=webhook_id)
        loaded["headers"] |= signed
        loaded["multiValueHeaders"] |= {name: [value] for name, value in signed.items()}
    return loaded


def batch(queue: Queue) -> Json:
    """Receive messages, and return the event with which Lambda hands them over."""
    return {"Records": [sqs_record(message) for message in queue.receive(wait_s=5)]}
