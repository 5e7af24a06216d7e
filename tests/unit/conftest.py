"""A clock that stands still until a test moves it, and the handlers with AWS and Clopos played by fakes."""

import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

FUNCTIONS = Path(__file__).parents[2] / "functions"
VARIABLES = {
    "CLOPOS_BASE_URL": "http://clopos.invalid",
    "TOKEN_SECRET_ARN": "token",
    "CREDENTIALS_SECRET_ARN": "credentials",
    "WEBHOOK_SECRET_ARN": "webhook",
    "TOKEN_REFRESH_FUNCTION": "refresh",
    "QUEUE_URL": "queue",
    "DEAD_LETTER_QUEUE_URL": "dead-letters",
    "QUEUE_WORKERS": "2",
    "API_RESERVE": "30",
    "EVENT_BUS_NAME": "",
    "CANCELLATION_TYPES": "order.cancelled",
}


class Clock:
    """The time: `sleep` moves it, and it remembers for how long."""

    def __init__(self):
        self.now = 1_800_000_000.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.sleep(seconds))
    return clock


class FakeAws:
    """Secrets Manager as a dictionary; whatever else is called must be added by the test."""

    class ResourceNotFoundException(ClientError):
        pass

    exceptions = SimpleNamespace(ResourceNotFoundException=ResourceNotFoundException)

    def __init__(self):
        self.secrets = {}
        self.reads = []
        self.failure = None

    def get_secret_value(self, SecretId, VersionStage):  # noqa: N803 - boto3's names
        self.reads.append(SecretId)
        if self.failure:
            raise self.failure
        if SecretId not in self.secrets:
            raise self.ResourceNotFoundException({"Error": {"Code": "ResourceNotFound"}}, "GetSecretValue")
        return {"SecretString": self.secrets[SecretId]}

    def put_secret_value(self, SecretId, SecretString):  # noqa: N803
        self.secrets[SecretId] = SecretString


ACCESS_DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")


@pytest.fixture
def aws(monkeypatch):
    aws = FakeAws()
    monkeypatch.setattr(boto3, "client", lambda *_, **__: aws)
    return aws


@pytest.fixture
def load(aws, monkeypatch):
    """Load a handler's module as a new execution environment does."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)

    def load(name):
        spec = spec_from_file_location(name, FUNCTIONS / f"{name}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def context():
    return SimpleNamespace(
        aws_request_id="request-1",
        function_name="function",
        memory_limit_in_mb=256,
        invoked_function_arn="arn",
        get_remaining_time_in_millis=lambda: 100_000,
    )
