"""An example of each error of the API, created by the same code and template that answer with it."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from requests.structures import CaseInsensitiveDict
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "functions"))

from cancellation import telemetry, tokens, webhook_secrets  # noqa: E402
from cancellation.answers import read_cancellation, read_check  # noqa: E402
from cancellation.errors import CancelError  # noqa: E402
from cancellation.exchange import Exchange  # noqa: E402
from cancellation.http_api import parse_request  # noqa: E402
from cancellation.messages import Order, parse_message  # noqa: E402
from cancellation.webhook_secrets import signature_headers  # noqa: E402

Json = dict[str, Any]

REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
ORDER = Order("108")
# The texts of API Gateway's own errors (`messageString`), for those that the template passes on.
GATEWAY_MESSAGES = {
    "ACCESS_DENIED": "User: arn:aws:iam::123456789012:user/example is not authorized to perform: "
    "execute-api:Invoke on resource: arn:aws:execute-api:us-east-1:********9012:abcde12345/v1/PUT/orders/108",
    "REQUEST_TOO_LARGE": "Request Too Long",
    "UNSUPPORTED_MEDIA_TYPE": "Unsupported Media Type",
}


class Example(NamedTuple):
    """One answer that is an error."""

    status: int
    when: str  # callers get it
    envelope: Json  # the body


def cancelled() -> Json:
    """Return the answer of `PUT /orders/{id}` if the order is cancelled."""
    order = {
        "id": 108,
        "venue_id": 1,
        "type": "CALL_CENTER_ORDER",
        "integration": "call_center_new",
        "integration_status": "CREATED",
        "status": "IGNORE",
        "created_at": "2026-02-02T13:45:53.000000Z",
        "updated_at": "2026-02-02T17:46:02.000000Z",
    }
    answer = _answer(200, json.dumps({"success": True, "data": order}).encode())
    return {"success": True, "data": read_cancellation(answer, ORDER), "request_id": REQUEST_ID}


def cancel_errors() -> Iterator[Example]:
    """Yield the errors of `PUT /orders/{id}`."""
    request = {"httpMethod": "PUT", "pathParameters": {"id": "108"}, "body": '{"status": "CANCELLED"}'}
    yield _example("The body is not the documented one", _raised(parse_request, request))
    yield _example("Clopos does not know the order", _put(404, "not_found", "Order not found"))
    yield _example("The restaurant has accepted the order", _not_cancellable())
    yield _example("Clopos's rate limit is reached", _put(429, "too_many_requests", "Too many requests"))
    yield _example(
        "Clopos rejects the configuration", _put(401, "Invalid integrator_id", "Invalid integrator_id")
    )
    yield _example("Clopos sends something else than JSON", _raised_by_put(_answer(200, b"<html>")))
    yield _example(
        "Clopos is down, and no time is left to try again",
        _put(503, "service_unavailable", "Service unavailable"),
    )
    yield _example("The token secret is empty", CancelError("token_unavailable", tokens.UNUSABLE))
    yield _example("Clopos does not answer in time", _put(504, "gateway_timeout", "Gateway timeout"))
    yield _example("A bug", CancelError("internal_error", telemetry.BUG))
    yield _gateway_example(403, "No such route, or no signature", "MISSING_AUTHENTICATION_TOKEN")
    yield _gateway_example(403, "A wrong signature", "INVALID_SIGNATURE")
    yield _gateway_example(403, "The caller's credentials have expired", "EXPIRED_TOKEN")
    yield _gateway_example(403, "The caller may not call this route", "ACCESS_DENIED")
    yield from _gateway_errors()


def webhook_errors() -> Iterator[Example]:
    """Yield the errors of `POST /webhooks/cancellations`."""
    yield _example("The order is missing", _raised(parse_message, '{"orderId": 108}', ()))
    yield _example("No signature", _raised(signature_headers, {}))
    yield _example(
        "Nobody has a secret to sign with",
        CancelError("service_unavailable", webhook_secrets.UNUSABLE),
    )
    yield _example("A bug", CancelError("internal_error", telemetry.BUG))
    yield from _gateway_errors()


def _gateway_errors() -> Iterator[Example]:
    yield _gateway_example(403, "Blocked by a firewall that was attached to the API", "WAF_FILTERED")
    yield _gateway_example(413, "More than 10 MB", "REQUEST_TOO_LARGE")
    yield _gateway_example(415, "A Content-Type that API Gateway does not know", "UNSUPPORTED_MEDIA_TYPE")
    yield _gateway_example(429, "The API's own limits are reached", "THROTTLED")
    yield _gateway_example(500, "The function cannot be called", "API_CONFIGURATION_ERROR")
    yield _gateway_example(504, "The function does not answer", "INTEGRATION_TIMEOUT")


def _example(when: str, error: CancelError) -> Example:
    return Example(error.kind.status, when, error.envelope(REQUEST_ID))


def _gateway_example(status: int, when: str, response_type: str) -> Example:
    """Return an answer that API Gateway gives by itself, as the template defines it."""
    responses = _gateway_responses()
    default = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
    response = responses.get(response_type) or responses[default]
    text = response["ResponseTemplates"]["application/json"]
    message = json.dumps(GATEWAY_MESSAGES.get(response_type, ""))
    text = text.replace("$context.error.messageString", message).replace("$context.requestId", REQUEST_ID)
    return Example(status, when, json.loads(text))


@cache
def _gateway_responses() -> Json:
    template: Json = yaml_parse((ROOT / "template.yaml").read_text())
    responses: Json = template["Resources"]["Api"]["Properties"]["GatewayResponses"]
    return responses


def _raised(function: Callable[..., object], *arguments: object) -> CancelError:
    try:
        function(*arguments)
    except CancelError as error:
        return error
    raise AssertionError(f"{function.__name__} accepts {arguments}")


def _answer(status: int, body: bytes) -> Exchange:
    return Exchange("PUT", "clopos.example", time.time(), 0.1, status, CaseInsensitiveDict(), body)


def _raised_by_put(answer: Exchange) -> CancelError:
    return _raised(read_cancellation, answer, ORDER)


def _put(status: int, error: str, message: str) -> CancelError:
    body = {"success": False, "error": error, "message": message}
    return _raised_by_put(_answer(status, json.dumps(body).encode()))


def _not_cancellable() -> CancelError:
    refusal = _put(400, "validation_failed", "Status is not allowed")
    order = {"id": 108, "status": "RECEIVED", "receipt": {"id": 10950}}
    checked = _answer(200, json.dumps({"success": True, "data": order}).encode())
    return _raised(read_check, checked, ORDER, refusal)
