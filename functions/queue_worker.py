"""Queue worker: cancel the orders of a batch of messages concurrently, and settle each message.

To settle a message is to decide how it ends: it is deleted, deferred or moved to the dead-letter queue.
"""

import math
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import OUTAGE_ERRORS
from cancellation.messages import parse_message, read_types
from cancellation.order import Outcome, cancel_order
from cancellation.outage import Outage
from cancellation.outcome_events import OutcomeEvents, outcome_detail
from cancellation.pacing import Pacer
from cancellation.reporting import report
from cancellation.settling import OUTAGE_DELAY_S, Message, Settling, backoff_s
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

WORKERS = int(os.environ["QUEUE_WORKERS"])
# Clopos answers in about 300 ms and allows five calls a second. Two workers with five threads each reach that
# easily, and a batch of ten takes two rounds.
THREADS = 5
# Time to settle a batch: publishing events, dead-lettering and deferring each take one call of at most 5 s.
MARGIN_S = 12
# The second attempt is for a kept-alive connection that Clopos has closed. The queue does all other retries.
MAX_ATTEMPTS = 2
CANCELLATION_TYPES = read_types(os.environ["CANCELLATION_TYPES"])

tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
outage = Outage(workers=WORKERS)
clopos = Clopos(
    os.environ["CLOPOS_BASE_URL"],
    max_attempts=MAX_ATTEMPTS,
    retry_answers=False,
    pacer=Pacer(workers=WORKERS, reserve=int(os.environ["API_RESERVE"])),
    outage=outage,
)
settling = Settling(os.environ["QUEUE_URL"], os.environ["DEAD_LETTER_QUEUE_URL"])
events = OutcomeEvents(os.environ["EVENT_BUS_NAME"], os.environ["POWERTOOLS_SERVICE_NAME"])
threads = ThreadPoolExecutor(THREADS)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one batch and return which of its messages stay on the queue."""
    records = event.get("Records")
    if not records or any(record.get("eventSource") != "aws:sqs" for record in records):
        raise ValueError("the event is not a batch of SQS messages")
    messages = [Message.of(record) for record in records]
    deadline = Deadline.of(context, margin_s=MARGIN_S)

    def cancel(message: Message) -> Outcome:
        return cancel_order(
            partial(parse_message, message.body, CANCELLATION_TYPES),
            clopos=clopos,
            tokens=tokens,
            deadline=deadline,
            request_id=context.aws_request_id,
            outage=outage,
        )

    outcomes = list(threads.map(cancel, messages))
    kept = settle(messages, outcomes, Deadline.of(context, margin_s=1))
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in kept]}


def settle(messages: list[Message], outcomes: list[Outcome], deadline: Deadline) -> list[Message]:
    """Publish, dead-letter and report the outcome of each message; defer and return those that stay.

    This must not raise: a message that was copied to the dead-letter queue has to leave this one.
    """
    names = [outcome.name(unsettled="deferred") for outcome in outcomes]
    published = publish(messages, outcomes, names, deadline)

    def dead_letter(message: Message, outcome: Outcome, name: str, is_published: bool) -> str:
        if outcome.error is None or name != "rejected":
            return name
        moved = is_published and settling.dead_letter(message, outcome.error, deadline)
        return name if moved else "deferred"

    names = list(threads.map(dead_letter, messages, outcomes, names, published))
    kept = {}
    for message, outcome, name, is_published in zip(messages, outcomes, names, published, strict=True):
        if name == "deferred" or not is_published:
            kept[message.receipt_handle] = message, delay_s(message, outcome)
        try:
            report_message(message, outcome, name)
        except Exception as exc:  # noqa: BLE001 - a bug in a report must not return a message to the queue
            logger.error("outcome not reported", error=type(exc).__name__, message_id=message.message_id)
    if kept:
        settling.defer({handle: delay for handle, (_, delay) in kept.items()}, deadline)
    return [message for message, _ in kept.values()]


def publish(
    messages: list[Message], outcomes: list[Outcome], names: list[str], deadline: Deadline
) -> list[bool]:
    """Publish the settled outcomes; return for each message whether no event of it is unpublished."""
    details = {
        number: outcome_detail(outcome, name, "queue", **message.ids)
        for number, (message, outcome, name) in enumerate(zip(messages, outcomes, names, strict=True))
        if outcome.is_settled
    }
    accepted = dict(zip(details, events.publish(list(details.values()), deadline), strict=True))
    return [accepted.get(number, True) for number in range(len(messages))]


def delay_s(message: Message, outcome: Outcome) -> int:
    """Return for how many seconds to hide a message that stays on the queue."""
    if outage.is_on and outcome.error and outcome.error.code in OUTAGE_ERRORS:
        return round(random.uniform(*OUTAGE_DELAY_S))
    return backoff_s(message.receive_count, outcome.error.retry_after_s if outcome.error else None)


def report_message(message: Message, outcome: Outcome, name: str) -> None:
    """Report one message, with the ids of the webhook that it came from and of its trace."""
    report(outcome, name, "queue", **message.ids, message_trace=message.trace_header)
    if name == "deferred" and message.sent_at < math.inf:
        metrics.add_metric("MessageAge", MetricUnit.Seconds, max(0, round(time.time() - message.sent_at)))
