"""Publish the outcomes of orders as EventBridge events."""

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3

from cancellation.aws import AWS_ERRORS, CONFIG, call
from cancellation.deadline import Deadline
from cancellation.messages import SOURCE
from cancellation.order import Outcome
from cancellation.telemetry import logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

# All entries of a call together. AWS takes 1 MB since 2026-01-29 and took 256 KB before (EventBridge quotas).
MAX_REQUEST_BYTES = 256 * 1024
ENTRY_BYTES = 512  # of an entry beside its detail: source, type and name of the bus
MAX_TEXT_CHARS = 200  # of each text by Clopos, in a detail that would be too long


class OutcomeEvents:
    """Publishes outcomes on an event bus, or nothing if its name is empty.

    The name of the stack is for consumers that receive events of several stacks.
    """

    def __init__(self, bus_name: str, stack: str) -> None:
        self._bus_name = bus_name
        self._stack = stack

    @cached_property
    def _client(self) -> "EventBridgeClient":
        return boto3.client("events", config=CONFIG)

    def publish(self, details: list[dict[str, Any]], deadline: Deadline) -> list[bool]:
        """Publish at most ten outcomes with one call, and return for each whether EventBridge accepted it."""
        if not self._bus_name or not details:
            return [True] * len(details)
        accepted = [False] * len(details)
        problem: Any = None
        try:
            answer = call(deadline, self._client.put_events, Entries=self._entries(details))
            results = answer.get("Entries", [])
            problem = [result["ErrorCode"] for result in results if "ErrorCode" in result]
            accepted = ["EventId" in result for result in results] or accepted
        except AWS_ERRORS as exc:  # no such bus, not allowed, not reachable, or too slow
            problem = type(exc).__name__
        if not all(accepted):
            metrics.add_metric("OutcomesUnpublished", "Count", accepted.count(False))
            logger.error("outcomes not published", error=problem, count=accepted.count(False))
        return accepted

    def _entries(self, details: list[dict[str, Any]]) -> list[Any]:
        limit = MAX_REQUEST_BYTES // len(details) - ENTRY_BYTES
        return [
            {
                "EventBusName": self._bus_name,
                "Source": SOURCE,
                "DetailType": "Order Cancelled"
                if detail["outcome"] == "cancelled"
                else "Order Not Cancelled",
                "Detail": _fitting({**detail, "stack": self._stack}, limit),
            }
            for detail in details
        ]


def _fitting(detail: dict[str, Any], limit_bytes: int) -> str:
    """Return a detail as JSON; if it is too long, with only the beginning of each text that Clopos sent."""
    text = json.dumps(detail, ensure_ascii=False)
    data = detail["result"].get("data")
    if len(text.encode()) > limit_bytes and data:
        short = {
            name: value[:MAX_TEXT_CHARS] if isinstance(value, str) else value for name, value in data.items()
        }
        short["integration_response"] = None
        text = json.dumps({**detail, "result": {**detail["result"], "data": short}}, ensure_ascii=False)
    return text


def outcome_detail(
    outcome: Outcome,
    fate: str,
    source: str,
    *,
    message_id: str | None = None,
    webhook_id: str | None = None,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """Return the detail of an outcome's event, without the stack's name."""
    order = outcome.order
    return {
        "order_id": order and order.order_id,
        "venue_id": order and order.venue_id,
        "source": source,
        "outcome": fate,
        "result": outcome.result,
        "message_id": message_id,
        "webhook_id": webhook_id,
        "correlation_id": correlation_id,
    }
