"""Publish the outcomes of orders as EventBridge events."""

import json
from typing import Any

from cancellation.aws import AWS_ERRORS, call, client
from cancellation.deadline import Deadline
from cancellation.order import Outcome
from cancellation.telemetry import logger, metrics

SOURCE = "clopos-cancel"
MAX_REQUEST_BYTES = 256 * 1024  # EventBridge API reference, PutEvents: all entries together


class OutcomeEvents:
    """Publishes outcomes on an event bus.

    Parameters
    ----------
    bus_name : str
        Name of the bus; empty to publish no events.
    stack : str
        Name of the stack, for consumers that receive events of several stacks.
    """

    def __init__(self, bus_name: str, stack: str) -> None:
        self._enabled = bool(bus_name)
        self._bus_name = bus_name
        self._stack = stack
        self._events: Any = None

    def publish(self, details: list[dict[str, Any]], deadline: Deadline) -> list[bool]:
        """Publish outcomes with one call, and return for each whether EventBridge accepted it.

        Parameters
        ----------
        details : list of dict
            At most ten.
        deadline : Deadline
            For the call.
        """
        if not self._enabled or not details:
            return [True] * len(details)
        accepted = [False] * len(details)
        problem: Any = None
        try:
            self._events = self._events or client("events")
            answer = call(self._events.put_events, deadline, Entries=self._entries(details))
            results = answer.get("Entries", [])
            problem = [result["ErrorCode"] for result in results if "ErrorCode" in result]
            accepted = ["EventId" in result for result in results] or accepted
        except AWS_ERRORS as exc:  # no such bus, not allowed, not reachable, or too slow
            problem = type(exc).__name__
        if not all(accepted):
            metrics.add_metric("OutcomesUnpublished", "Count", accepted.count(False))
            logger.error("outcomes not published", error=problem, count=accepted.count(False))
        return accepted

    def _entries(self, details: list[dict[str, Any]]) -> list[dict[str, str]]:
        limit = MAX_REQUEST_BYTES // len(details) - 512  # for the other fields of the entry
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
    """Return a detail as JSON; if it is too long, without the free-form parts that Clopos sent."""
    text = json.dumps(detail)
    result = detail["result"]
    if len(text) > limit_bytes and result.get("upstream"):
        result = {**result, "upstream": {**result["upstream"], "message": None}}
        text = json.dumps({**detail, "result": result})
    if len(text) > limit_bytes and result.get("data"):
        result = {**result, "data": {**result["data"], "integration_response": None}}
        text = json.dumps({**detail, "result": result})
    return text


def outcome_detail(
    outcome: Outcome,
    name: str,
    source: str,
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
        "outcome": name,
        "result": outcome.result,
        "message_id": message_id,
        "webhook_id": webhook_id,
        "correlation_id": correlation_id,
    }
