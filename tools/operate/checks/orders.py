"""Checks of what happens to orders: from the log, and on the queue and the dead-letter queue."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from tools.operate.checks import Findings, ok, problem, unknown
from tools.operate.dead_letters import DeadLetters
from tools.operate.remedies import remedy
from tools.operate.stack import Deployed, duration, in_words

WINDOW_S = 900  # a deferred message comes back after up to five minutes
DEFERRED_S = 300
WAITING_LONG_S = 900  # the threshold of WaitingOrdersAlarm and UnreadOrdersAlarm
DEAD_LETTERS_READ = 100
DEAD_LETTERS_HIDDEN_S = 30  # reading them takes a second or two
MANY_WEBHOOKS = 10  # the threshold of WebhooksRefusedAlarm

SETTLED, UNSETTLED = ("cancelled", "rejected"), ("deferred", "failed")
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
    for (outcome, why), lines in found.items():
        totals[outcome] += len(lines)
        if outcome == "rejected":
            rejected[why.partition(":")[0]] += len(lines)
    settled = [line["at"] for (outcome, _), lines in found.items() for line in lines if outcome in SETTLED]
    summary = ", ".join(f"{totals[name]} {name}" for name in (*SETTLED, *UNSETTLED))
    summary += f" in {WINDOW_S / 60:.0f} minutes" + (f" ({in_words(rejected)})" if rejected else "")
    for (outcome, why), lines in found.items():
        # A call that failed is over if another order came through since; a message that waits is not.
        is_over = outcome == "failed" and max(line["at"] for line in lines) < max(settled, default=0)
        if outcome in UNSETTLED and not is_over:
            result = lines[-1]["result"]
            fix = remedy(stack.name, result["error"], why, (result.get("upstream") or {}).get("status"))
            yield problem(f"{described(outcome, why, lines)}; in all {summary}", fix)
    yield ok(summary)


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


def queue_state(stack: Deployed, queue: str) -> tuple[int, int, int]:
    """Return the approximate numbers of all messages and of hidden ones, and for how long they are kept."""
    arguments = {"QueueUrl": stack.outputs[queue], "AttributeNames": ["All"]}
    found = stack.client("sqs").get_queue_attributes(**arguments)["Attributes"]
    name = "ApproximateNumberOfMessages"
    hidden = int(found[f"{name}NotVisible"]) + int(found[f"{name}Delayed"])
    return int(found[name]) + hidden, hidden, int(found["MessageRetentionPeriod"])


def queue(stack: Deployed) -> Findings:
    """No message has been waiting for long."""
    count, hidden, _ = queue_state(stack, "QueueUrl")
    if not count:
        yield ok("empty")
        return
    text = f"{count} waiting, {hidden} of them in progress or deferred"
    unread_s, (deferred_s, order) = oldest_unread_s(stack), oldest_deferred(stack)
    if order:
        text += f"; the oldest that was tried, order {order}, has waited for {duration(deferred_s)}"
    if unread_s:
        text += f"; the oldest that was not, for {duration(unread_s)}"
    if max(unread_s, deferred_s) >= WAITING_LONG_S:
        section = "WaitingOrdersAlarm" if deferred_s >= unread_s else "UnreadOrdersAlarm"
        yield problem(text, f"Nothing is lost. Fix the problems above (docs/operations.md, {section})")
    yield ok(text)


def oldest_unread_s(stack: Deployed) -> float:
    """Return the age that SQS has measured, which leaves out what was received three times; 0 without one."""
    queue, now = stack.outputs["QueueArn"].rpartition(":")[2], datetime.now(UTC)
    metric: dict[str, Any] = {"Namespace": "AWS/SQS", "MetricName": "ApproximateAgeOfOldestMessage"}
    metric["Dimensions"] = [{"Name": "QueueName", "Value": queue}]
    period = {"StartTime": now - timedelta(minutes=10), "EndTime": now, "Period": 600}
    measured = stack.client("cloudwatch").get_metric_statistics(**metric, **period, Statistics=["Maximum"])
    return max((point["Maximum"] for point in measured["Datapoints"]), default=0.0)


def dead_letters(stack: Deployed) -> Findings:
    """No message is in the dead-letter queue."""
    count, _, kept_s = queue_state(stack, "DeadLetterQueueUrl")
    sample = DeadLetters(stack).sample(min(count, DEAD_LETTERS_READ), DEAD_LETTERS_HIDDEN_S)
    if not count:
        yield ok("none")
    elif not sample:
        text = f"about {count}, all of them hidden: somebody is reading them"
        yield unknown(text, "Run the doctor again in a minute")
    else:
        codes = in_words(Counter(letter.code for letter in sample))
        read = f" among the {len(sample)} that were read" if len(sample) < count else ""
        left = duration(min(letter.sent_at for letter in sample) + kept_s - time.time())
        fix = f"To see them: make dead-letters STACK={stack.name} (docs/operations.md, DeadLetterAlarm)"
        yield problem(f"about {count}: {codes}{read}; SQS deletes the oldest of them in {left}", fix)
