"""A handler runs in this process, against a Clopos simulator over real HTTP and against the AWS emulator.

A test calls `call_api`, `run_batch`, `call_webhook` or `refresh`, and checks their results, `output` (logs and
metrics), `clopos` and `aws_calls`.

When a test ends, everything that a handler has output is searched for secrets: see `Output.check_for_leaks`.
"""

import base64
import importlib
import io
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import botocore.client
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import cancellation.aws
import cancellation.exchange
import cancellation.order
from cancellation.telemetry import logger, metrics
from local.emulator.clients import Queue
from local.lambda_events import LambdaContext, sqs_record
from local.simulator import CREDENTIALS, CUSTOMER, inner_token
from tests.conftest import LEAKS
from tools.signing import webhook_headers

Json = dict[str, Any]

EVENTS = Path(__file__).parents[2] / "events"
IGNORE = '{"status": "IGNORE"}'
# The contract's table of errors that Clopos causes: HTTP status, and whether an API caller may try again.
CONTRACT = {
    "order_not_found": (404, False),
    "order_not_cancellable": (409, False),
    "rate_limited": (429, True),
    "clopos_access_denied": (502, False),
    "clopos_bad_response": (502, True),
    "clopos_unavailable": (503, True),
    "clopos_timeout": (504, True),
}
# Of every answer: it must be neither cached nor sniffed.
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Type": "application/json",
}
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"not-a-real-secret-but-32-bytes-!").decode()
# Every cold start of a handler creates AWS clients; without this cache it would read the same files again.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture
def secret(secretsmanager, output):
    """Make a secret and return its ARN."""

    def make(value: str | Json | None = None) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        content = {} if value is None else {"SecretString": text}
        return secretsmanager.create_secret(Name=str(uuid.uuid4()), **content)["ARN"]

    return make


@pytest.fixture
def token(clopos, output):
    """A token that Clopos takes."""
    token = clopos.issue_token()
    output.secrets.add(token)
    return token


# -- output


class Output:
    """The output of a test: stdout and stderr, which go to CloudWatch, answers and messages."""

    def __init__(self, capsys: pytest.CaptureFixture[str], clopos: Any) -> None:
        self._capsys = capsys
        self._clopos = clopos
        self._stdout = self._stderr = ""
        self.sent: list[object] = []  # answers and messages
        self.secrets = {CREDENTIALS["client_secret"], WEBHOOK_SECRET.removeprefix("whsec_")}
        self.private = set(CUSTOMER.values())  # not secret, but private

    def lines(self) -> list[Json]:
        """Return the JSON lines so far."""
        captured = self._capsys.readouterr()
        self._stdout += captured.out
        self._stderr += captured.err
        return [json.loads(line) for line in self._stdout.splitlines()]

    def logs(self, message: str) -> list[Json]:
        """Return the log lines with this message."""
        return [line for line in self.lines() if line.get("message") == message]

    def orders(self) -> list[Json]:
        """Return the log lines with the outcome of an order."""
        return [line for line in self.lines() if "outcome" in line]

    def metrics(self) -> dict[str, list[float]]:
        """Return the values of each metric; not of the first call of a process, which depends on the tests' order."""
        values = defaultdict(list)
        for line in self.lines():
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in directive["Metrics"]:
                    values[metric["Name"]] += line[metric["Name"]]
        values.pop("ColdStart", None)
        return dict(values)

    def check_for_leaks(self) -> None:
        """Check that no eight characters in a row of a secret are in the output, in any case or encoding."""
        self.lines()
        assert self._stderr == ""
        public = "\n".join([self._stdout, *map(repr, self.sent)])
        assert not LEAKS.findall(public)
        assert not [text for text in self.private if text in public]
        pieces: set[str] = set()
        for secret in self._all_secrets():
            for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
                pieces |= eights(form)
        assert not pieces & (eights(public) | eights(unquote(public)))

    def _all_secrets(self) -> set[str]:
        """Return the secrets of the test, the tokens that Clopos was sent, and the tokens inside them."""
        tokens = {call.headers.get("x-token", "") for call in self._clopos.calls(method=None)}
        return self.secrets | tokens | {inner_token(secret) for secret in self.secrets | tokens}


def eights(text: str) -> set[str]:
    """Return all eight characters in a row."""
    return {text[n : n + 8].lower() for n in range(len(text) - 7)}


@pytest.fixture
def output(capsys, monkeypatch, clopos):
    # The current standard output: pytest replaces it for each test and for each phase of a test.
    stream = SimpleNamespace(write=lambda text: sys.stdout.write(text), flush=lambda: sys.stdout.flush())
    monkeypatch.setattr(logger.handlers[0], "stream", stream)
    metrics.clear_metrics()  # of unit tests in the same process, which call no handler that writes them
    output = Output(capsys, clopos)
    yield output
    output.check_for_leaks()


@pytest.fixture
def aws_calls(monkeypatch):
    """The calls to AWS that are made by the handlers: their operations and parameters."""
    calls: list[tuple[str, Json]] = []
    make = botocore.client.BaseClient._make_api_call

    def record(client, operation, parameters):
        calls.append((operation, parameters))
        return make(client, operation, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", record)
    return calls


@pytest.fixture
def connections(clopos, monkeypatch):
    """The connections to Clopos that are opened from now on."""
    opened = []
    connect, ports = socket.socket.connect, {urlsplit(url).port for url in (clopos.url, clopos.tls_url)}

    def record(self, address):
        if address[1] in ports:
            opened.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", record)
    return opened


# -- calling handlers


@pytest.fixture
def environment(clopos, token, secret, monkeypatch):
    """Set the functions' environment: a valid token is in the test's own secret, and there is no refresh.

    A test changes it, before its first call of a handler, with what this returns.
    """
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    places = {"CLOPOS_BASE_URL": clopos.url, "TOKEN_SECRET_ARN": secret(token), "TOKEN_REFRESH_FUNCTION": ""}
    settings = {"EVENT_BUS_NAME": "", "QUEUE_WORKERS": "2", "API_RESERVE": "30"}
    settings["CANCELLATION_TYPES"] = "order.cancelled,order.canceled"
    for name, value in (places | settings).items():
        monkeypatch.setenv(name, value)
    return monkeypatch.setenv


@pytest.fixture
def over_tls(environment, clopos):
    """Let the functions call Clopos over TLS, and trust its certificate."""
    environment("CLOPOS_BASE_URL", clopos.tls_url)
    environment("SSL_CERT_FILE", clopos.ca_file)


@pytest.fixture
def later(monkeypatch):
    """Return a function that makes cached secrets older by some seconds of the wall clock.

    The monotonic one stands still, as it may when Lambda freezes an environment.
    """

    def set_forward(seconds: float) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + seconds)
        monkeypatch.setattr(cancellation.aws, "time", clock)

    return set_forward


@pytest.fixture
def on_queue(sqs, environment):
    """A queue that only this test uses."""
    queue = Queue.create(sqs, VisibilityTimeout="540")
    environment("QUEUE_URL", queue.url)
    return queue


@pytest.fixture
def on_dead_letter_queue(sqs, environment):
    queue = Queue.create(sqs)
    environment("DEAD_LETTER_QUEUE_URL", queue.url)
    return queue


@pytest.fixture
def webhook_secret_arn(secret, environment):
    arn = secret(WEBHOOK_SECRET)
    environment("WEBHOOK_SECRET_ARN", arn)
    return arn


@pytest.fixture
def refreshable(environment, secret, function, monkeypatch):
    """Let workers refresh the token in this process, with the simulator's credentials; one run at a time, as Lambda."""
    environment("CREDENTIALS_SECRET_ARN", secret(CREDENTIALS))
    environment("TOKEN_REFRESH_FUNCTION", "refresh")
    running, make = threading.Lock(), botocore.client.BaseClient._make_api_call

    def call(client, operation, parameters):
        if operation != "Invoke":
            return make(client, operation, parameters)
        if not running.acquire(blocking=False):
            error = {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 429}}, "Invoke")
        try:
            event = json.loads(parameters["Payload"])
            result = function("token_refresh").handler(event, LambdaContext(remaining_s=15))
        finally:
            running.release()
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(result).encode())}

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)


make_client = boto3.client
clients: dict[tuple[object, ...], Any] = {}


def cached_client(service: str, config: Config) -> Any:
    """Return a cached client: creating one takes longer than most tests."""
    endpoints = {name: value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL")}
    key = (service, *sorted(endpoints.items()), config.connect_timeout, config.read_timeout)
    if key not in clients:
        clients[key] = make_client(service, config=config)
    return clients[key]


@pytest.fixture
def function(environment, monkeypatch):
    """Return a handler's module, imported anew for this test, as a cold start does it."""
    monkeypatch.setattr(boto3, "client", cached_client)
    monkeypatch.setattr(cancellation.order, "BACKOFFS_S", (0,) * 6)  # no test waits between two attempts
    started: dict[str, ModuleType] = {}

    def start(name: str, *, again: bool = False) -> ModuleType:
        if name not in started or again:
            sys.modules.pop(name, None)
            started[name] = importlib.import_module(name)
        return started[name]

    return start


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: Json

    @property
    def told(self) -> tuple[int, str | None, bool | None]:
        """What a caller's program goes by: the status, the error's code, and whether to try again."""
        return self.status, self.body.get("error"), self.body.get("retryable")


@pytest.fixture
def invoke(function, output):
    """Give an event to a handler; an API's answer is unpacked."""

    def invoke(name: str, event: Json, **context: Any) -> Any:
        result = json.loads(json.dumps(function(name).handler(event, LambdaContext(**context))))
        output.sent.append(result)
        if "statusCode" not in result:
            return result
        headers = result["headers"]
        assert headers.items() >= HEADERS.items()
        assert set(headers) - {*HEADERS} <= {"Retry-After"}  # above all, nothing about CORS
        assert result["isBase64Encoded"] is False
        return Answer(result["statusCode"], headers, json.loads(result["body"]))

    return invoke


def http_event(name: str, path: str, body: str | None, headers: Json) -> Json:
    """Return an event as API Gateway makes it; a header's value may be a list."""
    event = json.loads((EVENTS / name).read_text())
    headers = {"Content-Type": "application/json", **headers}
    multiple = {name: value if isinstance(value, list) else [value] for name, value in headers.items()}
    single = {name: values[-1] for name, values in multiple.items()}
    return event | {"path": path, "body": body, "headers": single, "multiValueHeaders": multiple}


@pytest.fixture
def call_api(invoke):
    """PUT an order; further arguments replace parts of the event."""

    def call(
        order_id: Any = 108,
        body: str | None = IGNORE,
        headers: Json | None = None,
        remaining_s: float = 28,
        **changes: Any,
    ) -> Answer:
        event = http_event("api.json", f"/orders/{order_id}", body, headers or {})
        event |= {"pathParameters": {"id": str(order_id)}, **changes}
        return invoke("api", event, remaining_s=remaining_s)

    return call


@pytest.fixture
def call_webhook(invoke, on_queue, webhook_secret_arn):
    """POST a webhook, signed as its sender does: with this secret, over this body, at this time."""

    def call(
        body: Any = '{"order_id": 108}',
        *,
        secret: str = WEBHOOK_SECRET,
        signed_body: str | None = None,
        webhook_id: str = "msg_1",
        age_s: float = 0,
        headers: Json | None = None,
        remaining_s: float = 15,
        **event: Any,
    ) -> Answer:
        body = body if isinstance(body, str) else json.dumps(body)
        signed_at = datetime.fromtimestamp(time.time() - age_s, UTC)
        signed = webhook_headers(
            secret, body if signed_body is None else signed_body, webhook_id=webhook_id, signed_at=signed_at
        )
        sent = {name: value for name, value in (signed | (headers or {})).items() if value is not None}
        event = http_event("webhook.json", "/webhooks/cancellations", body, sent) | event
        return invoke("webhook", event, remaining_s=remaining_s)

    return call


@pytest.fixture
def refresh(invoke, refreshable):
    """Run the token refresh in this process; `asked` is a worker's request; without it, a scheduled run."""
    return lambda **asked: invoke("token_refresh", asked)


# -- the queue


@dataclass
class Batch:
    """The result of a batch; messages are identified by their positions in it."""

    ids: list[str]
    fates: list[str]  # done, dead, queued; anything else must not be
    hidden_s: dict[int, int]  # for how long a message was hidden again
    dead: list[Json]  # the messages in the dead-letter queue


@pytest.fixture
def run_batch(invoke, output, aws_calls, on_queue, on_dead_letter_queue) -> Callable[..., Batch]:
    """Send messages, give them to the queue's handler as one batch, and do with them what Lambda does then.

    They are three minutes old, so that an order that Clopos does not know will not come any more.
    """

    def run(*bodies: Any, remaining_s: float = 90, age_s: float = 180, **message: Any) -> Batch:
        left_before = sum(on_queue.counts())
        ids = on_queue.send(*bodies, **message)
        received = {message["MessageId"]: message for message in on_queue.receive()}
        assert set(received) == set(ids), "a test's batch is at most ten messages"
        records = [sqs_record(received[message_id]) for message_id in ids]
        for record in records:
            record["attributes"]["SentTimestamp"] = str(round((time.time() - age_s) * 1000))
        calls_before = len(aws_calls)
        result = invoke("queue_worker", {"Records": records}, remaining_s=remaining_s)
        hidden = {
            entry["ReceiptHandle"]: entry["VisibilityTimeout"]
            for operation, parameters in aws_calls[calls_before:]
            if operation == "ChangeMessageVisibilityBatch"
            for entry in parameters["Entries"]
        }
        failed = [failure["itemIdentifier"] for failure in result["batchItemFailures"]]
        for message_id in set(ids) - set(failed):
            on_queue.delete(received[message_id])
        dead = on_dead_letter_queue.take_all()
        output.sent += dead
        dead_ids = [message["MessageAttributes"]["OriginalMessageId"]["StringValue"] for message in dead]
        fates = [
            " and ".join(["dead"] * dead_ids.count(message_id) + ["queued"] * failed.count(message_id))
            or "done"
            for message_id in ids
        ]
        assert sum(on_queue.counts()) == left_before + fates.count("queued")
        hidden_s = {
            place: hidden[received[message_id]["ReceiptHandle"]]
            for place, message_id in enumerate(ids)
            if received[message_id]["ReceiptHandle"] in hidden
        }
        return Batch(ids, fates, hidden_s, dead)

    return run
