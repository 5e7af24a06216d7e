"""Cancel one order, for any trigger."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cancellation.answers import TokenRefused
from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError, internal_error
from cancellation.messages import Order
from cancellation.outage import Outage
from cancellation.tokens import Tokens
from cancellation.transport import Answer


@dataclass
class Outcome:
    """The result of one cancellation.

    Attributes
    ----------
    request_id : str
        Lambda's id of the invocation.
    order : Order or None
        The order; None if the request named none.
    data : dict or None
        The cancelled order in the contract's shape; None if it was not cancelled.
    error : CancelError or None
        Why it was not cancelled; None if it was.
    attempts : list of Answer
        The calls to Clopos.
    token_seconds_left : float or None
        Seconds until the token expires; None if that is not known.
    started_at, duration_s : float
        Unix seconds; seconds, including all waiting.
    """

    request_id: str
    order: Order | None = None
    data: dict[str, Any] | None = None
    error: CancelError | None = None
    attempts: list[Answer] = field(default_factory=list)
    token_seconds_left: float | None = None
    started_at: float = field(default_factory=time.time)
    duration_s: float = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do: the order is cancelled, or the request is at fault."""
        return self.error is None or self.error.kind.message_at_fault

    @property
    def result(self) -> dict[str, Any]:
        """The normalized envelope."""
        if self.error:
            return self.error.envelope(self.request_id)
        return {"success": True, "data": self.data, "request_id": self.request_id}

    def name(self, unsettled: str) -> str:
        """Return its name: `cancelled`, `rejected` if the request is at fault, else `unsettled`."""
        if self.error is None:
            return "cancelled"
        return "rejected" if self.is_settled else unsettled


def cancel_order(
    read: Callable[[], Order],
    *,
    clopos: Clopos,
    tokens: Tokens,
    deadline: Deadline,
    request_id: str,
    outage: Outage | None = None,
) -> Outcome:
    """Cancel one order. Never raises: an error is part of the outcome.

    Parameters
    ----------
    read : callable
        Returns the order, or raises `CancelError` if the request is wrong.
    clopos : Clopos
        The client.
    tokens : Tokens
        The token for the calls.
    deadline : Deadline
        No call is started or waited for after it.
    request_id : str
        Lambda's id of this invocation.
    outage : Outage, optional
        Delays the calls while Clopos is down.
    """
    outcome, started = Outcome(request_id), time.monotonic()
    try:
        outcome.order = read()
        cancel = partial(_cancel, outcome.order, outcome, clopos, tokens, deadline)
        outcome.data = outage.call(cancel, outcome.attempts, deadline) if outage else cancel()
    except CancelError as exc:
        outcome.error = exc
    except Exception as exc:  # noqa: BLE001 - a bug must neither lose a message nor leave a call unanswered
        outcome.error = internal_error(exc)
    outcome.duration_s = time.monotonic() - started
    return outcome


def _cancel(
    order: Order, outcome: Outcome, clopos: Clopos, tokens: Tokens, deadline: Deadline
) -> dict[str, Any]:
    token, is_final = tokens.get(deadline), False
    outcome.token_seconds_left = token.seconds_left()
    while True:
        try:
            data = clopos.cancel(order, token.value, deadline, outcome.attempts)
            tokens.note_accepted(token)
            return data
        except TokenRefused as refused:
            if is_final:
                raise
            try:
                token, is_final = tokens.renew(token, deadline)
            except CancelError as exc:
                exc.upstream = exc.upstream or refused.upstream
                raise
