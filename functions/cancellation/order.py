"""The use case: cancel one order, whoever asks for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from cancellation.clopos import Clopos, Tally, TokenRefused
from cancellation.deadline import Deadline
from cancellation.errors import CancelError, internal_error
from cancellation.messages import Order
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

COUNTERS = {
    "cancelled": "OrdersCancelled",
    "rejected": "OrdersRejected",
    "deferred": "OrdersDeferred",
    "failed": "OrdersFailed",
}


@dataclass
class Outcome:
    """What became of one order.

    Attributes
    ----------
    name : str
        `cancelled`; `rejected` where the request is at fault; else `deferred` (it stays on the queue) or
        `failed` (the caller was told).
    order : Order or None
        The order; None where the request named none.
    result : dict
        The normalized envelope.
    error : CancelError or None
        Why it was not cancelled; None where it was.
    tally : Tally
        The calls to Clopos.
    duration_ms : float
        Milliseconds, with all waiting.
    """

    name: str
    order: Order | None
    result: dict[str, Any]
    error: CancelError | None
    tally: Tally
    duration_ms: float

    def report(self, source: str, **keys: Any) -> None:
        """Log this order's one line, with `source` (`api` or `queue`) and further `keys`, and count it."""
        log = logger.info if self.error is None else logger.error if self.name == "failed" else logger.warning
        log(
            "order cancelled" if self.error is None else "order not cancelled",
            source=source,
            order_id=self.order and self.order.order_id,
            venue_id=self.order and self.order.venue_id,
            outcome=self.name,
            result=self.result,
            attempts=self.tally.attempts,
            duration_ms=round(self.duration_ms),
            **keys,
        )
        metrics.add_metric(COUNTERS[self.name], MetricUnit.Count, 1)
        if self.tally.throttled:
            metrics.add_metric("CloposThrottled", MetricUnit.Count, self.tally.throttled)
        for latency_ms in self.tally.latencies_ms:
            metrics.add_metric("CloposLatency", MetricUnit.Milliseconds, latency_ms)
        if self.tally.quota_left is not None:
            metrics.add_metric("CloposQuotaLeft", MetricUnit.Count, self.tally.quota_left)
        if self.error and self.error.code == "clopos_access_denied":
            metrics.add_metric("CloposAccessDenied", MetricUnit.Count, 1)
        if self.tally.token_seconds_left is not None:
            metrics.add_metric("TokenSecondsLeft", MetricUnit.Seconds, self.tally.token_seconds_left)


def cancel_order(
    read: Callable[[], Order],
    *,
    clopos: Clopos,
    tokens: Tokens,
    deadline: Deadline,
    request_id: str,
    unfinished: str,
) -> Outcome:
    """Cancel one order. Whatever happens is in the outcome; nothing is raised.

    Parameters
    ----------
    read : callable
        Returns the order, or raises `CancelError` where the request is wrong.
    clopos, tokens, deadline
        What to call, with what, and until when.
    request_id : str
        Lambda's id of this invocation.
    unfinished : str
        The outcome's name where neither the order was cancelled nor the request is at fault.
    """
    started, order, error, tally = time.monotonic(), None, None, Tally()
    with tracer.provider.in_subsegment("cancel_order") as subsegment:
        try:
            order = read()
            subsegment.put_annotation("order_id", order.order_id)
            data = _cancel(order, clopos, tokens, deadline, tally)
        except CancelError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a bug of ours must neither lose a message nor go unanswered
            error = internal_error(exc)
        if error is None:
            name, result = "cancelled", {"success": True, "data": data, "request_id": request_id}
        else:
            name = "rejected" if error.kind.message_at_fault else unfinished
            result = error.envelope(request_id)
        subsegment.put_annotation("outcome", name)
    return Outcome(name, order, result, error, tally, (time.monotonic() - started) * 1000)


def _cancel(order: Order, clopos: Clopos, tokens: Tokens, deadline: Deadline, tally: Tally) -> dict[str, Any]:
    token, fresh = tokens.get(deadline), False
    tally.token_seconds_left = token.seconds_left()
    while True:
        try:
            return clopos.cancel(order, token.value, deadline, tally)
        except TokenRefused as refused:
            if fresh:
                raise
            try:
                token, fresh = tokens.renew(token, deadline)
            except CancelError as exc:
                exc.upstream = exc.upstream or refused.upstream
                raise
