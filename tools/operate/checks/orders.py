"""Checks of what happened to orders and webhooks, from the log."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tools.operate.checks.findings import Findings, in_words, ok, problem
from tools.operate.remedies import remedy
from tools.operate.stack import Deployed

WINDOW_S = 900  # a deferred message comes back after up to five minutes
DEFERRED_S = 300
MANY_WEBHOOKS = 10  # the threshold of WebhooksRefusedAlarm

# The ages of deferred messages are in the lines from which CloudWatch makes metrics.
PATTERN = '{ ($.outcome = "*") || ($.MessageAge[0] >= 0) }'

Line = dict[str, Any]


@lru_cache(maxsize=1)  # several checks need them
def read_log(stack: Deployed, window_s: float) -> list[Line]:
    """Return what both functions logged about orders, oldest first."""
    since = time.time() - window_s
    lines = [line for function in ("Api", "Queue") for line in stack.log_lines(function, PATTERN, since)]
    return sorted(lines, key=lambda line: float(line["at"]))


def groups(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return the last line about each order, by outcome and reason, the largest group first.

    The last, since an order that was deferred at first may be cancelled by now.
    """
    last = {}
    for line in lines:
        if "outcome" in line:
            named = (line["order_id"], line.get("venue_id")) if line.get("order_id") else None
            last[named or line.get("message_id") or line["request_id"]] = line
    found: dict[tuple[str, str], list[Line]] = {}
    for line in last.values():
        found.setdefault((line["outcome"], reason(line)), []).append(line)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def reason(line: Line) -> str:
    """Return the error code and the words of Clopos, or ours if it was not reached; empty for a success."""
    result = line["result"]
    upstream = result.get("upstream") or {}
    words = upstream.get("message") or upstream.get("error")
    status = f"{upstream['status']} " if upstream.get("status") else ""
    told = f"Clopos says {status}{words}" if words else f"{status}{result.get('message')}"
    return "" if result.get("success") else f"{result['error']}: {told}"


def described(outcome: str, why: str, lines: list[Line]) -> str:
    """Return one line about a group of orders."""
    example, at = lines[-1], clock(max(line["at"] for line in lines))
    where = f"the last at {at}, for example order {example.get('order_id')}, request {example['request_id']}"
    return f"{len(lines)} {outcome}{why and f' with {why}'}; {where}"


def orders(stack: Deployed) -> Findings:
    """Orders are cancelled, or rejected for a reason of their own."""
    found = groups(read_log(stack, WINDOW_S))
    totals, rejected = Counter[str](), Counter[str]()
    settled_at = 0.0
    for (outcome, why), lines in found.items():
        totals[outcome] += len(lines)
        if outcome in ("cancelled", "rejected"):
            settled_at = max([settled_at, *(line["at"] for line in lines)])
            rejected[why.partition(":")[0]] += len(lines)
    del rejected[""]
    summary = ", ".join(f"{totals[name]} {name}" for name in ("cancelled", "rejected", "deferred", "failed"))
    for (outcome, why), lines in found.items():
        # A call that failed is over if another order came through since; a message that waits is not.
        is_over = outcome == "failed" and all(line["at"] < settled_at for line in lines)
        if outcome in ("deferred", "failed") and not is_over:
            result = lines[-1]["result"]
            status = (result.get("upstream") or {}).get("status")
            yield problem(described(outcome, why, lines), remedy(stack.name, result["error"], why, status))
    yield ok(f"{summary} in {WINDOW_S / 60:.0f} minutes" + (f" ({in_words(rejected)})" if rejected else ""))


def webhooks(stack: Deployed) -> Findings:
    """Webhooks are accepted."""
    lines = stack.log_lines("Webhook", '{ $.message = "webhook *" }', time.time() - WINDOW_S)
    accepted = sum(line.get("message") in ("webhook accepted", "webhook ignored") for line in lines)
    causes = Counter(line["cause"] for line in lines if line.get("message") == "webhook refused")
    text = f"{accepted} accepted, {causes.total()} refused" + (f": {in_words(causes)}" if causes else "")
    if causes.total() >= MANY_WEBHOOKS or (causes and not accepted):
        lost = "If they come from your sender, its cancellations are lost"
        yield problem(text, f"{lost} (docs/operations.md, WebhooksRefusedAlarm)")
    yield ok(text)


def oldest_deferred(stack: Deployed) -> tuple[float, str]:
    """Return the age in seconds, and the order, of the deferred message that waits longest; 0 without one."""
    lines = read_log(stack, WINDOW_S)
    last = {line["message_id"]: line["outcome"] for line in lines if "message_id" in line}
    first = next((line for line in lines if last.get(line.get("message_id", "")) == "deferred"), None)
    if first is None:
        return 0, ""
    # A worker notes the ages of its messages when it defers them, and does so again within five minutes.
    now = time.time()
    recent = [line for line in lines if line["at"] > now - DEFERRED_S]
    ages = [now - line["at"] + age for line in recent for age in line.get("MessageAge", [])]
    return max([now - first["at"], *ages]), str(first.get("order_id"))


def clock(at: float) -> str:
    """Return a time of day."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
