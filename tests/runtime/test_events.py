"""What AWS sends to each function is answered as the contract says, and what is not meant for it by an error."""

import json
import sys

import pytest

from tests.runtime.conftest import EVENTS, event
from tools.build import RUNTIME

WARM_UP = 2  # the first call makes clients and connections
MAX_CALLS = 4_000  # 3,662 plus 10 %
FOREIGN = {
    "the console's test event": {"key1": "value1", "key2": "value2", "key3": "value3"},
    "an HTTP API": {  # payload version 2.0; also a function URL's
        "version": "2.0",
        "requestContext": {"http": {"method": "PUT", "path": "/orders/108", "sourceIp": "203.0.113.7"}},
        "pathParameters": {"id": "108"},
        "body": '{"status": "IGNORE"}',
    },
    "an empty batch": {"Records": []},
    "S3": {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]},
    "an empty object": {},
}


@pytest.mark.skipif(sys.version_info[:2] != RUNTIME, reason="another Python counts other calls")
def test_a_warm_call_does_no_more_than_it_needs(start):
    """Measured in calls of functions, as `make bench` measures the CPU time."""
    environment = start("ApiFunction", wrapper="counting")
    for _ in range(WARM_UP + 1):
        assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    environment.kill()
    *_, calls = [line["calls"] for line in map(json.loads, environment.lines) if "calls" in line]
    assert calls <= MAX_CALLS


def what_it_says(result):
    """Return the text that a caller, or a person at the console, is told."""
    if result.error:
        return result.error["errorMessage"]
    body = json.loads(result.payload["body"])
    assert (result.payload["statusCode"], body["error"]) == (400, "invalid_request")
    return body["message"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("ApiFunction", "REST API"), ("QueueFunction", "SQS"), ("WebhookFunction", "REST API")],
)
def test_a_foreign_event_gets_a_clear_error(start, clopos, function, expected):
    environment = start(function)
    another = event("api.json" if function == "QueueFunction" else "queue.json")
    said = {
        name: what_it_says(environment.invoke(sent))
        for name, sent in {**FOREIGN, "another function": another}.items()
    }
    assert {name: text for name, text in said.items() if expected not in text} == {}
    assert clopos.calls() == []
    assert not environment.invoke(event(EVENTS[function])).error  # it still works
