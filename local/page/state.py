"""Collect what the page shows from a running local stack. None of it is a secret."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from local.emulator.clients import Outcomes
from local.stack import LocalStack

Json = dict[str, Any]

SHOWN_RESULTS = 10
SHOWN_ORDERS = 30
SHOWN_BODY_CHARS = 200
OVERLAP_MS = 2000  # log lines with the same timestamp may become visible at different times
LOG_GROUPS = ("ApiLogGroup", "QueueLogGroup", "WebhookLogGroup")


class State:
    """Reads the stack. Its methods block, and only one thread at a time may call them."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._outcomes = Outcomes(stack.client("events"), stack.client("sqs"), rule="page")
        self._seen: dict[str, set[str]] = {stack.physical_id(name): set() for name in LOG_GROUPS}
        self._since_ms = dict.fromkeys(self._seen, 0)
        self._results: list[Json] = []  # newest first
        self._orders: dict[str, str] = {}  # by their last change

    def read(self) -> Json:
        """Return what the page shows."""
        results = sorted([*self._results, *self._new_results()], key=lambda r: float(r["at"]), reverse=True)
        self._results = results = results[:SHOWN_RESULTS]
        waiting, hidden = self._stack.queue.counts()
        dead = self._stack.dead_letters.counts().visible
        return {
            "queue": {
                "waiting": waiting,
                "being tried, or waiting for a retry": hidden,
                "dead letters": dead,
            },
            "orders": self._changed_orders() if self._stack.has_simulator else None,
            "statuses": {"PENDING": 0, "RECEIVED": 0, "IGNORE": 0} | Counter(self._orders.values()),
            "results": [_shown(result) for result in results],
            "dead_letters": [_reason(letter) for letter in self._stack.dead_letters.receive(hide_s=0)],
            "outcomes": self._outcomes.latest(),
        }

    def _new_results(self) -> Iterator[Json]:
        """Yield the new results in the logs: reading all of them each second would take ever longer."""
        for group, seen in self._seen.items():
            pages = self._stack.client("logs").get_paginator("filter_log_events")
            events = [
                event
                for page in pages.paginate(logGroupName=group, startTime=self._since_ms[group])
                for event in page["events"]
            ]
            for event in events:
                if event["message"] not in seen and event["message"].startswith("{"):
                    record = json.loads(event["message"])
                    if "outcome" in record or record.get("message", "").startswith("webhook "):
                        yield record | {"at": event["timestamp"] / 1000}
            if events:
                self._seen[group] = {event["message"] for event in events}
                self._since_ms[group] = events[-1]["timestamp"] - OVERLAP_MS

    def _changed_orders(self) -> list[tuple[str, str]]:
        """Return the orders that changed last, newest first."""
        statuses = self._stack.clopos.statuses()
        same = {id_: status for id_, status in self._orders.items() if statuses.get(id_) == status}
        self._orders = same | {id_: status for id_, status in statuses.items() if id_ not in same}
        return list(itertools.islice(reversed(self._orders.items()), SHOWN_ORDERS))


def _shown(record: Json) -> Json:
    told = record.get("result") or {"error": record.get("error"), "message": record.get("cause")}
    upstream = told.get("upstream") or {}
    return {name: record.get(name) for name in ("at", "order_id", "attempts", "duration_ms")} | {
        "source": record.get("source", "webhook"),
        "outcome": record.get("outcome") or record["message"].removeprefix("webhook "),
        "error": told.get("error"),
        "said": f"Clopos: {upstream['message']}" if upstream.get("message") else told.get("message"),
    }


def _reason(letter: Json) -> Json:
    attributes = letter.get("MessageAttributes", {})
    code, message = (attributes.get(name, {}).get("StringValue") for name in ("ErrorCode", "ErrorMessage"))
    body = letter["Body"]
    return {
        "code": code or "received too often",  # then SQS itself has moved it
        "message": message or "",
        "body": body[:SHOWN_BODY_CHARS],
        "cut": f"cut: {len(body):,} characters in all" if len(body) > SHOWN_BODY_CHARS else "",
    }
