"""The requests and responses of API Gateway's Lambda proxy integration."""

import json
import math
import re
from base64 import b64decode
from typing import Any

import fastjsonschema

from cancellation.errors import CancelError
from cancellation.messages import CANCEL_REQUEST, ORDER_ID, Order, load_json, read_correlation_id, validate

# Answers contain an order's state, so they must not be cached, nor their type guessed. No CORS headers:
# browsers do not call this API.
HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

_POSITIVE_INTEGER = re.compile("[1-9][0-9]{0,17}")

_check_order_id = fastjsonschema.compile(ORDER_ID)
_check_request = fastjsonschema.compile(CANCEL_REQUEST)


def parse_request(event: dict[str, Any]) -> Order:
    """Read `PUT /orders/{id}`; raises `invalid_request` with what the caller has to change."""
    check_event(event)
    order_id = (event.get("pathParameters") or {}).get("id", "")
    validate(_check_order_id, order_id)
    if event.get("queryStringParameters") or event.get("multiValueQueryStringParameters"):
        raise CancelError("invalid_request", "send no query parameters")
    venues = header_values(event, "x-venue")
    if len(venues) > 1:
        raise CancelError("invalid_request", "x-venue: send it once")
    if venues and not _POSITIVE_INTEGER.fullmatch(venues[0]):
        raise CancelError("invalid_request", "x-venue: must be a positive integer")
    validate(_check_request, load_json(read_body(event), f"not JSON: {CANCEL_REQUEST['description']}"))
    return Order(order_id, int(venues[0]) if venues else None, correlation_id(event))


def check_event(event: dict[str, Any]) -> None:
    """Raise `invalid_request` for an event of an HTTP API, a function URL or a console's test."""
    if "httpMethod" not in event:
        raise CancelError("invalid_request", "not an event of a REST API with Lambda proxy integration")


def read_body(event: dict[str, Any]) -> str:
    """Return the body as text; API Gateway encodes it in base64 if binary media types are configured."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)
    try:
        return b64decode(body).decode()
    except ValueError:  # not base64, or not UTF-8
        raise CancelError("invalid_request", "the body must be UTF-8 text") from None


def correlation_id(event: dict[str, Any]) -> str | None:
    """Return the caller's own id, from the header `x-correlation-id`."""
    return read_correlation_id(next(iter(header_values(event, "x-correlation-id")), None))


def header_values(event: dict[str, Any], name: str) -> list[str]:
    """Return the values of a header, from whichever of its two forms in the event has more."""
    single, multiple = event.get("headers") or {}, event.get("multiValueHeaders") or {}
    return max(
        [value for key, values in multiple.items() if key.lower() == name for value in values],
        [value for key, value in single.items() if key.lower() == name],
        key=len,
    )


def respond(
    status: int, envelope: dict[str, Any], more_headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return an envelope as a response for API Gateway."""
    return {
        "statusCode": status,
        "headers": HEADERS | (more_headers or {}),
        "body": json.dumps(envelope),
        "isBase64Encoded": False,
    }


def respond_error(error: CancelError, request_id: str) -> dict[str, Any]:
    """Return an error as a response for API Gateway, with `Retry-After` if a later call may succeed."""
    wait_s = error.kind.retry_after_s if error.retry_after_s is None else error.retry_after_s
    retry = {"Retry-After": str(max(1, math.ceil(wait_s)))} if error.kind.retryable else {}
    return respond(error.kind.status, error.envelope(request_id), retry)
