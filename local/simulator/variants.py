"""Other forms of Clopos's own answer about an order, with the same order in them."""

import json
from collections.abc import Callable
from typing import Any

from local.simulator.answers import Json

OLDER = {"timestamp": "2025-10-23 14:13:09", "unix": 1761211989}
EXTRAS = {"total": 1, "time": 12, "sorts": [], "trace": "f00d"}
MIB = 2**20


def _json_with(data: Json, field: str, literal: str) -> str:
    """Return the answer as text, with a literal in it that `json` cannot write."""
    return json.dumps(_success(data | {field: "LITERAL"})).replace('"LITERAL"', literal)


def _success(data: Json) -> Json:
    return {"success": True, "data": data}


# Functions from the order to the body: an object, or a string that is sent unchanged.
VARIANTS: dict[str, Callable[[Json], Any]] = {
    "older": lambda data: _success({key: data[key] for key in ("id", "status")}) | OLDER,
    "extras": lambda data: _success(data | {"shelf": {"row": 7}}) | EXTRAS,
    "text_id": lambda data: _success(data | {"id": str(data["id"])}),
    "byte_order_mark": lambda data: "\ufeff" + json.dumps(_success(data)),
    "invalid_utf8": lambda data: _json_with(data, "integration", '"call\udcff\udcfe"'),
    "huge_integer": lambda data: _json_with(data, "integration_id", "9" * 5000),
    "huge_exponent": lambda data: _json_with(data, "integration_response", '{"score": 1e999}'),
    "deeply_nested": lambda data: _json_with(data, "integration_response", "[" * 100_000 + "]" * 100_000),
    "oversized": lambda data: json.dumps(_success(data)) + " " * MIB,
}
