"""Collect the data of a running local stack that the page shows."""

import itertools
import time
from collections import Counter, deque
from operator import itemgetter
from typing import Any

from local.emulator.alarms import alarm_states
from local.emulator.clients import Outcomes
from local.emulator.deploy import built_template
from local.emulator.xray import Traces
from local.page.dead_letters import DeadLetters
from local.page.logs import NewLogLines
from local.page.metrics import measure
from local.page.trace import trace_of
from local.stack import LocalStack

Json = dict[str, Any]

KEPT_RECORDS = 2000  # log lines and metrics, of about 500 orders
SHOWN_RESULTS = 10
SHOWN_ORDERS = 30
LOG_GROUPS = ("ApiLogGroup", "QueueLogGroup", "WebhookLogGroup", "TokenRefreshLogGroup")
# The statuses that are always shown, even if no order has them.
STATUSES = ("PENDING", "RECEIVED", "IGNORE")


class Watch:
    """Collects the data for the page. Its methods block, and must all be called in one thread.

    Parameters
    ----------
    stack : LocalStack
        A running stack.
    traces : Traces
        The daemon that receives the segments of the stack's functions.
    """

    def __init__(self, stack: LocalStack, traces: Traces) -> None:
        self._stack = stack
        self._traces = traces
        self.has_simulator = hasattr(stack, "clopos")  # otherwise the orders are at another upstream
        self._template = built_template()
        # boto3 cannot create clients in several threads at once, so all are created here.
        self._queue = stack.queue
        self.dead_letters = DeadLetters(stack.dead_letters, stack.queue)
        self._outcomes = Outcomes(stack.client("events"), stack.client("sqs"), rule="page")
        self._log_lines = NewLogLines(stack.client("logs"), [stack.physical_id(name) for name in LOG_GROUPS])
        self._records: deque[Json] = deque(maxlen=KEPT_RECORDS)  # oldest first
        self._orders: dict[str, str] = {}  # ordered by their last change
        self._statuses = dict.fromkeys(STATUSES, 0)

    def snapshot(self) -> Json:
        """Return everything that the page shows; it contains no secrets."""
        self._records.extend(self._log_lines)
        now = time.time()
        visible, hidden = self._queue.counts()
        queue = {"visible": visible, "hidden": hidden, "dead": self.dead_letters.count()}
        if self.has_simulator:
            self._follow(self._stack.clopos.statuses())
        results = sorted(filter(_is_result, self._records), key=itemgetter("at"), reverse=True)
        metrics = measure(self._template, self._records, queue, now)
        return {
            "queue": queue,
            "statuses": dict(self._statuses) if self.has_simulator else {},
            "results": [_shown(result) for result in results[:SHOWN_RESULTS]],
            "dead_letters": self.dead_letters.peek() if queue["dead"] else [],
            "outcomes": self._outcomes.latest(),
            "alarms": alarm_states(self._template, metrics, now),
            "orders": list(itertools.islice(reversed(self._orders.items()), SHOWN_ORDERS)),
        }

    def trace(self, result_id: str) -> list[Json]:
        """Return the bars of a result's trace, see `trace_of`; none if the result is no longer known."""
        for record in self._records:
            if record["id"] == result_id:
                return trace_of(record, self._traces)
        return []

    def _follow(self, statuses: dict[str, str]) -> None:
        for order_id in self._orders.keys() - statuses.keys():
            del self._orders[order_id]
        for order_id, status in statuses.items():
            if self._orders.get(order_id) != status:
                self._orders.pop(order_id, None)
                self._orders[order_id] = status
        self._statuses = dict.fromkeys(self._statuses, 0) | Counter(statuses.values())


def _is_result(record: Json) -> bool:
    return "outcome" in record or record.get("message", "").startswith("webhook ")


def _shown(result: Json) -> Json:
    return {
        "id": result["id"],
        "at": result["at"],
        "source": result.get("source", "webhook"),
        "order_id": result.get("order_id"),
        "outcome": result.get("outcome") or result["message"].removeprefix("webhook "),
        "error": result.get("result", result).get("error"),
        "attempts": result.get("attempts"),
        "duration_ms": result.get("duration_ms"),
    }
