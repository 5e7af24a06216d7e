"""What Clopos's answers mean.

Source of every fact about Clopos: developer.clopos.com (update-order, errors, authentication, concepts).
"""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from cancellation.errors import CancelError, printable
from cancellation.messages import Order
from cancellation.redaction import PIECE_CHARS, redact
from cancellation.transport import Answer

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
# must not do that.
PLAIN_STATUSES = frozenset({401, 403, 429, *range(500, 600)})

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
WORDS: dict[int, dict[str, str]] = {
    400: CONFIGURATION,
    401: CONFIGURATION,
    # A 200 alone means nothing: `success` decides.
    200: {
        **CONFIGURATION,
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


MAX_WORDS_CHARS = 2000  # of a text by Clopos; the rest is ignored


class TokenRefused(CancelError):
    """Clopos rejects our token. If a new one does not help, the error is `clopos_access_denied`."""


class Refused(CancelError):
    """Clopos rejects the PUT. Only a check of the order shows whether it is already cancelled.

    `explained` is whether Clopos gave a documented reason.
    """

    explained = True


def read_cancellation(answer: Answer, order: Order, token: str) -> dict[str, Any]:
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
    content = read_json(answer)
    data = content.get("data")
    if _is_success(answer, content) and isinstance(data, dict):
        if same_id(data.get("id"), order) and data.get("status") == "IGNORE":
            return read_order(data, (token,))
        raise _error("clopos_bad_response", answer, {}, CancelError)
    raise error_of(answer, content, (token,), order)


def read_check(answer: Answer, order: Order, token: str, refusal: Refused) -> dict[str, Any]:
    """Return the order as the result's `data`, from the answer to the GET that follows a refused PUT.

    Raises
    ------
    CancelError
        `order_not_cancellable` if the order is not cancelled; else the reason why that is
        not known.
    """
    content = read_json(answer)
    data = content.get("data")
    if not _is_success(answer, content) or not isinstance(data, dict):
        error = error_of(answer, content, (token,), order)
        # A GET is never refused because of the order's state, so this error says nothing about that state.
        raise _error("clopos_bad_response", answer, {}, CancelError) if isinstance(error, Refused) else error
    status = data.get("status")
    if not same_id(data.get("id"), order) or not isinstance(status, str):
        raise _error("clopos_bad_response", answer, {}, CancelError)
    if status == "IGNORE":
        return read_order(data, (token,))
    if status == "PENDING" and not refusal.explained:
        # A pending order can be cancelled. Clopos gave no reason for its refusal, so a later attempt may
        # succeed.
        raise CancelError("clopos_bad_response", refusal.message, refusal.upstream, refusal.retry_after_s)
    receipt = data.get("receipt")
    receipt_id = receipt.get("id") if isinstance(receipt, dict) else None
    found = {
        "status": printable(redact(status[:MAX_WORDS_CHARS], (token,))),
        "receipt_id": receipt_id if type(receipt_id) is int else None,
    }
    words = f"Clopos does not cancel this order: its status is {found['status']}"
    if found["receipt_id"] is not None:
        words += f", its receipt is {found['receipt_id']}"
    raise CancelError("order_not_cancellable", words, refusal.upstream, order=found)


def error_of(
    answer: Answer, content: dict[str, Any], secrets: tuple[str, ...], order: Order | None
) -> CancelError:
    """Return the error for an answer that is not a success."""
    status = answer.status or 0
    said = {key: content[key] for key in ("error", "message") if isinstance(content.get(key), str)}
    words = {} if content.get("success") is True else WORDS.get(status, {})
    meaning = _meaning_of_words(said, words, order.order_id if order else "")
    # A refusal has no reason if it is a 200 with an unknown text, or a proxy's page in place of Clopos's
    # answer.
    explained = meaning is not None or (status != 200 and bool(content))
    if not explained and (STATUSES.get(status) == "refused" or content.get("success") is False):
        meaning = "refused"
    if meaning is None and (content or status in PLAIN_STATUSES):
        meaning = STATUSES.get(status)
    said = {key: redact(text[:MAX_WORDS_CHARS], secrets) for key, text in said.items()}
    if meaning == "token_refused":
        return _error("clopos_access_denied", answer, said, TokenRefused)
    if meaning == "refused":
        # A refusal without a reason is an undocumented answer, unless the check of the order shows more.
        refused = _error(
            "order_not_cancellable" if explained else "clopos_bad_response", answer, said, Refused
        )
        refused.explained = explained
        return refused
    return _error(meaning or "clopos_bad_response", answer, said, CancelError)


def read_json(answer: Answer) -> dict[str, Any]:
    """Return the body, empty if it is not a JSON object. Numbers that Python cannot represent become None."""
    try:
        content = json.loads(
            (answer.body or b"").decode("utf-8-sig", errors="replace"),
            parse_int=_number_reader(int),
            parse_float=_number_reader(float),
            parse_constant=lambda _: None,
        )
    except (ValueError, RecursionError):  # HTML, an empty body, broken or too deeply nested JSON
        return {}
    return content if isinstance(content, dict) else {}


def _number_reader(number: type[int] | type[float]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        # More digits than Python converts or a float holds: not a number that an order has.
        value = number(text) if len(text) < 1000 else math.inf
        return value if value not in (math.inf, -math.inf) else None

    return read


def _is_success(answer: Answer, content: dict[str, Any]) -> bool:
    return 200 <= (answer.status or 0) < 300 and content.get("success") is True


def same_id(value: object, order: Order) -> bool:
    """Whether Clopos's id is that of the order, compared as text."""
    return type(value) in (int, str) and str(value) == order.order_id


def _meaning_of_words(said: dict[str, str], meanings: dict[str, str], order_id: str) -> str | None:
    """Return the meaning of Clopos's texts, None if it is not known.

    The order id is ignored inside a longer text: the caller chose it, and it may read like an error.
    """
    own = re.compile(rf"(?<![\w-]){re.escape(order_id)}(?![\w-])", re.IGNORECASE) if order_id else None
    for text in said.values():
        exact, found = _plain(text), _plain(own.sub(" ", text) if own else text)
        for words, meaning in meanings.items():
            if exact == words or words in found:
                return meaning
    return None


def _plain(text: str) -> str:
    return text[:MAX_WORDS_CHARS].lower().replace("_", " ").strip()


Error = TypeVar("Error", bound=CancelError)


def _error(code: str, answer: Answer, said: dict[str, str], error: type[Error]) -> Error:
    upstream = {key: printable(said[key]) if key in said else None for key in ("error", "message")}
    words = upstream["message"] or upstream["error"]
    return error(
        code,
        f"{EXPLANATIONS[code]}: {words}" if words else EXPLANATIONS[code],
        {"status": answer.status, **upstream},
        answer.rate_limit.wait_s,
    )


# --- The order ----------------------------------------------------------------------------------------------


def read_order(data: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return the result's `data`: the documented fields; an optional one of another type becomes None.

    If Clopos repeats a secret in a field, it is redacted.
    """
    order = {name: read(data.get(name)) for name, read in ORDER_FIELDS.items()}
    texts = {
        name: value for name, value in order.items() if isinstance(value, str) and len(value) >= PIECE_CHARS
    }
    order |= {name: redact(text, secrets) for name, text in texts.items() if name != "id"}
    response = order["integration_response"]
    if response and redact(written := json.dumps(response), secrets) != written:
        order["integration_response"] = None
    return order


def read_id(value: object) -> Any:
    """Return the id as it is: it is known to be that of the request."""
    return value


def read_status(value: object) -> Any:
    """Return the status as it is: it is known to be `IGNORE`."""
    return value


def read_text(value: object) -> str | None:
    """Return a string that can be written as UTF-8; half of a surrogate pair cannot."""
    if not isinstance(value, str):
        return None
    return value if not any("\ud800" <= char <= "\udfff" for char in value) else None


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


ORDER_FIELDS: dict[str, Callable[[Any], Any]] = {
    "id": read_id,
    "venue_id": read_integer,
    "type": read_text,
    "integration": read_text,
    "integration_uuid": read_text,
    "integration_id": read_text,
    "customer_ref_id": read_text,
    "integration_status": read_text,
    "status": read_status,
    "created_at": read_timestamp,
    "updated_at": read_timestamp,
    "integration_response": read_object,
}
