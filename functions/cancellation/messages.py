"""What callers send: an order to cancel, in the path of a request or in a message."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import fastjsonschema

from cancellation.errors import CancelError, NotACancellation, printable

# A schema's `description` is the error message for the caller if that part of the input is invalid.
ORDER_ID = {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": 10**64 - 1,
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
    "description": "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'",
}
VENUE_ID = {
    "type": ["integer", "null"],
    "minimum": 1,
    "maximum": 10**18 - 1,
    "description": "venue_id: must be a positive integer",
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
NOT_JSON = f"not JSON: {CANCEL_MESSAGE['description']}"

# The key under which a wrapper has the message: an SNS notification (as JSON text), an EventBridge event, and
# a Standard Webhooks payload. Powertools' own envelopes need pydantic, which adds 140 ms to a cold start.
WRAPPER_KEYS = ("Message", "detail", "data")
# EventBridge through SNS makes two; real messages do not have more than four.
MAX_WRAPPERS = 4

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


def read_types(names: str) -> frozenset[str]:
    """Return the types in the parameter CancellationTypes, which are separated by commas."""
    return frozenset(name.strip() for name in names.split(","))


def parse_message(body: str, cancellation_types: Collection[str]) -> Order:
    """Read a queue message, wrapped or not.

    Parameters
    ----------
    body : str
        The body of the message.
    cancellation_types : collection of str
        The values of `type` in a Standard Webhooks payload that mean a cancellation.

    Raises
    ------
    NotACancellation
        If it is a webhook payload of another type.
    CancelError
        `invalid_request`, with what the sender has to change.
    """
    return _read_order(load_json(body, NOT_JSON), cancellation_types)


def parse_webhook(body: str, cancellation_types: Collection[str]) -> Order:
    """Read the body of a webhook.

    Its `type` is checked wherever the order is, since senders may send all their events here, in any shape.

    Raises
    ------
    NotACancellation
        If it is of another type.
    CancelError
        `invalid_request`, with what the sender has to change.
    """
    payload = load_json(body, NOT_JSON)
    if isinstance(payload, dict) and "type" in payload:
        _check_type(payload["type"], cancellation_types)
    return _read_order(payload, cancellation_types)


def _read_order(message: Any, cancellation_types: Collection[str]) -> Order:
    message = _find_order(message, cancellation_types, MAX_WRAPPERS) or message
    if isinstance(message, dict) and "order_id" not in message:
        raise CancelError("invalid_request", f"order_id is missing: {CANCEL_MESSAGE['description']}")
    validate(_check_message, message)
    return Order(str(message["order_id"]), message.get("venue_id"))


def _find_order(message: Any, cancellation_types: Collection[str], depth: int) -> dict[str, Any] | None:
    """Return the object that has an `order_id`, from inside at most `depth` wrappers."""
    if isinstance(message, str):
        try:
            message = load_json(message, NOT_JSON)
        except CancelError:  # any other text
            return None
    if not isinstance(message, dict):
        return None
    if "type" in message and isinstance(message.get("data"), dict | str):
        _check_type(message["type"], cancellation_types)
    if "order_id" in message:
        return message
    wrapped = (message[key] for key in WRAPPER_KEYS if key in message and depth)
    found = (_find_order(inner, cancellation_types, depth - 1) for inner in wrapped)
    return next((order for order in found if order), None)


def _check_type(type_: Any, cancellation_types: Collection[str]) -> None:
    if not isinstance(type_, str) or type_ not in cancellation_types:
        raise NotACancellation(printable(str(type_)))


def load_json(text: str, otherwise: str) -> Any:
    """Parse a JSON text.

    Raises
    ------
    CancelError
        `invalid_request` with the message `otherwise`.
    """
    try:
        # Decimal, because JSON Schema would take the float 108.0 for an integer.
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        # Not JSON, a number with more digits than Python converts, or nested too deeply.
        raise CancelError("invalid_request", otherwise) from None


def validate(check: Any, value: object) -> None:
    """Check a value with a compiled schema.

    Raises
    ------
    CancelError
        `invalid_request` with the description of the part that is wrong.
    """
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException as exc:
        # Its own message is not used: it repeats names and values that the caller chose.
        raise CancelError("invalid_request", exc.definition["description"]) from None
