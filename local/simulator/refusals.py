"""How Clopos refuses a call: every documented or reported error, in each of its forms."""

from collections.abc import Callable
from typing import Any, NamedTuple

from local.simulator.answers import Answer, Json


class Refusal(NamedTuple):
    """One error."""

    status: int
    style: str  # the form in which it is documented, or was seen: a key of `STYLES`
    error: str
    text: str


FOUR_FIELDS = "Missing client_id, client_secret, brand, or integrator_id"
TEST_MODE = "Integrator is in test mode. But brand is not in test mode"
AUTHENTICATION = "Missing or invalid authentication headers"
NO_MODULE = "does not have access to module call_center"
NO_RIGHT = "This user does not have the right to change orders"
NO_MODEL = "No query results for model [App\\Models\\Client\\ServiceNotification] 1000"
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
    "module_missing": Refusal(403, "sentence", "forbidden", NO_MODULE),
    "staff_role": Refusal(403, "sentence", "forbidden", NO_RIGHT),
    "bad_venue": Refusal(400, "identifier", "validation_failed", "x-venue must be a venue id"),
    "not_json": Refusal(400, "identifier", "validation_failed", "The request must be application/json"),
    "extra_fields": Refusal(400, "identifier", "validation_failed", "The body must include only status"),
    "status_not_allowed": Refusal(400, "identifier", "validation_failed", "Status is not allowed"),
    "not_found": Refusal(404, "identifier", "not_found", "Order not found"),
    "model_not_found": Refusal(404, "objects", "NotFoundHttpException", NO_MODEL),
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
# Which documentation the order routes follow: the page about errors, the pages about orders, or what was
# seen on a live brand.
VOCABULARIES: dict[str, dict[str, str]] = {
    "errors": {},
    "orders": {
        **dict.fromkeys(("headers_missing", "invalid_token", "token_expired"), "unauthorized"),
        **dict.fromkeys(("bad_venue", "not_json", "extra_fields"), "invalid_parameter"),
        "not_found": "resource_not_found",
        "rate_limited": "quota_exceeded",
    },
    "live": {"not_found": "model_not_found"},
}
# The configurations of the brand, with the refusals of every call: of /auth, and of the order routes.
STATES: dict[str, tuple[str | None, str | None]] = {
    "ok": (None, None),
    "client_disabled": ("client_disabled", None),
    "integrator_deactivated": ("unknown_integrator", "integrator_deactivated"),
    "test_mode": ("test_mode", "test_mode"),
    "test_mode_200": ("test_mode_200", "test_mode_200"),
    "module_missing": (None, "module_missing"),
    "staff_role": (None, "staff_role"),
}

_EXCEPTIONS = {
    400: "BadRequestHttpException",
    401: "UnauthorizedHttpException",
    403: "AccessDeniedHttpException",
    404: "NotFoundHttpException",
    429: "TooManyRequestsHttpException",
}


def _objects(refusal: Refusal) -> Json:
    exception = _EXCEPTIONS.get(refusal.status, "HttpException")
    said = {"message": refusal.text, "type": "server_side", "exception": exception}
    return {"success": False, "error": [said | {"http_code": refusal.status}]}


STYLES: dict[str, Callable[[Refusal], Json]] = {
    "sentence": lambda refusal: {"success": False, "error": refusal.text, "message": refusal.text},
    "identifier": lambda refusal: {"success": False, "error": refusal.error, "message": refusal.text},
    "objects": _objects,  # seen on a live brand
    "message": lambda refusal: {"success": False, "message": refusal.text},
    "bare": lambda refusal: {"message": refusal.text},
    "schema": lambda refusal: {"error": refusal.error, "message": refusal.text, "details": None},
}


def refuse(name: str, style: str = "", objects_status: int = 0, **fields: Any) -> Answer:
    """Return a refusal as an answer: by default in the documented style, with its own status.

    `objects_status` is the HTTP status that goes with the list of objects, which nobody knows.
    """
    refusal = REFUSALS[name]
    style = style or refusal.style
    status = objects_status if style == "objects" and objects_status else refusal.status
    return Answer(status, STYLES[style](refusal) | fields)
