"""What must be true whatever goes wrong. The checkers only use the history and the state of Clopos, not the load."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.simulation.clopos import LIMIT, TOO_LATE, WINDOW_S, Call
from tests.simulation.stack import Stack

GATEWAY_TIMEOUT_S = 29
FIRST_FAILURES = 14  # of an environment that has not detected the outage yet (cancellation/outage.py)
# The fault of a message, and the order's status at Clopos that goes with it; None: Clopos knows no such order.
FAULTS = {"order_not_found": {None}, "order_not_cancellable": {*TOO_LATE}, "invalid_request": {None}}
YOUNG_S = 120  # an order that was created so soon after its cancellation was sent is cancelled


def problems(stack: Stack) -> list[str]:
    """Return sentences about everything that is wrong."""
    checkers = (
        messages_end_well,
        settled_orders_have_an_event,
        every_order_is_logged,
        every_call_is_logged,
        callers_of_the_api_are_answered,
        the_quota_is_not_exceeded,
        workers_probe_during_an_outage,
        tokens_are_not_stored_too_often,
        nothing_unexpected,
    )
    return [problem for checker in checkers for problem in checker(stack)]


def messages_end_well(stack: Stack) -> Iterator[str]:
    """Cancelled, dead-lettered with its reason, or still on the queue."""
    dead = Counter(letter.reasons["OriginalMessageId"] for letter in stack.history.dead_letters)
    for message in stack.queue.messages.values():
        status = stack.clopos.orders.get(message.order_id or "")
        if message in stack.queue.redriven:
            yield f"{message.message_id} was redriven by SQS"
        elif message.is_gone and not dead[message.message_id] and status != "IGNORE":
            yield f"{message.message_id} has left the queue, and its order is {status}"
    for letter in stack.history.dead_letters:
        code = letter.reasons["ErrorCode"]
        if letter.status not in FAULTS.get(code, ()):
            yield f"{letter.reasons} was dead-lettered while its order was {letter.status}"
        message = stack.queue.messages[letter.reasons["OriginalMessageId"]]
        created_at = stack.clopos.created.get(message.order_id or "", math.inf)
        if code == "order_not_found" and created_at < message.sent_at + YOUNG_S:
            yield f"{message.message_id} was dead-lettered, and its order was created soon after"


def settled_orders_have_an_event(stack: Stack) -> Iterator[str]:
    """A message that has left has an event that agrees with Clopos, and every event agrees with Clopos."""
    if not stack.settings.event_bus:
        return
    published = {event.detail["message_id"]: event.at for event in reversed(stack.aws.events)}
    for message in stack.queue.messages.values():
        if message.is_gone and published.get(message.message_id, float("inf")) > (message.gone_at or 0):
            yield f"{message.message_id} left the queue without an event"
    for event in stack.aws.events:
        cancelled = event.detail["outcome"] == "cancelled"
        if cancelled != (event.status == "IGNORE"):
            yield f"at {event.at:.0f} an event said {event.detail['outcome']} of an order that was {event.status}"


def every_order_is_logged(stack: Stack) -> Iterator[str]:
    """One line for each message of each batch that ended."""
    lines = Counter(
        line.keys["message_id"]
        for line in stack.history.lines
        if "outcome" in line.keys and line.keys["source"] == "queue"
    )
    ended, crashed = Counter[str](), Counter[str]()
    for ids, is_crash in stack.history.batches:
        (crashed if is_crash else ended).update(ids)
    for message_id, count in lines.items():
        most = ended[message_id] + crashed[message_id] + stack.settings.queue_workers
        if not ended[message_id] <= count <= most:
            yield f"{message_id} has {count} lines for {ended[message_id]} batches"
    yield from (f"{message_id} has no line" for message_id in ended if message_id not in lines)


def every_call_is_logged(stack: Stack) -> Iterator[str]:
    """The lines of an order tell how many calls were made for it; a batch that crashed or still runs has none."""
    if stack.queue.waiting or any(is_crash for _, is_crash in stack.history.batches):
        return
    made = Counter(call.path.removeprefix("/orders/").partition("?")[0] for call in stack.clopos.calls)
    logged = Counter[str]()
    for line in stack.history.lines:
        if "outcome" in line.keys:
            logged[line.keys["order_id"]] += line.keys["attempts"]
    for order_id in made.keys() - {"0", "/auth"}:
        if made[order_id] != logged[order_id]:
            yield f"{made[order_id]} calls for order {order_id}, {logged[order_id]} logged"


def callers_of_the_api_are_answered(stack: Stack) -> Iterator[str]:
    """Calls are answered in time, and with the truth."""
    for call in stack.history.api_calls:
        if call.answered_at is None:
            if stack.scheduler.now > call.at + GATEWAY_TIMEOUT_S:
                yield f"the API call of {call.order_id} was not answered"
            continue
        took_s = call.answered_at - call.at
        if took_s > GATEWAY_TIMEOUT_S:
            yield f"the API call of {call.order_id} was answered after {took_s:.1f} s"
        error = (call.body or {}).get("error")
        if (call.status == 200) != (call.clopos_status == "IGNORE") and call.status in (200, 404, 409):
            yield f"the API answered {call.status} for an order that is {call.clopos_status}"
        if call.status == 502 and error is None:
            yield f"the API call of {call.order_id} crashed"


def the_quota_is_not_exceeded(stack: Stack) -> Iterator[str]:
    """Counted independently of the counting in the model of Clopos."""
    times = sorted(call.counted_at for call in stack.clopos.calls if call.counted_at is not None)
    for first, last in zip(times, times[LIMIT:], strict=False):
        if last - first < WINDOW_S:
            yield f"{LIMIT + 1} calls within {last - first:.1f} s"
            return


def tokens_are_not_stored_too_often(stack: Stack) -> Iterator[str]:
    """Secrets Manager keeps about a hundred versions, and removes none that is less than a day old."""
    times = stack.aws.versions.get("arn:token", [])
    for first, last in zip(times, times[100:], strict=False):
        if last - first < 86_400:
            yield f"101 versions of the token within {(last - first) / 3600:.1f} h"
            return


def nothing_unexpected(stack: Stack) -> Iterator[str]:
    """No bug was found: no unexpected exception or log line."""
    yield from (f"the worker raised {exc!r}" for exc in stack.history.raised)
    for line in stack.history.lines:
        if line.text in ("unexpected error", "outcome not reported"):
            yield f"{line.text}: {json.dumps(line.keys)[:800]}"


def workers_probe_during_an_outage(stack: Stack) -> Iterator[str]:
    """An environment that has had only failures for a while makes only occasional calls."""
    probes: list[float] = []
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in stack.clopos.calls:
        calls[call.process].append(call)
    for calls_of_one in calls.values():
        failed: list[float] = []  # in a row
        for call in calls_of_one:
            if call.failure is None and (call.status or 0) < 500:
                failed.clear()
                continue
            failed.append(call.at)
            if call.caller == "queue_worker" and len(failed) > FIRST_FAILURES and call.at > failed[0] + 30:
                probes.append(call.at)
    most = most_in_a_minute(sorted(probes))
    if most > (15 if stack.settings.queue_workers == 2 else 20):
        yield f"{most} probes within a minute"


def most_in_a_minute(times: list[float]) -> int:
    """Return the most of these times, which are sorted, within any minute."""
    most, first = 0, 0
    for number, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, number - first + 1)
    return most


def calls_a_minute(stack: Stack, begin: float, end: float) -> int:
    """Return the most calls by the queue's workers in any minute of a time."""
    return most_in_a_minute(
        [call.at for call in stack.clopos.calls if call.caller == "queue_worker" and begin <= call.at < end]
    )
