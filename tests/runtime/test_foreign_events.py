"""An event that is not meant for a function gets an answer that says so, not a KeyError."""

import json

import pytest

from tests.runtime.conftest import event, webhook_event

HTTP_API_EVENT = {  # API Gateway's HTTP API, payload version 2.0; also a function URL's
    "version": "2.0",
    "routeKey": "PUT /orders/{id}",
    "rawPath": "/orders/108",
    "rawQueryString": "",
    "headers": {"content-type": "application/json"},
    "requestContext": {
        "accountId": "000000000000",
        "apiId": "a1b2c3d4e5",
        "http": {"method": "PUT", "path": "/orders/108", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
        "requestId": "JKJaXmPLvHcESHA=",
        "stage": "$default",
    },
    "pathParameters": {"id": "108"},
    "body": '{"status": "IGNORE"}',
    "isBase64Encoded": False,
}
S3_EVENT = {
    "Records": [
        {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"object": {"key": "order"}}}
    ]
}
FOREIGN = {
    "the console's test event": {"key1": "value1", "key2": "value2", "key3": "value3"},
    "an HTTP API": HTTP_API_EVENT,
    "an empty batch": {"Records": []},
    "S3": S3_EVENT,
    "an empty object": {},
}


def what_it_says(result):
    """Return the text that a caller, or a person at the console, is told."""
    if result.error:
        return result.error["errorMessage"]
    body = json.loads(result.payload["body"])
    assert (result.payload["statusCode"], body["error"]) == (400, "invalid_request")
    return body["message"]


@pytest.mark.parametrize(
    ("function", "own", "expected"),
    [
        ("ApiFunction", lambda: event("api.json"), "REST API"),
        ("QueueFunction", lambda: event("queue-sns.json"), "SQS"),
        ("WebhookFunction", webhook_event, "REST API"),
    ],
)
def test_a_foreign_event_gets_a_clear_error(start, clopos, function, own, expected):
    environment = start(function)
    foreign = FOREIGN | {
        "another function": event("queue.json" if function != "QueueFunction" else "api.json")
    }
    said = {name: what_it_says(environment.invoke(sent)) for name, sent in foreign.items()}
    assert {name: text for name, text in said.items() if expected not in text} == {}
    assert clopos.calls() == []
    assert not environment.invoke(own()).error  # it still works


def test_the_refresh_takes_any_event(start, references, stack):
    """A person invokes it from the console, with whatever event is there."""
    environment = start("TokenRefreshFunction")
    for name, sent in FOREIGN.items():
        assert environment.invoke(sent).payload["success"] is True, name
