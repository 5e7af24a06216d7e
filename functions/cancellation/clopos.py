"""The Clopos Open API v2: the call that cancels an order, the call that gets a token, and their answers.

Source of every fact about Clopos: developer.clopos.com (update-order, authentication, errors, rate-limits).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fastjsonschema
import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util.retry import RequestHistory

from cancellation.deadline import Deadline
from cancellation.errors import CancelError, printable
from cancellation.messages import Order
from cancellation.pacing import NotInTime, Pacer
from cancellation.transport import MIN_CALL_S, CallAdapter, CallRetry, CallTimeout, GaveUp, retry_after_s

# At once after the first failure, then after 1, 2, 4, 8 s and jitter: a gateway that restarts is soon back.
BACKOFF_FACTOR_S = 0.5
BACKOFF_JITTER_S = 0.25
# 501 and 505 say that asking again is pointless.
TRANSIENT_STATUSES = frozenset({429, *range(500, 600)} - {501, 505})

# Clopos's words, in lower case and without underscores (it has sentences and identifiers side by side), and
# what they mean whatever the status: the test-mode refusal comes as 401 and as 200, `Invalid integrator_id`
# as 400 and as 401. The first that is found counts.
MEANINGS = {
    "token expired": "token_refused",
    "invalid token": "token_refused",
    "invalid integrator id": "clopos_access_denied",
    "test mode": "clopos_access_denied",
    "client is disabled": "clopos_access_denied",
}
# What else they mean beside a 200, which says nothing by itself: `success` is what counts.
MEANINGS_OF_200 = {
    **MEANINGS,
    "not found": "order_not_found",
    "validation failed": "order_not_cancellable",
}
# What a status means where the words say nothing. Any other below 500 is `clopos_bad_response`.
STATUSES = {
    400: "order_not_cancellable",
    401: "clopos_access_denied",
    403: "clopos_access_denied",
    404: "order_not_found",
    409: "order_not_cancellable",
    422: "order_not_cancellable",
    429: "rate_limited",
    **dict.fromkeys(range(500, 600), "clopos_unavailable"),
    504: "clopos_timeout",
}
# These say enough without JSON. The others blame the order, and a proxy's error page must not do that.
PLAIN_STATUSES = frozenset({401, 403, 429, *range(500, 600)})

EXPLANATIONS = {
    "order_not_found": "Clopos knows no such order in this brand and venue",
    "order_not_cancellable": "Clopos refuses to cancel this order",
    "rate_limited": "Clopos's quota is used up",
    "clopos_access_denied": "Clopos refuses our token or our configuration",
    "clopos_bad_response": "Clopos sent an answer that its documentation does not know",
    "clopos_unavailable": "Clopos cannot be reached, or fails by itself",
    "clopos_timeout": "Clopos did not answer in time",
}

_TEXT = {"type": ["string", "null"]}
_TIMESTAMP = {"type": ["string", "null"], "format": "date-time"}
# The result's `data`, and what is asked of Clopos's: it may leave out all but `id` and `status` (the older
# variant does), add fields of its own, and write timestamps in any ISO 8601 form.
ORDER_DATA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": ["integer", "string"]},  # the path takes a string too
        "venue_id": {"type": ["integer", "null"]},
        "type": _TEXT,
        "integration": _TEXT,
        "integration_uuid": _TEXT,
        "integration_id": _TEXT,
        "customer_ref_id": _TEXT,
        "integration_status": _TEXT,
        "status": {"const": "IGNORE"},
        "created_at": _TIMESTAMP,
        "updated_at": _TIMESTAMP,
        "integration_response": {"type": ["object", "null"]},
    },
    "required": ["id", "status"],
}
_check_order = fastjsonschema.compile(ORDER_DATA, use_formats=False)


class TokenRefused(CancelError):
    """Clopos says that our token has expired or is invalid: `clopos_access_denied`, if a new one is too."""


@dataclass
class Tally:
    """What the calls for one order came to.

    Attributes
    ----------
    attempts : int
        Calls that were sent.
    throttled : int
        Answers with status 429.
    latencies_ms : list of float
        Milliseconds that each answered call took, with the retries behind it.
    quota_left : int or None
        Calls that Clopos said are left in its window.
    token_seconds_left : float or None
        Seconds until the token expires.
    """

    attempts: int = 0
    throttled: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    quota_left: int | None = None
    token_seconds_left: float | None = None


class Clopos:
    """A client of Clopos; its connections live as long as it does.

    Parameters
    ----------
    base_url : str
        Such as `https://integrations.clopos.com/open-api/v2`.
    retries : int
        Further attempts after a transient fault, if the deadline leaves time for them.
    retry_statuses : bool
        Whether an answer (429, 5xx) counts as a transient fault too, or only a broken connection.
    connections : int
        Calls that are made at the same time.
    pacer : Pacer, optional
        Waits for a turn before each call and learns from each answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        retries: int,
        retry_statuses: bool = True,
        connections: int = 1,
        pacer: Pacer | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._pacer = pacer
        self._retries = CallRetry(
            total=retries,
            allowed_methods=None,  # both calls may be repeated: setting IGNORE twice is setting it once
            status_forcelist=TRANSIENT_STATUSES if retry_statuses else (),
            respect_retry_after_header=retry_statuses,  # else it retries a 429 or 503 of its own accord
            backoff_factor=BACKOFF_FACTOR_S,
            backoff_jitter=BACKOFF_JITTER_S,
            raise_on_status=False,
        )
        self._adapter = CallAdapter(pool_connections=1, pool_maxsize=connections)
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy variable or .netrc may redirect a call with our token
        self._session.mount(self._base_url, self._adapter)

    def cancel(self, order: Order, token: str, deadline: Deadline, tally: Tally) -> dict[str, Any]:
        """Set an order's status to `IGNORE` (`PUT /orders/{id}`).

        Parameters
        ----------
        order : Order
            The order.
        token : str
            The JWT, bare.
        deadline : Deadline
            No attempt is begun or waited for beyond it.
        tally : Tally
            Counts what was done, also where it fails.

        Returns
        -------
        dict
            The order in the contract's shape.

        Raises
        ------
        TokenRefused
            When a newer token may help.
        CancelError
            For every other way in which it fails.
        """
        headers = {"x-token": token}
        if order.venue_id is not None:
            headers["x-venue"] = str(order.venue_id)
        url = f"{self._base_url}/orders/{order.order_id}"
        response = self._call("PUT", url, headers, {"status": "IGNORE"}, deadline, tally)
        answer = _json(response)
        if response.status_code < 300 and answer.get("success") is True:
            return _order(response, answer.get("data"))
        raise _error(response, answer, secret=token)

    def authenticate(self, credentials: Mapping[str, str], deadline: Deadline) -> tuple[str, float]:
        """Get a token (`POST /auth`).

        Parameters
        ----------
        credentials : mapping
            `client_id`, `client_secret`, `brand` and `integrator_id`.
        deadline : Deadline
            No attempt is begun or waited for beyond it.

        Returns
        -------
        token : str
            The JWT.
        expires_at : float
            Unix seconds.

        Raises
        ------
        CancelError
            `clopos_access_denied` where Clopos refuses the credentials.
        """
        response = self._call("POST", f"{self._base_url}/auth", {}, dict(credentials), deadline, Tally())
        answer = _json(response)
        token, expires_at = answer.get("token"), answer.get("expires_at")
        if response.status_code < 300 and answer.get("success") is True:
            if isinstance(token, str) and token and isinstance(expires_at, int | float):
                return token, expires_at
            raise CancelError(**_what("clopos_bad_response", response, {}))
        error = _error(response, answer, credentials["client_secret"])
        if error.kind.message_at_fault:  # there is no order to blame: what it refuses are the credentials
            error = CancelError("clopos_access_denied", error.message, error.upstream)
        raise error

    def _call(
        self, method: str, url: str, headers: dict[str, str], body: object, deadline: Deadline, tally: Tally
    ) -> requests.Response:
        if deadline.left() < MIN_CALL_S:
            raise CancelError("clopos_timeout", "no time was left to call Clopos")
        # Calls at the same time belong to the same invocation and have the same deadline.
        self._adapter.max_retries = self._retries.until(deadline)
        try:
            with self._pacer.turn(deadline.at - MIN_CALL_S) if self._pacer else nullcontext():
                response = self._session.request(
                    method,
                    url,
                    json=body,
                    headers=headers,
                    timeout=CallTimeout(deadline),  # type: ignore[arg-type]  # a urllib3 Timeout will do
                    allow_redirects=False,
                )
                if self._pacer:
                    self._pacer.observe(response.headers, response.status_code)
        except NotInTime as exc:
            raise CancelError(
                "rate_limited", "its turn within Clopos's quota has not come", retry_after_s=exc.wait
            ) from None
        except (requests.RequestException, HTTPError) as exc:
            # Everything between our socket and theirs: DNS, TLS, a refused, broken or silent connection.
            cause = exc.args[0] if exc.args else None
            tally.attempts += cause.attempts if isinstance(cause, GaveUp) else 1
            code = "clopos_timeout" if _is_timeout(cause) else "clopos_unavailable"
            raise CancelError(code, EXPLANATIONS[code]) from exc
        history: tuple[RequestHistory, ...] = response.raw.retries.history  # type: ignore[union-attr]
        statuses = [*(attempt.status for attempt in history), response.status_code]
        tally.attempts += len(statuses)
        tally.throttled += statuses.count(429)
        tally.latencies_ms.append(response.elapsed.total_seconds() * 1000)
        remaining = response.headers.get("RateLimit-Remaining", "")
        tally.quota_left = int(remaining) if remaining.isdecimal() else None
        return response


def _is_timeout(cause: object) -> bool:
    reason = getattr(cause, "reason", cause)
    # urllib3 counts a refused connection among its connect timeouts.
    return isinstance(reason, ReadTimeoutError | ConnectTimeoutError) and not isinstance(
        reason, NewConnectionError
    )


def _json(response: requests.Response) -> dict[str, Any]:
    """Return the answer, empty where it is no JSON object."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        # HTML, nothing, broken or absurdly nested JSON: what the status says must do.
        return {}
    return answer if isinstance(answer, dict) else {}


def _order(response: requests.Response, data: Any) -> dict[str, Any]:
    try:
        _check_order(data)
        order = {name: data.get(name) for name in ORDER_DATA["properties"]}
        for name in ("created_at", "updated_at"):
            order[name] = order[name] and _utc(order[name])
    except ValueError as exc:
        # fastjsonschema's error and fromisoformat's are ValueErrors: not the documented shape.
        raise CancelError(**_what("clopos_bad_response", response, {})) from exc
    return order


def _utc(timestamp: str) -> str:
    """Return an ISO 8601 timestamp as RFC 3339 in UTC and whole seconds; Clopos's naive ones are UTC."""
    moment = datetime.fromisoformat(timestamp)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(response: requests.Response, answer: dict[str, Any], secret: str) -> CancelError:
    """Turn a refusal into its error."""
    status = response.status_code
    says = {
        key: answer[key].replace(secret, "***") for key in ("error", "message") if _is_text(answer.get(key))
    }
    words = " ".join(says.values()).lower().replace("_", " ")
    meanings = MEANINGS_OF_200 if status == 200 else MEANINGS if status < 429 else {}
    meaning = next((meanings[text] for text in meanings if text in words), None)
    if meaning is None and (answer or status in PLAIN_STATUSES):
        meaning = STATUSES.get(status)
    if meaning == "token_refused":
        return TokenRefused(**_what("clopos_access_denied", response, says))
    return CancelError(**_what(meaning or "clopos_bad_response", response, says))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _what(code: str, response: requests.Response, says: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of the error that an answer means."""
    upstream = {key: printable(says[key]) if key in says else None for key in ("error", "message")}
    words = upstream["message"] or upstream["error"]
    return {
        "code": code,
        "message": f"{EXPLANATIONS[code]}: {words}" if words else EXPLANATIONS[code],
        "upstream": {"status": response.status_code, **upstream},
        "retry_after_s": retry_after_s(response.status_code, response.headers),
    }
