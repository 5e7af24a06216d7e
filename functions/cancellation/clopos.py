"""The client of the Clopos Open API v2: three calls.

Source of every fact about Clopos: developer.clopos.com (update-order, authentication, errors, rate-limits).
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cancellation.answers import (
    EXPLANATIONS,
    Refused,
    TokenRefused,
    error_of,
    is_success,
    read_cancellation,
    read_check,
    read_json,
)
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.exchange import MIN_CALL_S, Connections, Exchange, tls_context
from cancellation.messages import Order
from cancellation.pacing import Pacer
from cancellation.redaction import redact, redact_fields

# `with` adds the order's receipt, if there is one.
CHECK_QUERY = "?with[0]=receipt:id,service_notification_id,status"
CREDENTIALS = ("client_id", "client_secret", "brand", "integrator_id")
# A token lasts an hour. An expiry beyond a year must be in milliseconds, or a mistake.
MAX_LIFETIME_S = 365 * 24 * 60 * 60


@dataclass(frozen=True)
class Attempt:
    """One attempt to cancel an order: the calls that it took, and the cancelled order or an error."""

    exchanges: list[Exchange]  # all calls, also those that failed
    data: dict[str, Any] | None = None  # the cancelled order in the contract's shape
    error: CancelError | None = None  # `TokenRefused` if a newer token may help


class Clopos:
    """A client of Clopos; its connections live as long as it does.

    Parameters
    ----------
    base_url : str
        Such as `https://integrations.clopos.com/open-api/v2`.
    pacer : Pacer, optional
        Delays calls so that they stay within the quota, and learns from each answer.
    """

    def __init__(self, base_url: str, pacer: Pacer | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._pacer = pacer
        self._connections = Connections(tls_context())

    def cancel(self, order: Order, token: str, deadline: Deadline) -> Attempt:
        """Set an order's status to `IGNORE` (`PUT /orders/{id}`), and check the order if Clopos refuses.

        A refusal alone does not show whether the order is cancelled: an earlier PUT may have succeeded and
        its answer may have been lost. Texts of Clopos are handed on without the token.
        """
        exchanges: list[Exchange] = []
        headers = {"x-token": token}
        if order.venue_id is not None:
            headers["x-venue"] = str(order.venue_id)
        path = f"/orders/{order.order_id}"
        try:
            try:
                answer = self._call("PUT", path, headers, {"status": "IGNORE"}, deadline, exchanges)
                data = read_cancellation(answer, order)
            except Refused as refusal:
                answer = self._call("GET", path + CHECK_QUERY, headers, None, deadline, exchanges)
                data = read_check(answer, order, refusal)
        except CancelError as exc:
            self._connections.disconnect()
            return Attempt(exchanges, error=_without_secrets(exc, token))
        return Attempt(exchanges, data={**redact_fields(data, (token,)), "id": data["id"]})

    def rejects(self, token: str, deadline: Deadline) -> bool:
        """Return whether Clopos rejects a token (`GET /orders/{id}` of an order that does not exist)."""
        try:
            answer = self._call("GET", "/orders/0", {"x-token": token}, None, deadline, [])
        except CancelError:  # Clopos fails, which says nothing about the token
            return False
        return isinstance(error_of(answer, read_json(answer)), TokenRefused)

    def authenticate(self, credentials: Mapping[str, str], deadline: Deadline) -> tuple[str, int | None]:
        """Get a token (`POST /auth`).

        Parameters
        ----------
        credentials : mapping
            `client_id`, `client_secret`, `brand` and `integrator_id`; nothing else of it is sent.
        deadline : Deadline
            For the call.

        Returns
        -------
        token : str
            The JWT.
        expires_at : int or None
            Unix seconds; None if Clopos names no time within a year.

        Raises
        ------
        CancelError
            `clopos_access_denied` if Clopos rejects the credentials.
        """
        body = {name: credentials[name] for name in CREDENTIALS}
        answer = self._call("POST", "/auth", {}, body, deadline, [])
        content = read_json(answer)
        token = content.get("token")
        if is_success(answer, content) and isinstance(token, str) and token:
            return token, _read_expiry(content)
        error = error_of(answer, content)
        if content and (error.kind.is_final or isinstance(error, Refused)):
            error = replace(error, code="clopos_access_denied")  # no order is involved
        if error.code == "clopos_access_denied":
            text = (error.upstream or {}).get("message") or (error.upstream or {}).get("error")
            error = replace(error, message="Clopos rejects the credentials" + (f": {text}" if text else ""))
        raise _without_secrets(error, *body.values())

    def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: object,
        deadline: Deadline,
        exchanges: list[Exchange],
    ) -> Exchange:
        """Make one call, and add it to `exchanges`. If Clopos has closed a kept connection, make it again.

        Raises `CancelError` if no complete answer came.
        """
        while True:
            if self._pacer:
                self._pacer.wait(deadline)
            if deadline.left() < MIN_CALL_S:
                raise CancelError("clopos_timeout", "no time was left to call Clopos")
            exchange = self._connections.exchange(method, self._base_url + path, headers, body, deadline)
            exchanges.append(exchange)
            if self._pacer:
                self._pacer.observe(exchange)
            if not exchange.failure:
                return exchange
            if not (exchange.was_kept and exchange.failure == "clopos_unavailable"):
                raise CancelError(exchange.failure, EXPLANATIONS[exchange.failure])


def _without_secrets(error: CancelError, *secrets: str) -> CancelError:
    return replace(
        error,
        message=redact(error.message, secrets),
        upstream=error.upstream and redact_fields(error.upstream, secrets),
        order=error.order and redact_fields(error.order, secrets),
    )


def _read_expiry(content: Mapping[str, Any]) -> int | None:
    """Return when a token expires, from `expires_at` (Unix seconds, also as digits) or `expires_in`."""
    now = int(time.time())
    at, lifetime_s = (_read_number(content.get(name)) for name in ("expires_at", "expires_in"))
    candidates = [at, None if lifetime_s is None else now + lifetime_s]
    return next((at for at in candidates if at is not None and now < at <= now + MAX_LIFETIME_S), None)


def _read_number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value):
        return int(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
