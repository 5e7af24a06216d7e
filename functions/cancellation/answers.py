"""What Clopos's answers mean.

Source of every fact about Clopos: developer.clopos.com (update-order, errors, authentication, concepts), and
what integrators saw on live brands.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cancellation.errors import CancelError, printable
from cancellation.exchange import Exchange
from cancellation.messages import Order

# What a status means unless the text says more. Any other status below 500 is `clopos_bad_response`.
STATUSES = {
    400: "refused",
    401: "token_refused",
    403: "clopos_access_denied",
    404: "order_not_found",
    409: "refused",
    422: "refused",
    429: "rate_limited",
    **dict.fromkeys(range(500, 600), "clopos_unavailable"),
    504: "clopos_timeout",
}
# These statuses are believed without a JSON body. The others blame the order, and the HTML page of a proxy
# must not do that. (After a refusal the order is checked, so a refusal without a body blames nothing either.)
PLAIN_STATUSES = frozenset({400, 401, 403, 409, 422, 429, *range(500, 600)})
# With these statuses, the body may say more: a status of its own, or words.
VAGUE_STATUSES = frozenset({200, 400})

# The texts that Clopos sends as `error` or `message`, in lower case and with spaces for underscores. It uses
# both sentences and identifiers for the same errors. Only for the statuses below does the text change the
# meaning.
CONFIGURATION = {
    "invalid integrator id": "clopos_access_denied",
    "integrator is in test mode. but brand is not in test mode": "clopos_access_denied",
    "integrator is in test mode": "clopos_access_denied",
    "test mode mismatch": "clopos_access_denied",
    "client is disabled": "clopos_access_denied",
    "client disabled": "clopos_access_denied",
}
NOT_FOUND = {"no query results for model": "order_not_found"}
WORDS: dict[int, dict[str, str]] = {
    400: {**CONFIGURATION, **NOT_FOUND},
    401: CONFIGURATION,
    # A 200 alone means nothing: `success` decides.
    200: {
        **CONFIGURATION,
        **NOT_FOUND,
        "token expired": "token_refused",
        "token has expired": "token_refused",
        "invalid token": "token_refused",
        "unauthorized": "token_refused",
        "not found": "order_not_found",
        "too many requests": "rate_limited",
        "rate limited": "rate_limited",
        "not allowed": "refused",
        "validation failed": "refused",
        "invalid parameter": "refused",
    },
}

EXPLANATIONS = {
    "order_not_found": "Clopos knows no such order in this brand and venue",
    "order_not_cancellable": "Clopos does not cancel this order",
    "rate_limited": "Clopos's rate limit is reached",
    "clopos_access_denied": "Clopos rejects our token or configuration",
    "clopos_bad_response": "Clopos sent an undocumented answer",
    "clopos_unavailable": "Clopos is unavailable",
    "clopos_timeout": "Clopos did not answer in time",
}
MAX_TEXT_CHARS = 2000  # of a text by Clopos that is searched for words; the rest is ignored


class TokenRefused(CancelError):
    """Clopos rejects our token. If a new one does not help, the error is `clopos_access_denied`."""


class Refused(CancelError):
    """Clopos rejects the PUT. Only a check of the order shows whether it is already cancelled."""


@dataclass(frozen=True)
class Explanation:
    """Why Clopos refuses: its `error` and `message`, and the HTTP status that its body names."""

    error: str | None
    message: str | None
    http_code: int | None


def read_cancellation(answer: Exchange, order: Order) -> dict[str, Any]:
    """Return the order as the result's `data`, from the answer to the PUT.

    Raises
    ------
    Refused
        If the order itself has to be checked.
    TokenRefused
        If a newer token may help.
    CancelError
        For every other answer.
    """
    data = read_data(answer, order)
    if data.get("status") != "IGNORE":
        raise _bad_response(answer)
    return read_order(data)


def read_check(answer: Exchange, order: Order, refusal: Refused) -> dict[str, Any]:
    """Return the order as the result's `data`, from the answer to the GET that follows a refused PUT.

    Raises
    ------
    CancelError
        `order_not_cancellable` if the order is not cancelled; else the reason why that is not known.
    """
    try:
        data = read_data(answer, order)
    except Refused as exc:  # a GET is not refused because of the order's state, so this says nothing about it
        raise CancelError(exc.code, exc.message, exc.upstream, exc.retry_after_s) from None
    status = data.get("status")
    if not isinstance(status, str) or not status:
        raise _bad_response(answer)
    if status == "IGNORE":
        return read_order(data)
    if status == "PENDING":
        # A contradiction: a pending order can be cancelled. A later attempt does it, or finds another status.
        text = "Clopos does not cancel this order, although its status is PENDING"
        raise CancelError("clopos_bad_response", text, refusal.upstream, refusal.retry_after_s)
    receipt = data.get("receipt")
    receipt_id = receipt.get("id") if isinstance(receipt, dict) else data.get("receipt_id")
    found = {"status": printable(status), "receipt_id": receipt_id if type(receipt_id) is int else None}
    text = f"{EXPLANATIONS['order_not_cancellable']}: its status is {found['status']}"
    if found["receipt_id"] is not None:
        text += f", its receipt is {found['receipt_id']}"
    raise CancelError("order_not_cancellable", text, refusal.upstream, order=found)


def read_data(answer: Exchange, order: Order) -> dict[str, Any]:
    """Return the `data` of a success that is about this order.

    Raises
    ------
    CancelError
        For every other answer; see `read_cancellation`.
    """
    content = read_json(answer)
    if not is_success(answer, content):
        raise error_of(answer, content, order.order_id)
    data = content.get("data")
    if not isinstance(data, dict) or not is_id(data.get("id")) or str(data["id"]) != order.order_id:
        raise _bad_response(answer)
    return data


def error_of(answer: Exchange, content: dict[str, Any], order_id: str = "") -> CancelError:
    """Return the error for an answer that is not a success."""
    explanation, status = read_explanation(content), 200 if _is_2xx(answer) else answer.status or 0
    meanings = {} if content.get("success") is True else WORDS.get(status, {})
    meaning = _meaning_of_words(explanation, meanings, order_id)
    if meaning is None and status in VAGUE_STATUSES:
        meaning = STATUSES.get(explanation.http_code or 0)
    if meaning is None and (content or status in PLAIN_STATUSES):
        meaning = STATUSES.get(status)
    if meaning is None and status == 200 and content.get("success") is False:
        meaning = "refused"  # for a reason that is not documented
    if meaning == "token_refused":
        return _error(TokenRefused, "clopos_access_denied", answer, explanation)
    if meaning == "refused":
        return _error(Refused, "clopos_bad_response", answer, explanation)
    return _error(CancelError, meaning or "clopos_bad_response", answer, explanation)


def read_explanation(content: Mapping[str, Any]) -> Explanation:
    """Read the error of an answer: texts in `error` and `message`, or a list of objects in `error`."""
    error, message, http_code = content.get("error"), content.get("message"), ""
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict):
        http_code, message = str(error.get("http_code")), error.get("message", message)
        error = error.get("exception")
    return Explanation(
        error if isinstance(error, str) else None,
        message if isinstance(message, str) else None,
        int(http_code) if re.fullmatch("[0-9]{3}", http_code) else None,
    )


def read_json(answer: Exchange) -> dict[str, Any]:
    """Return the body, empty if it is not a JSON object. Numbers that Python cannot represent become None."""
    try:
        content = json.loads(
            (answer.body or b"").decode("utf-8-sig", errors="replace"),
            # Python's `int` and `float` do not take every number that JSON has.
            parse_int=lambda text: int(text) if len(text) < 1000 else None,
            parse_float=lambda text: number if math.isfinite(number := float(text)) else None,
            parse_constant=lambda _: None,
        )
    except (ValueError, RecursionError):  # HTML, an empty body, broken or too deeply nested JSON
        return {}
    return content if isinstance(content, dict) else {}


def is_success(answer: Exchange, content: Mapping[str, Any]) -> bool:
    """Whether Clopos says that a call succeeded."""
    return _is_2xx(answer) and content.get("success") is True


def _is_2xx(answer: Exchange) -> bool:
    return 200 <= (answer.status or 0) < 300


def is_id(value: object) -> bool:
    """Whether a value can be an id: Clopos sends some as numbers and some as texts."""
    return type(value) in (int, str)


def _meaning_of_words(explanation: Explanation, meanings: dict[str, str], order_id: str) -> str | None:
    """Return the meaning of Clopos's texts, None if it is not known.

    The order id is ignored inside a longer text: the caller chose it, and it may read like an error.
    """
    own = re.compile(rf"(?<![\w-]){re.escape(order_id)}(?![\w-])", re.IGNORECASE) if order_id else None
    texts = [text for text in (explanation.error, explanation.message) if text is not None]
    plain = {_plain(text): _plain(own.sub(" ", text) if own else text) for text in texts}
    # Words count before texts: `UnauthorizedHttpException` says less than the message beside it.
    for words, meaning in meanings.items():
        if any(exact == words or words in found for exact, found in plain.items()):
            return meaning
    return None


def _plain(text: str) -> str:
    return text[:MAX_TEXT_CHARS].lower().replace("_", " ").strip()


def _error(kind: type[CancelError], code: str, answer: Exchange, explanation: Explanation) -> CancelError:
    error, message = (
        None if text is None else printable(text) for text in (explanation.error, explanation.message)
    )
    text = message or error
    return kind(
        code,
        f"{EXPLANATIONS[code]}: {text}" if text else EXPLANATIONS[code],
        {"status": answer.status, "error": error, "message": message},
        answer.rate_limit.retry_after_s,
    )


def _bad_response(answer: Exchange) -> CancelError:
    return _error(CancelError, "clopos_bad_response", answer, Explanation(None, None, None))


# --- The order ----------------------------------------------------------------------------------------------


def read_order(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cancelled order as the result's `data`; an optional field of another type becomes None."""
    return {"id": data["id"]} | {name: read(data.get(name)) for name, read in FIELDS.items()}


def read_text(value: object) -> str | None:
    """Return a string that can be written as UTF-8; half of a surrogate pair cannot."""
    if not isinstance(value, str):
        return None
    return value if not any("\ud800" <= char <= "\udfff" for char in value) else None


def read_id(value: object) -> str | None:
    """Return an id as text."""
    return read_text(str(value)) if is_id(value) else None


def read_integer(value: object) -> int | None:
    """Return an integer."""
    return value if type(value) is int else None


def read_object(value: object) -> dict[str, Any] | None:
    """Return an object that can be written as UTF-8 again."""
    try:
        return value if isinstance(value, dict) and read_text(json.dumps(value, ensure_ascii=False)) else None
    except RecursionError:  # nested too deeply to be written again
        return None


def read_timestamp(value: object) -> str | None:
    """Return an ISO 8601 timestamp as RFC 3339 in UTC and whole seconds; Clopos's naive ones are UTC."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # not a timestamp, or out of range in UTC
        return None
    if moment.year < 1970:
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


# The fields of the result's `data` beside `id`.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "venue_id": read_integer,
    "type": read_text,
    "integration": read_text,
    "integration_uuid": read_id,
    "integration_id": read_id,
    "customer_ref_id": read_id,
    "integration_status": read_text,
    "status": read_text,
    "created_at": read_timestamp,
    "updated_at": read_timestamp,
    "integration_response": read_object,
}
