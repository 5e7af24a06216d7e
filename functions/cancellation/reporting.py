"""Report the outcome of an order: one log line, its metrics and one subsegment of the trace."""

import contextlib
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_xray_sdk.core.models.subsegment import Subsegment

from cancellation.order import Outcome
from cancellation.telemetry import logger, metrics, tracer

COUNTERS = {
    "cancelled": "OrdersCancelled",
    "rejected": "OrdersRejected",
    "deferred": "OrdersDeferred",
    "failed": "OrdersFailed",
}


def report(outcome: Outcome, fate: str, source: str, **keys: Any) -> None:
    """Log, count and trace the outcome of one order.

    Parameters
    ----------
    outcome : Outcome
        The outcome.
    fate : str
        `cancelled`, `rejected`, `deferred` (its message stays on the queue) or `failed` (the caller got an
        error that says nothing about the order).
    source : str
        `api` or `queue`.
    **keys
        More keys for the log line.
    """
    error, order = outcome.error, outcome.order
    log: Callable[..., None] = logger.warning
    if error is None:
        log = logger.info
    elif fate == "failed":
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
        outcome=fate,
        result=result,
        attempts=len(outcome.exchanges),
        duration_ms=round(outcome.duration_s * 1000),
        **keys,
    )
    _count(outcome, fate)
    with contextlib.suppress(Exception):  # a trace that cannot be written must not fail the order
        _trace(outcome, fate)


def _count(outcome: Outcome, fate: str) -> None:
    metrics.add_metric(COUNTERS[fate], MetricUnit.Count, 1)
    throttled = sum(exchange.status == 429 for exchange in outcome.exchanges)
    if throttled:
        metrics.add_metric("CloposThrottled", MetricUnit.Count, throttled)
    for exchange in outcome.exchanges:
        metrics.add_metric("CloposLatency", MetricUnit.Milliseconds, round(exchange.duration_s * 1000, 3))
    remaining = [e.rate_limit.remaining for e in outcome.exchanges if e.rate_limit.remaining is not None]
    if remaining:
        metrics.add_metric("CloposQuotaLeft", MetricUnit.Count, remaining[-1])
    if outcome.error and outcome.error.code == "clopos_access_denied":
        metrics.add_metric("CloposAccessDenied", MetricUnit.Count, 1)
    if outcome.token_seconds_left is not None:
        metrics.add_metric("TokenSecondsLeft", MetricUnit.Seconds, outcome.token_seconds_left)


def _trace(outcome: Outcome, fate: str) -> None:
    """Write the order's subsegment: its outcome is known now, and the X-Ray SDK only works in this thread."""
    recorder: Any = tracer.provider
    subsegment = recorder.begin_subsegment("cancel_order")
    subsegment.start_time = outcome.started_at
    if outcome.order:
        subsegment.put_annotation("order_id", outcome.order.order_id)
    subsegment.put_annotation("outcome", fate)
    for exchange in outcome.exchanges:  # as children of the order, they are sent together with it
        call = Subsegment(exchange.host, "remote", subsegment.parent_segment)
        subsegment.add_subsegment(call)
        call.start_time = exchange.started_at
        call.put_http_meta("method", exchange.method)
        call.put_http_meta("url", f"{exchange.host}/orders")
        if exchange.status is not None:
            call.put_http_meta("status", exchange.status)
        call.close(exchange.started_at + exchange.duration_s)
    recorder.end_subsegment(outcome.started_at + outcome.duration_s)
