"""Answers that quote values of the call, as upstreams do in their error messages.

In the body of a scripted answer, ``{token}`` is replaced by the call's token, ``{inner_token}`` by the
upstream's own token inside it, and ``{token:upper}`` by the token in capitals. The other names are
``order_id`` and, for calls of /auth, the four credentials.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

import jwt

from local.simulator.answers import Answer, Call, json_object
from local.simulator.settings import CREDENTIALS

FORMS: dict[str, Callable[[str], str]] = {
    "whole": lambda text: text,
    "first_12": lambda text: text[:12],
    "last_12": lambda text: text[-12:],
    "upper": str.upper,
    "lower": str.lower,
    "url": lambda text: "".join(char if char.isalnum() else f"%{ord(char):02X}" for char in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
}
_NAMES = "|".join(["token", "inner_token", "order_id", *CREDENTIALS])
_PLACEHOLDER = re.compile(rf"\{{({_NAMES})(?::({'|'.join(FORMS)}))?\}}".encode())


def inner_token(token: str) -> str:
    """Return the upstream's own token, which the payload of a JWT holds; empty for what is no such JWT."""
    try:
        payload = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:  # any string can be accepted as a token
        return ""
    return str(payload.get("token", ""))


def fill_in(body: Any, call: Call) -> bytes:
    """Return the content of a body, with every placeholder in it filled in."""
    token, sent = call.headers.get("x-token", ""), json_object(call.body)
    values = {"token": token, "inner_token": inner_token(token), "order_id": call.order_id or ""}
    values |= {name: str(sent[name]) for name in CREDENTIALS if name in sent}
    return _PLACEHOLDER.sub(
        lambda match: FORMS[(match[2] or b"whole").decode()](values.get(match[1].decode(), "")).encode(),
        Answer(body=body).content(),
    )
