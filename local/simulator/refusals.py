"""How Clopos rejects a call: all documented errors, in several forms."""

from collections.abc import Callable
from typing import Any, NamedTuple

from local.simulator.answers import Answer, Json

# Clopos uses sentences or identifiers as `error`, and some answers have a different form.
STYLES: dict[str, Callable[[str, str], Json]] = {
    "sentence": lambda error, text: {"success": False, "error": text, "message": text},
    "identifier": lambda error, text: {"success": False, "error": error, "message": text},
    "message": lambda error, text: {"success": False, "message": text},
    "bare": lambda error, text: {"message": text},
    "schema": lambda error, text: {"error": error, "message": text, "details": None},
}


class Refusal(NamedTuple):
    """One documented error."""

    status: int
    style: str  # the documented one, a key of STYLES
    error: str
    text: str


FOUR_FIELDS = "Missing client_id, client_secret, brand, or integrator_id"
TEST_MODE = "Integrator is in test mode. But brand is not in test mode"
AUTHENTICATION = "Missing or invalid authentication headers"
REFUSALS = {
    "missing_fields": Refusal(400, "sentence", "missing_fields", FOUR_FIELDS),
    "unknown_integrator": Refusal(400, "sentence", "invalid_integrator_id", "Invalid integrator_id"),
    "wrong_credentials": Refusal(401, "message", "invalid_credentials", "Invalid client credentials"),
    "client_disabled": Refusal(401, "sentence", "client_disabled", "Client is disabled"),
    "headers_missing": Refusal(401, "sentence", "headers_missing", "Headers are missing"),
    "invalid_token": Refusal(401, "sentence", "invalid_token", "Invalid token"),
    "token_expired": Refusal(401, "sentence", "token_expired", "Token expired"),
    "integrator_deactivated": Refusal(401, "sentence", "invalid_integrator_id", "Invalid integrator_id"),
    "test_mode": Refusal(401, "sentence", "test_mode_mismatch", TEST_MODE),
    "test_mode_200": Refusal(200, "sentence", "test_mode_mismatch", TEST_MODE),
    "module_missing": Refusal(403, "sentence", "forbidden", "does not have access to module call_center"),
    "bad_venue": Refusal(400, "identifier", "validation_failed", "x-venue must be a venue id"),
    "bad_relation": Refusal(400, "identifier", "validation_failed", "with is not a known relation"),
    "not_json": Refusal(
        400, "identifier", "validation_failed", "Content-Type and body must be application/json"
    ),
    "extra_fields": Refusal(
        400, "identifier", "validation_failed", "The body must include only the status field"
    ),
    "status_not_allowed": Refusal(400, "identifier", "validation_failed", "Status is not allowed"),
    "not_found": Refusal(404, "identifier", "not_found", "Order not found"),
    "no_route": Refusal(404, "identifier", "not_found", "Route not found"),
    "rate_limited": Refusal(429, "identifier", "too_many_requests", "Too many requests"),
    "server_error": Refusal(500, "identifier", "internal_error", "Internal server error"),
    "unavailable": Refusal(503, "identifier", "service_unavailable", "Service unavailable"),
    "gateway_timeout": Refusal(504, "identifier", "gateway_timeout", "Gateway timeout"),
    # The documentation of orders uses other names for the same errors.
    "unauthorized": Refusal(401, "identifier", "unauthorized", AUTHENTICATION),
    "invalid_parameter": Refusal(400, "identifier", "invalid_parameter", "Invalid parameter"),
    "resource_not_found": Refusal(404, "identifier", "resource_not_found", "Order not found"),
    "quota_exceeded": Refusal(429, "identifier", "rate_limited", "Rate limit exceeded"),
}
# Which documentation the order routes follow: the page about errors, or the pages about orders.
VOCABULARIES: dict[str, dict[str, str]] = {
    "errors": {},
    "orders": {
        "headers_missing": "unauthorized",
        "invalid_token": "unauthorized",
        "token_expired": "unauthorized",
        "bad_venue": "invalid_parameter",
        "bad_relation": "invalid_parameter",
        "not_json": "invalid_parameter",
        "extra_fields": "invalid_parameter",
        "not_found": "resource_not_found",
        "rate_limited": "quota_exceeded",
    },
}
# The configurations of the brand, with the refusals of every call: of /auth, and of the order routes.
STATES: dict[str, tuple[str | None, str | None]] = {
    "ok": (None, None),
    "client_disabled": ("client_disabled", None),
    "integrator_deactivated": ("unknown_integrator", "integrator_deactivated"),
    "test_mode": ("test_mode", "test_mode"),
    "test_mode_200": ("test_mode_200", "test_mode_200"),
    "module_missing": (None, "module_missing"),
}


def refuse(name: str, style: str = "", **fields: Any) -> Answer:
    """Return a refusal as an answer.

    Parameters
    ----------
    name
        A key of `REFUSALS`.
    style
        A key of `STYLES`; empty for the documented one.
    **fields
        More fields of the body.
    """
    refusal = REFUSALS[name]
    body = STYLES[style or refusal.style](refusal.error, refusal.text)
    return Answer(refusal.status, body | fields)
