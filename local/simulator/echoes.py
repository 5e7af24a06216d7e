"""Answers that repeat values of the call, as upstreams do in their error messages.

In the body of a scripted answer, ``{token}`` is replaced by the call's token, and ``{token:upper}`` by the
token in capitals. The other names are ``order_id`` and, for calls of /auth, the four credentials. `FORMS` has
the other forms.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from local.simulator.answers import json_object
from local.simulator.settings import CREDENTIALS

FORMS: dict[str, Callable[[str], str]] = {
    "whole": lambda text: text,
    "start": lambda text: text[: len(text) // 2],
    "end": lambda text: text[len(text) // 2 :],
    "first_12": lambda text: text[:12],
    "last_12": lambda text: text[-12:],
    "upper": str.upper,
    "lower": str.lower,
    "url": lambda text: "".join(char if char.isalnum() else f"%{ord(char):02X}" for char in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "spaced": lambda text: " ".join(text[start : start + 8] for start in range(0, len(text), 8)),
}
_PLACEHOLDER = re.compile(
    rf"\{{({'|'.join(['token', 'order_id', *CREDENTIALS])})(?::({'|'.join(FORMS)}))?\}}"
)


def sent_by(order_id: str | None, headers: Mapping[str, str], body: str) -> dict[str, str]:
    """Return the values of a call that an answer can repeat."""
    sent = json_object(body)
    credentials = {name: str(sent[name]) for name in CREDENTIALS if name in sent}
    return {"token": headers.get("x-token", ""), "order_id": order_id or "", **credentials}


def fill_in(body: Any, values: Mapping[str, str]) -> Any:
    """Return a body with every placeholder in its texts filled in."""
    if isinstance(body, str):
        return _PLACEHOLDER.sub(lambda match: FORMS[match[2] or "whole"](values.get(match[1], "")), body)
    if isinstance(body, dict):
        return {key: fill_in(value, values) for key, value in body.items()}
    if isinstance(body, list):
        return [fill_in(value, values) for value in body]
    return body
