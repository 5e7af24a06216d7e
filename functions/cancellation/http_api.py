"""The requests and responses of API Gateway's Lambda proxy integration."""

import json
import math
import re
from typing import Any

import fastjsonschema

from cancellation.errors import CancelError
from cancellation.messages import CANCEL_REQUEST, ORDER_ID, Order, load_json, validate

# Answers contain an order's state, so they must not be cached, nor their type guessed. No CORS headers:
# browsers do not call this API.
HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000",
}

_POSITIVE_INTEGER = re.compile("[1-9][0-9]{0,17}")

_check_order_id = fastjsonschema.compile(ORDER_ID)
_check_request = fastjsonschema.compile(CANCEL_REQUEST)


def parse_request(event: dict[str, Any]) -> Order:
    """Read `PUT /orders/{id}`.

    Raises
    ------
    CancelError
        `invalid_request`, with what the caller has to change.
    """
    if "httpMethod" not in event:  # not set by HTTP APIs, function URLs or the console's test events
        raise CancelError("invalid_request", "not an event of a REST API with Lambda proxy integration")
    order_id = (event.get("pathParameters") or {}).get("id", "")
    validate(_check_order_id, order_id)
    if event.get("queryStringParameters") or event.get("multiValueQueryStringParameters"):
        raise CancelError("invalid_request", "send no query parameters")
    venues = header_values(event, "x-venue")
    if len(venues) > 1:
        raise CancelError("invalid_request", "x-venue: send it once")
    if venues and not _POSITIVE_INTEGER.fullmatch(venues[0]):
        raise CancelError("invalid_request", "x-venue: must be a positive integer")
    if event.get("isBase64Encoded"):
        raise CancelError("invalid_request", "the body must be JSON text, not base64")
    description = str(CANCEL_REQUEST["description"])
    validate(_check_request, load_json(event.get("body") or "", f"not JSON: {description}"))
    return Order(order_id, int(venues[0]) if venues else None)


def header_values(event: dict[str, Any], name: str) -> list[str]:
    """Return the values of a header, from whichever of its two forms in the event has more."""
    single, multiple = event.get("headers") or {}, event.get("multiValueHeaders") or {}
    return max(
        [value for key, values in multiple.items() if key.lower() == name for value in values],
        [value for key, value in single.items() if key.lower() == name],
        key=len,
    )


def respond(status: int, envelope: dict[str, Any], error: CancelError | None = None) -> dict[str, Any]:
    """Return an envelope as a response for API Gateway, with `status`, or the error's if there is one."""
    headers = dict(HEADERS)
    if error:
        status = error.kind.status
        if error.kind.retryable:
            wait_s = error.kind.retry_after_s if error.retry_after_s is None else error.retry_after_s
            headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    return {
        "statusCode": status,
        "headers": headers,
        "body": json.dumps(envelope),
        "isBase64Encoded": False,
    }
