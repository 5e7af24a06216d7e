"""What callers send: the schemas of a request and of a queue message, and how a message is unwrapped."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import fastjsonschema

from cancellation.errors import CancelError

# A schema's `description` is what a caller is told when that part of the input is wrong.
ORDER_ID = {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": 10**64 - 1,
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
    "description": "order id: a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'",
}
VENUE_ID = {
    "type": ["integer", "null"],
    "minimum": 1,
    "maximum": 10**18 - 1,
    "description": "venue id: a positive integer",
}
CANCEL_REQUEST = {
    "type": "object",
    "properties": {
        "status": {"const": "IGNORE", "description": 'the body must be exactly {"status": "IGNORE"}'}
    },
    "required": ["status"],
    "additionalProperties": False,
    "description": 'the body must be exactly {"status": "IGNORE"}',
}
CANCEL_MESSAGE = {
    "type": "object",
    "properties": {"order_id": ORDER_ID, "venue_id": VENUE_ID},
    "required": ["order_id"],
    "description": 'a message must be a JSON object such as {"order_id": 108, "venue_id": 1}',
}

# Where a wrapper keeps the message: an SNS notification (as JSON text), an EventBridge event, and a
# Standard Webhooks payload. Powertools' own envelopes would bring pydantic, 140 ms of a cold start.
WRAPPER_KEYS = ("Message", "detail", "data")
# EventBridge through SNS is two deep; anything deeper is nobody's real message.
MAX_WRAPPERS = 4

_POSITIVE_INTEGER = re.compile("[1-9][0-9]{0,17}")

_check_order_id = fastjsonschema.compile(ORDER_ID)
_check_request = fastjsonschema.compile(CANCEL_REQUEST)
_check_message = fastjsonschema.compile(CANCEL_MESSAGE)


@dataclass(frozen=True)
class Order:
    """An order to cancel.

    Parameters
    ----------
    order_id : str
        Clopos's id of the order, matching `[A-Za-z0-9_-]{1,64}`.
    venue_id : int, optional
        Venue to use in place of the one that the token was issued for.
    """

    order_id: str
    venue_id: int | None = None


def parse_request(event: dict[str, Any]) -> Order:
    """Read an API call, an event of API Gateway's Lambda proxy integration.

    Raises
    ------
    CancelError
        `invalid_request`, with what the caller has to change.
    """
    order_id = (event.get("pathParameters") or {}).get("id", "")
    _validate(_check_order_id, order_id)
    if event.get("queryStringParameters"):
        raise CancelError("invalid_request", "send no query parameters")
    venues = [
        value
        for name, values in (event.get("multiValueHeaders") or {}).items()
        if name.lower() == "x-venue"
        for value in values
    ]
    if len(venues) > 1:
        raise CancelError("invalid_request", "x-venue: send it once")
    if venues and not _POSITIVE_INTEGER.fullmatch(venues[0]):
        raise CancelError("invalid_request", "x-venue: must be a positive integer")
    if event.get("isBase64Encoded"):
        raise CancelError("invalid_request", "the body must be JSON text, not base64")
    _validate(_check_request, _load(event.get("body") or "", CANCEL_REQUEST["description"]))
    return Order(order_id, int(venues[0]) if venues else None)


def parse_message(body: str) -> Order:
    """Read a queue message or a webhook's body, wrapped or not.

    Raises
    ------
    CancelError
        `invalid_request`, with what the sender has to change.
    """
    message = _load(body, CANCEL_MESSAGE["description"])
    for _ in range(MAX_WRAPPERS):
        if not isinstance(message, dict) or "order_id" in message:
            break
        wrapped = next((message[key] for key in WRAPPER_KEYS if key in message), None)
        if wrapped is None:
            break
        message = _load(wrapped, CANCEL_MESSAGE["description"]) if isinstance(wrapped, str) else wrapped
    _validate(_check_message, message)
    return Order(str(message["order_id"]), message.get("venue_id"))


def _load(text: str, expected: object) -> Any:
    try:
        # Decimal, because JSON Schema would take the float 108.0 for an integer.
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        # Not JSON, a number of more digits than Python converts, or nested thousands deep.
        raise CancelError("invalid_request", f"not JSON: {expected}") from None


def _validate(check: Any, value: object) -> None:
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException as exc:
        # Never its message: that repeats names and values which the caller chose.
        raise CancelError("invalid_request", exc.definition["description"]) from None
