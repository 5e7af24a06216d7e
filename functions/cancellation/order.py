"""Cancel one order, for any trigger."""

import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

from cancellation.answers import TokenRefused
from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import OUTAGE_ERRORS, CancelError
from cancellation.exchange import MIN_CALL_S, Exchange
from cancellation.messages import Order
from cancellation.telemetry import internal_error
from cancellation.tokens import Tokens

# Errors that may be gone within the time that a caller waits.
TRANSIENT_ERRORS = OUTAGE_ERRORS | {"rate_limited"}
# Seconds between attempts: a gateway that restarts is soon back. Together more than there is time for.
BACKOFFS_S = (0, 1, 2, 4, 8, 8)
JITTER = 0.25


@dataclass(frozen=True)
class Outcome:
    """The result of one cancellation."""

    request_id: str  # Lambda's id of the invocation
    order: Order | None = None  # None if the request named none
    data: dict[str, Any] | None = None  # the cancelled order in the contract's shape
    error: CancelError | None = None  # why it was not cancelled; None if it was
    exchanges: list[Exchange] = field(default_factory=list)  # the calls to Clopos
    token_seconds_left: float | None = None  # None if that is not known
    started_at: float = field(default_factory=lambda: time.time())  # Unix seconds
    duration_s: float = 0  # including all waiting

    @property
    def verdict(self) -> str | None:
        """`cancelled`, `rejected` if trying again is pointless, or None if nobody knows yet."""
        if self.error is None:
            return "cancelled"
        return "rejected" if self.error.kind.is_final else None

    @property
    def result(self) -> dict[str, Any]:
        """The normalized envelope."""
        if self.error:
            return self.error.envelope(self.request_id)
        return {"success": True, "data": self.data, "request_id": self.request_id}

    def after(self, earlier: "Outcome") -> "Outcome":
        """Return this outcome, with the calls of an earlier attempt at the same order."""
        if not earlier.exchanges:
            return self
        ended_at = self.started_at + self.duration_s
        return replace(
            self,
            exchanges=[*earlier.exchanges, *self.exchanges],
            started_at=earlier.started_at,
            duration_s=ended_at - earlier.started_at,
        )


def cancel_order(
    order: Order,
    *,
    clopos: Clopos,
    tokens: Tokens,
    deadline: Deadline,
    request_id: str,
    retry: bool = True,
) -> Outcome:
    """Cancel one order. Never raises: an error is part of the outcome.

    Parameters
    ----------
    order : Order
        What to cancel.
    clopos, tokens
        The client, and the token for its calls.
    deadline : Deadline
        No call is started or waited for after it.
    request_id : str
        Lambda's id of this invocation.
    retry : bool
        Whether to try again after a transient error, while there is time.
    """
    outcome, started = Outcome(request_id, order), time.monotonic()
    for backoff_s in (*BACKOFFS_S, None):
        outcome = _attempt(outcome, order, clopos, tokens, deadline)
        error = outcome.error
        if not retry or error is None or error.code not in TRANSIENT_ERRORS or backoff_s is None:
            break
        wait_s = error.retry_after_s or backoff_s * random.uniform(1, 1 + JITTER)
        if wait_s + MIN_CALL_S > deadline.left():
            break
        time.sleep(wait_s)
    return replace(outcome, duration_s=time.monotonic() - started)


def _attempt(outcome: Outcome, order: Order, clopos: Clopos, tokens: Tokens, deadline: Deadline) -> Outcome:
    """Try once to cancel an order, and again with a newer token if Clopos refuses the token."""
    exchanges, refused = list(outcome.exchanges), None
    try:
        token = tokens.get(deadline)
        outcome = replace(outcome, token_seconds_left=token.seconds_left())
        is_last = False
        while True:
            attempt = clopos.cancel(order, token.value, deadline)
            exchanges += attempt.exchanges
            if is_last or not isinstance(attempt.error, TokenRefused):
                break
            refused = attempt.error
            token, is_last = tokens.renew(token, deadline)
        data, error = attempt.data, attempt.error
    except CancelError as exc:  # there is no token that could be used
        data, error = None, replace(exc, upstream=exc.upstream or (refused.upstream if refused else None))
    except Exception as exc:  # noqa: BLE001 - a bug must neither lose a message nor leave a call unanswered
        data, error = None, internal_error(exc)
    return replace(outcome, data=data, error=error, exchanges=exchanges)
