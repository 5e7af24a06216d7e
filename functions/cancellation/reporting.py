"""Report the outcome of an order: one log line, its metrics and one subsegment of the trace."""

import contextlib
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_xray_sdk.core.models.subsegment import Subsegment

from cancellation.order import Outcome
from cancellation.telemetry import count_internal_error, logger, metrics, tracer

COUNTERS = {
    "cancelled": "OrdersCancelled",
    "rejected": "OrdersRejected",
    "deferred": "OrdersDeferred",
    "failed": "OrdersFailed",
}


def report(outcome: Outcome, name: str, source: str, **keys: Any) -> None:
    """Log, count and trace the outcome of one order.

    Parameters
    ----------
    outcome : Outcome
        The outcome.
    name : str
        `cancelled`; `rejected` if the request is at fault; else `deferred` (its message stays on
        the queue) or `failed` (the caller got an error).
    source : str
        `api` or `queue`.
    **keys
        More keys for the log line.
    """
    error, order = outcome.error, outcome.order
    log: Callable[..., None] = logger.warning
    if error is None:
        log = logger.info
    elif name == "failed":
        log = logger.error
    result = outcome.result
    if error is None:  # free-form, so it may contain customer data
        result = {**result, "data": {k: v for k, v in result["data"].items() if k != "integration_response"}}
    log(
        "order cancelled" if error is None else "order not cancelled",
        source=source,
        request_id=outcome.request_id,
        order_id=order and order.order_id,
        venue_id=order and order.venue_id,
        outcome=name,
        result=result,
        attempts=len(outcome.attempts),
        duration_ms=round(outcome.duration_s * 1000),
        **keys,
    )
    _count(outcome, name)
    with contextlib.suppress(Exception):  # a trace that cannot be written must not fail the order
        _trace(outcome, name)


def _count(outcome: Outcome, name: str) -> None:
    metrics.add_metric(COUNTERS[name], MetricUnit.Count, 1)
    throttled = sum(answer.status == 429 for answer in outcome.attempts)
    if throttled:
        metrics.add_metric("CloposThrottled", MetricUnit.Count, throttled)
    for answer in outcome.attempts:
        metrics.add_metric("CloposLatency", MetricUnit.Milliseconds, round(answer.duration_s * 1000, 3))
    remaining = [a.rate_limit.remaining for a in outcome.attempts if a.rate_limit.remaining is not None]
    if remaining:
        metrics.add_metric("CloposQuotaLeft", MetricUnit.Count, remaining[-1])
    if outcome.error and outcome.error.code == "clopos_access_denied":
        metrics.add_metric("CloposAccessDenied", MetricUnit.Count, 1)
    if outcome.error and outcome.error.code == "internal_error":
        count_internal_error()
    if outcome.token_seconds_left is not None:
        metrics.add_metric("TokenSecondsLeft", MetricUnit.Seconds, outcome.token_seconds_left)


def _trace(outcome: Outcome, name: str) -> None:
    """Write the order's subsegment: its outcome is known now, and the X-Ray SDK only works in this thread."""
    recorder: Any = tracer.provider
    order = recorder.begin_subsegment("cancel_order")
    order.start_time = outcome.started_at
    if outcome.order:
        order.put_annotation("order_id", outcome.order.order_id)
    order.put_annotation("outcome", name)
    for answer in outcome.attempts:  # as children of the order, they are sent together with it
        call = Subsegment(answer.host, "remote", order.parent_segment)
        order.add_subsegment(call)
        call.start_time = answer.started_at
        call.put_http_meta("method", answer.method)
        call.put_http_meta("url", f"{answer.host}/orders")
        if answer.status is not None:
            call.put_http_meta("status", answer.status)
        call.close(answer.started_at + answer.duration_s)
    recorder.end_subsegment(outcome.started_at + outcome.duration_s)
