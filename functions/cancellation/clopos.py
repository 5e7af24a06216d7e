"""The client of the Clopos Open API v2: three calls, each with its retries.

Source of every fact about Clopos: developer.clopos.com (update-order, authentication, errors, rate-limits).
"""

import itertools
import random
import time
from collections.abc import Mapping
from typing import Any

from cancellation.answers import (
    EXPLANATIONS,
    Refused,
    error_of,
    read_cancellation,
    read_check,
    read_json,
)
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.messages import Order
from cancellation.outage import Outage
from cancellation.pacing import Pacer
from cancellation.transport import MIN_CALL_S, Answer, Transport

# After a 501 or 505, trying again is pointless.
TRANSIENT_STATUSES = frozenset({429, *range(500, 600)} - {501, 505})
# Retries: at once after the first failure, then after 1, 2, 4, 8 s plus jitter. A gateway that restarts is
# soon back.
BACKOFF_S = 0.5
BACKOFF_JITTER_S = 0.25
# `with` adds the order's receipt, if there is one.
CHECK_QUERY = "?with[0]=receipt:id,service_notification_id,status"
CREDENTIALS = ("client_id", "client_secret", "brand", "integrator_id")


class Clopos:
    """A client of Clopos; its connections live as long as it does.

    Parameters
    ----------
    base_url : str
        Such as `https://integrations.clopos.com/open-api/v2`.
    max_attempts : int
        Attempts for each call, if the deadline leaves time for them.
    retry_answers : bool
        Whether to retry after error answers (429, 5xx) and timeouts, or only after broken connections.
    pacer : Pacer, optional
        Delays attempts so that they stay within the quota, and learns from each answer.
    outage : Outage, optional
        While it is on, calls are not retried.
    """

    def __init__(
        self,
        base_url: str,
        *,
        max_attempts: int,
        retry_answers: bool = True,
        pacer: Pacer | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._max_attempts = max_attempts
        self._retry_answers = retry_answers
        self._pacer = pacer
        self._outage = outage
        self._transport = Transport()

    def cancel(self, order: Order, token: str, deadline: Deadline, attempts: list[Answer]) -> dict[str, Any]:
        """Set an order's status to `IGNORE` (`PUT /orders/{id}`), and check the order if Clopos refuses.

        A refusal alone does not show whether the order is cancelled: an earlier PUT may have succeeded and
        its answer may have been lost.

        Parameters
        ----------
        order : Order
            The order.
        token : str
            The JWT.
        deadline : Deadline
            No attempt is begun or waited for beyond it.
        attempts : list of Answer
            Each attempt is appended, whether it succeeds or fails.

        Returns
        -------
        dict
            The order in the contract's shape.

        Raises
        ------
        TokenRefused
            If a newer token may help.
        CancelError
            If it fails for another reason.
        """
        headers = {"x-token": token}
        if order.venue_id is not None:
            headers["x-venue"] = str(order.venue_id)
        path = f"/orders/{order.order_id}"
        try:
            try:
                answer = self._call("PUT", path, headers, {"status": "IGNORE"}, deadline, attempts)
                return read_cancellation(answer, order, token)
            except Refused as refusal:
                answer = self._call("GET", path + CHECK_QUERY, headers, None, deadline, attempts)
                return read_check(answer, order, token, refusal)
        except CancelError as exc:
            if exc.code == "clopos_bad_response":
                self._transport.disconnect()  # it may have been the answer to an earlier request
            raise

    def accepts(self, token: str, deadline: Deadline) -> bool:
        """Return whether Clopos accepts a token (`GET /orders/{id}` of an order that does not exist)."""
        return self._call("GET", "/orders/0", {"x-token": token}, None, deadline, []).status != 401

    def authenticate(self, credentials: Mapping[str, str], deadline: Deadline) -> tuple[str, float]:
        """Get a token (`POST /auth`).

        Parameters
        ----------
        credentials : mapping
            `client_id`, `client_secret`, `brand` and `integrator_id`; nothing else of it is sent.
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
            `clopos_access_denied` if Clopos rejects the credentials.
        """
        body = {name: credentials[name] for name in CREDENTIALS}
        answer = self._call("POST", "/auth", {}, body, deadline, [])
        content = read_json(answer)
        token, expires_at = content.get("token"), content.get("expires_at")
        if 200 <= (answer.status or 0) < 300 and content.get("success") is True:
            if isinstance(token, str) and token and isinstance(expires_at, int | float):
                return token, expires_at
            raise CancelError("clopos_bad_response", "Clopos sent no token, or none that expires")
        error = error_of(answer, content, tuple(body.values()), None)
        if error.kind.message_at_fault:  # no order is involved, so it rejects the credentials
            error = CancelError("clopos_access_denied", "", error.upstream, error.retry_after_s)
        if error.code == "clopos_access_denied":
            words = (error.upstream or {}).get("message") or (error.upstream or {}).get("error")
            error.message = "Clopos rejects the credentials" + (f": {words}" if words else "")
        raise error

    def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: object,
        deadline: Deadline,
        attempts: list[Answer],
    ) -> Answer:
        """Make one call, and retry it after transient failures while attempts and time are left.

        Raises
        ------
        CancelError
            If no complete answer came.
        """
        for attempt in itertools.count(1):
            if deadline.left() < MIN_CALL_S:
                raise CancelError("clopos_timeout", "no time was left to call Clopos")
            if self._pacer:
                self._pacer.take_turn(deadline)
            answer = self._transport.send(method, self._base_url + path, headers, body, deadline)
            attempts.append(answer)
            if self._pacer:
                self._pacer.observe(answer)
            if attempt >= self._max_attempts or not self._is_transient(answer):
                break
            wait_s = answer.rate_limit.wait_s or _backoff_s(attempt)
            if wait_s + MIN_CALL_S > deadline.left():
                break
            time.sleep(wait_s)
        if answer.failure:
            raise CancelError(answer.failure, EXPLANATIONS[answer.failure])
        return answer

    def _is_transient(self, answer: Answer) -> bool:
        """Whether another attempt may succeed."""
        if self._outage and self._outage.is_on:
            return False
        if answer.failure:
            return self._retry_answers or answer.failure == "clopos_unavailable"
        return self._retry_answers and answer.status in TRANSIENT_STATUSES


def _backoff_s(attempt: int) -> float:
    """Return the seconds to wait after the attempt with this number, counted from 1."""
    return 0 if attempt == 1 else BACKOFF_S * 2 ** (attempt - 1) + random.uniform(0, BACKOFF_JITTER_S)
