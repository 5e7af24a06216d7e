"""Fixtures for the tests of all layers: the environment, the deployed local stack, and its queues.

``tests/unit`` needs neither a build nor a stack; ``tests/handlers`` runs each handler in this process, against the
simulator and the emulator of the deployed stack; ``tests/deployed`` goes through the deployed stack itself.
"""

import json
import os
import re
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

from local.common import wait_for
from local.stack import LocalStack
from tests.traces import Traces

Json = dict[str, Any]

FUNCTIONS = ("ApiFunction", "QueueFunction", "WebhookFunction", "TokenRefreshFunction")

# What no output may contain: a JWT, or a Standard Webhooks signature.
LEAKS = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|v1,[A-Za-z0-9+/]{43}=")


def log_lines(stack: LocalStack, function: str) -> list[str]:
    """Return what the function with this logical id has logged so far, oldest first."""
    group = stack.physical_id(function.replace("Function", "LogGroup"))
    pages = stack.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for page in pages for event in page["events"]]


def logs(stack: LocalStack, function: str) -> list[Json]:
    """Return the JSON objects among them: the lines of the code, not those of Lambda."""
    return [json.loads(line) for line in log_lines(stack, function) if line.startswith("{")]


def output_of_functions(stack: LocalStack, traces: Traces) -> str:
    """Return everything that the deployed functions have logged and traced."""
    return "\n".join([*(line for name in FUNCTIONS for line in log_lines(stack, name)), *traces.segments])


@pytest.fixture(scope="session")
def traces():
    """The X-Ray daemon of the deployed functions."""
    with Traces() as traces:
        yield traces


@pytest.fixture(scope="session")
def stack(traces):
    """The deployed stack: its emulator and its simulator serve the handlers in this process, too."""
    settings = {"tls": True}
    with (
        LocalStack(xray_daemon=traces.address, settings=settings) as stack,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("AWS_ENDPOINT_URL", stack.endpoint)
        yield stack
        leaks = LEAKS.findall(output_of_functions(stack, traces))
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
def deployed_queues(stack, sqs):
    """The queue of the deployed stack and its dead-letter queue; the test leaves both empty."""
    queue, dead_letters = stack.queue, stack.dead_letters
    yield queue, dead_letters
    eventually(lambda: queue.counts() == (0, 0))
    dead_letters.take_all()


WAIT_LIMIT_S = 90  # for what takes a second on an idle machine


def eventually(condition: Callable[[], Any], timeout_s: float = WAIT_LIMIT_S) -> Any:
    """Return the first true value that the condition returns."""
    found = wait_for(condition, timeout_s)
    assert found, f"the condition was not true within {timeout_s} s"
    return found
