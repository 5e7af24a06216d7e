"""The named faults.

`FAULTS` are known behaviour of Clopos and of networks. `RUDE_FAULTS` are not documented anywhere, but happen
to HTTP clients.
"""

import dataclasses
from collections.abc import Mapping

from local.simulator.answers import Headers, Json
from local.simulator.echoes import FORMS
from local.simulator.encodings import ENCODINGS
from local.simulator.faults import AnyFault, Fault
from local.simulator.rate_limits import RATE_LIMIT_HEADERS
from local.simulator.refusals import REFUSALS, STYLES, refuse

FROM_A_PROXY: Headers = {"Content-Type": "text/html"} | dict.fromkeys(RATE_LIMIT_HEADERS)
# What a scripted refusal has besides its text: fields of the body, and headers.
_NO_QUOTA_LEFT: Headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}
_SCRIPTED: dict[str, tuple[Json, Headers]] = {
    "token_expired": ({"expires_at": "2026-01-08T06:05:32.000000Z"}, {}),
    "rate_limited": ({}, _NO_QUOTA_LEFT),
    "quota_exceeded": ({}, _NO_QUOTA_LEFT),
}


def _refusal(name: str, style: str = "") -> Fault:
    fields, headers = _SCRIPTED.get(name, ({}, {}))
    answer = refuse(name, style, **fields)
    return Fault(answer.status, answer.body, headers)


def _named(faults: Mapping[str, Fault]) -> dict[str, Fault]:
    return {name: dataclasses.replace(fault, name=name) for name, fault in faults.items()}


FAULTS = _named(
    {
        **{name: _refusal(name) for name in REFUSALS},
        **{f"{name}:{style}": _refusal(name, style) for name in REFUSALS for style in STYLES},
        "html": Fault(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", FROM_A_PROXY),
        "html_200": Fault(200, "<html><body>Under maintenance</body></html>", FROM_A_PROXY),
        "empty": Fault(200, ""),
        "empty_502": Fault(502, "", FROM_A_PROXY),
        "reset": Fault(delivery="reset", processed=False),
        "reset_after": Fault(delivery="reset", processed=True),
        "close": Fault(delivery="close", processed=False),
        "close_after": Fault(delivery="close", processed=True),
        "truncated": Fault(delivery="truncated"),
        "drip": Fault(delivery="drip"),
        "drip_headers": Fault(delivery="drip_headers"),
        "older": Fault(variant="older"),
        "extras": Fault(variant="extras"),
    }
)

# Unusual values of a header that has a time to wait or the number of calls left.
ODD_NUMBERS = {
    "year_99999": "Fri, 31 Dec 99999 23:59:59 GMT",
    "year_1": "Mon, 01 Jan 0001 00:00:00 +2359",
    "5000_digits": "9" * 5000,
    "infinite": "1e999",
    "nan": "NaN",
    "negative": "-30",
    "negative_infinite": "-inf",
    "words": "soon",
    "empty": "",
    "list": "3, 5",
}
ODD_HEADERS = {
    "retry_after": "Retry-After",
    "ratelimit_reset": "RateLimit-Reset",
    "ratelimit_remaining": "RateLimit-Remaining",
}
_TOO_MANY = refuse("rate_limited").body
_SECRET_TEXTS = {
    "": "Token {%s} is not valid for this brand",
    ":alone": "{%s}",
    **{f":{form}": f"Token {{%s:{form}}} is not valid for this brand" for form in FORMS if form != "whole"},
}


def _echoes(name: str, status: int, value: str) -> dict[str, Fault]:
    return {
        name + suffix: Fault(status, {"success": False, "error": text % value, "message": text % value})
        for suffix, text in _SECRET_TEXTS.items()
    }


def _text(status: int, error: str, text: str) -> Fault:
    return Fault(status, {"success": False, "error": error, "message": text})


RUDE_FAULTS = _named(
    {
        # Interim answers before the final one, in the same packet and separately.
        "processing": Fault(interim=(102,), interval=0),
        "processing_apart": Fault(interim=(102,), interval=0.3),
        "early_hints": Fault(interim=(103,), interval=0),
        "early_hints_apart": Fault(interim=(103,), interval=0.3),
        "interims": Fault(interim=(100, 102, 103, 102), interval=0),
        "interims_apart": Fault(interim=(100, 102, 103, 102), interval=0.3),
        "interim_only": Fault(interim=(102,), delivery="close", processed=False, interval=0),
        "interim_only_after": Fault(interim=(102,), delivery="close", processed=True, interval=0),
        "interim_then_silence": Fault(interim=(102,), delivery="silence", processed=False, interval=0),
        "interims_without_end": Fault(
            interim=(100,) * 600, delivery="silence", processed=False, interval=0.1
        ),
        # Bytes after the answer. By default they say that the order of this call is cancelled.
        "no_content_with_body": Fault(204, "", delivery="surplus", interval=0),
        "no_content_with_late_body": Fault(204, "", delivery="surplus", interval=0.3),
        "surplus": Fault(delivery="surplus", interval=0),
        "late_surplus": Fault(delivery="surplus", interval=0.3),
        "unavailable_with_surplus": Fault(503, "", delivery="surplus", interval=0),
        "unavailable_with_late_surplus": Fault(503, "", delivery="surplus", interval=0.3),
        # Framing.
        "until_close": Fault(delivery="until_close", interval=0),
        "two_lengths": Fault(delivery="two_lengths", interval=0),
        "chunked": Fault(delivery="chunked", interval=0),
        "chunked_apart": Fault(delivery="chunked", interval=0.01),
        "chunked_trailers": Fault(delivery="chunked_trailers", interval=0),
        "chunked_surplus": Fault(delivery="chunked_surplus", interval=0),
        "chunked_late_surplus": Fault(delivery="chunked_surplus", interval=0.05),
        "chunked_and_length": Fault(delivery="chunked_and_length", interval=0),
        "chunked_bad_size": Fault(delivery="chunked_bad_size", interval=0),
        "chunked_unfinished": Fault(delivery="chunked_unfinished", interval=0),
        "chunked_cut": Fault(delivery="chunked_cut", interval=0),
        "not_http": Fault(delivery="not_http", processed=False, interval=0),
        "many_headers": Fault(headers={f"X-Header-{number}": "x" for number in range(200)}),
        "long_header": Fault(headers={"X-Header": "x" * 70_000}, delivery="until_close", interval=0),
        # Connections that stay open.
        "silence": Fault(delivery="silence", processed=False),
        "silence_after": Fault(delivery="silence", processed=True),
        "stalled": Fault(delivery="stalled", interval=0),
        # Bodies.
        **{encoding: Fault(encoding=encoding) for encoding in ENCODINGS},
        "oversized": Fault(variant="oversized"),
        "byte_order_mark": Fault(variant="byte_order_mark"),
        "invalid_utf8": Fault(variant="invalid_utf8"),
        "huge_integer": Fault(variant="huge_integer"),
        "huge_exponent": Fault(variant="huge_exponent"),
        "deeply_nested": Fault(variant="deeply_nested"),
        "not_a_number": Fault(
            data={"integration_id": float("nan"), "integration_response": {"x": float("inf")}}
        ),
        "lone_surrogates": Fault(
            data={"integration": "call\ud800", "integration_response": {"\udfff": "\ud83d"}}
        ),
        "year_1": Fault(
            data={"created_at": "0001-01-01T00:00:00+14:00", "updated_at": "0001-01-01T00:00:00+23:59"}
        ),
        "year_9999": Fault(data={"updated_at": "9999-12-31T23:59:59-23:59"}),
        "integer_integration_id": Fault(data={"integration_id": 4711}),
        "list_for_object": Fault(data={"integration_response": []}),
        "odd_types": Fault(
            data={
                "venue_id": "one",
                "type": None,
                "integration": ["x"],
                "integration_uuid": {},
                "updated_at": 1.5,
            }
        ),
        "text_id": Fault(variant="text_id"),
        "another_order": Fault(data={"id": 999_108}),
        "another_order_not_processed": Fault(data={"id": 999_108}, processed=False),
        # Headers.
        **{
            f"{name}:{number}": Fault(429, _TOO_MANY, {header: value})
            for name, header in ODD_HEADERS.items()
            for number, value in ODD_NUMBERS.items()
        },
        **{
            f"success:{name}:{number}": Fault(headers={header: value})
            for name, header in ODD_HEADERS.items()
            for number, value in ODD_NUMBERS.items()
        },
        "cookie": Fault(headers={"Set-Cookie": "session=from-clopos; Path=/"}),
        # Errors that repeat values of the call.
        **_echoes("echo_token", 401, "token"),
        **_echoes("echo_token_400", 400, "token"),
        **_echoes("echo_client_secret", 401, "client_secret"),
        "echo_credentials": _text(
            401,
            "unauthorized",
            "{client_id} with {client_secret} of {integrator_id} has no access to {brand}",
        ),
        "echo_order_id_404": _text(404, "not_found", "Order {order_id} not found"),
        "echo_order_id_400": _text(400, "validation_failed", "Order {order_id}: Status is not allowed"),
        "echo_order_id_401": _text(401, "unauthorized", "No access to order {order_id}"),
    }
)


def find(fault: AnyFault) -> Fault:
    """Return a fault, given as a `Fault`, as its fields, or by its name.

    Raises
    ------
    ValueError
        If no fault has this name, or a field is not as described in `Fault`.
    TypeError
        If a field has an unknown name.
    """
    if isinstance(fault, dict):
        return Fault(**fault)
    if isinstance(fault, Fault):
        return fault
    if fault not in FAULTS and fault not in RUDE_FAULTS:
        raise ValueError(f"no fault is named {fault!r}")
    return FAULTS.get(fault) or RUDE_FAULTS[fault]
