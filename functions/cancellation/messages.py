"""What callers send: an order to cancel, in the path of a request or in a message."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import fastjsonschema

from cancellation.errors import CancelError, printable

SOURCE = "clopos-cancel"  # of our own events on EventBridge

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
# EventBridge through SNS makes two wrappers, and JSON inside a text counts as one more. Real messages have no
# more than four.
MAX_LAYERS = 8
MAX_CORRELATION_ID_CHARS = 128

_check_message = fastjsonschema.compile(CANCEL_MESSAGE)


@dataclass(frozen=True)
class Order:
    """An order to cancel."""

    order_id: str  # Clopos's id, matching `[A-Za-z0-9_-]{1,64}`
    venue_id: int | None = None  # to use in place of the one that the token was issued for
    correlation_id: str | None = None  # the sender's own id for this cancellation


class NotACancellation(CancelError):
    """A payload of another type; `ignored_type` is its type."""

    def __init__(self, ignored_type: str) -> None:
        text = f"type: {ignored_type!r} does not mean a cancellation (parameter CancellationTypes)"
        super().__init__("invalid_request", text)
        self.ignored_type = ignored_type


def read_types(names: str) -> frozenset[str]:
    """Return the types in the parameter CancellationTypes, which are separated by commas."""
    return frozenset(name.strip() for name in names.split(","))


def parse_message(body: str, cancellation_types: Collection[str]) -> Order:
    """Read a queue message, wrapped or not.

    Of a Standard Webhooks payload (`type` beside `data`), the `type` must mean a cancellation.

    Raises
    ------
    NotACancellation
        If it is a payload of another type.
    CancelError
        `invalid_request`, with what the sender has to change.
    """
    way = _way_to_order(load_json(body, NOT_JSON))
    types = [layer.get("type") for layer in way if isinstance(layer.get("data"), dict | str)]
    return _read_order(way, types, cancellation_types)


def parse_webhook(body: str, cancellation_types: Collection[str]) -> Order:
    """Read the body of a webhook.

    The outermost `type` on the way to the order decides, since senders may send all their events here.

    Raises
    ------
    NotACancellation
        If it is of another type.
    CancelError
        `invalid_request`, with what the sender has to change.
    """
    way = _way_to_order(load_json(body, NOT_JSON))
    return _read_order(way, [layer.get("type") for layer in way], cancellation_types)


def _way_to_order(message: Any, depth: int = MAX_LAYERS) -> list[dict[str, Any]]:
    """Return the objects from the outermost one to the one that has an `order_id`, or as deep as it goes."""
    if isinstance(message, str) and depth:  # an SNS notification, or JSON that was encoded twice
        try:
            return _way_to_order(load_json(message, NOT_JSON), depth - 1)
        except CancelError as exc:  # any other text; but a key that occurs twice is an error everywhere
            if exc.message != NOT_JSON:
                raise
    if not isinstance(message, dict):
        return []
    if "order_id" in message or not depth:
        return [message]
    ways = [_way_to_order(message[key], depth - 1) for key in WRAPPER_KEYS if key in message]
    return [message, *max(ways, key=lambda way: bool(way and "order_id" in way[-1]), default=[])]


def _read_order(way: list[dict[str, Any]], types: list[Any], cancellation_types: Collection[str]) -> Order:
    if any(layer.get("source") == SOURCE or {"outcome", "result"} <= layer.keys() for layer in way):
        raise CancelError("invalid_request", "an outcome event of this project is not a cancellation request")
    outermost = next((type_ for type_ in types if type_ is not None), None)
    if outermost is not None and not (isinstance(outermost, str) and outermost in cancellation_types):
        raise NotACancellation(printable(str(outermost)))
    message: Any = way[-1] if way else None  # something else than an object
    if way and "order_id" not in message:
        raise CancelError("invalid_request", f"order_id is missing: {CANCEL_MESSAGE['description']}")
    validate(_check_message, message)
    return Order(
        str(message["order_id"]), message.get("venue_id"), read_correlation_id(message.get("correlation_id"))
    )


def read_correlation_id(value: object) -> str | None:
    """Return a correlation id: 1 to 128 printable characters; None for anything else."""
    if isinstance(value, str) and 0 < len(value) <= MAX_CORRELATION_ID_CHARS and value.isprintable():
        return value
    return None


def load_json(text: str, error_message: str) -> Any:
    """Parse a JSON text; a byte order mark at its start is ignored.

    Raises `invalid_request` with this message, or about a key that occurs twice.
    """
    try:
        # Decimal, because JSON Schema would take the float 108.0 for an integer.
        return json.loads(text.removeprefix("\ufeff"), parse_float=Decimal, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        # Not JSON, a number with more digits than Python converts, or nested too deeply.
        raise CancelError("invalid_request", error_message) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):  # which of the two is meant?
        raise CancelError("invalid_request", "a key occurs twice in the JSON")
    return content


def validate(check: Any, value: object) -> None:
    """Check a value; raises `invalid_request` with the schema's description of the part that is wrong."""
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException as exc:
        # Its own message is not used: it repeats names and values that the caller chose.
        raise CancelError("invalid_request", exc.definition["description"]) from None
