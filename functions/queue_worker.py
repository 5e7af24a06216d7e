"""Queue worker: cancel the orders of a batch of messages side by side, and settle each message.

To settle a message is to decide how it ends: it is deleted, deferred or moved to the dead-letter queue.
"""

import os
import random
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.aws import CONFIG
from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import OUTAGE_ERRORS, CancelError
from cancellation.messages import parse_message, read_types
from cancellation.order import Outcome, cancel_order
from cancellation.outage import Outage
from cancellation.outcome_events import OutcomeEvents, outcome_detail
from cancellation.pacing import Pacer
from cancellation.queue import OUTAGE_DELAY_S, Message, Queue, backoff_s, dead_letter_attributes
from cancellation.reporting import report
from cancellation.telemetry import internal_error, logger, metrics, tracer
from cancellation.tokens import Tokens

WORKERS = int(os.environ["QUEUE_WORKERS"])
# Clopos answers in about 300 ms and allows five calls a second. Two workers with five threads each reach that
# easily, and a batch of ten takes two rounds.
THREADS = 5
# Time to settle a batch: publishing events, dead-lettering and deferring each take one call of at most 5 s.
MARGIN_S = 12
SETTLE_MARGIN_S = 1  # for the log and the answer
YOUNG_S = 120  # a cancellation may overtake its order: to a younger message, a 404 is no verdict
CANCELLATION_TYPES = read_types(os.environ["CANCELLATION_TYPES"])

tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
outage = Outage(workers=WORKERS)
clopos = Clopos(os.environ["CLOPOS_BASE_URL"], Pacer(workers=WORKERS, reserve=int(os.environ["API_RESERVE"])))
sqs = boto3.client("sqs", config=CONFIG)
queue = Queue(sqs, os.environ["QUEUE_URL"])
dead_letters = Queue(sqs, os.environ["DEAD_LETTER_QUEUE_URL"])
events = OutcomeEvents(os.environ["EVENT_BUS_NAME"], os.environ["POWERTOOLS_SERVICE_NAME"])
threads = ThreadPoolExecutor(THREADS)


@dataclass
class Job:
    """A message of the batch, and what becomes of it."""

    message: Message
    outcome: Outcome
    fate: str = "deferred"  # or `cancelled`, or `rejected`
    is_published: bool = True  # whether no event of its outcome is unpublished

    @property
    def waits_for_clopos(self) -> bool:
        """Whether it was not cancelled because Clopos itself fails."""
        return self.outcome.error is not None and self.outcome.error.code in OUTAGE_ERRORS

    @property
    def stays(self) -> bool:
        """Whether its message stays on the queue."""
        return self.fate == "deferred" or not self.is_published

    @property
    def ids(self) -> dict[str, Any]:
        """The ids that join it to its log lines, its event and the webhook that it came from."""
        order = self.outcome.order
        return {
            "message_id": self.message.message_id,
            "webhook_id": self.message.webhook_id,
            "correlation_id": (order and order.correlation_id) or self.message.correlation_id,
        }


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one batch and return which of its messages stay on the queue."""
    records = event.get("Records")
    if not records or any(record.get("eventSource") != "aws:sqs" for record in records):
        raise ValueError("the event is not a batch of SQS messages")
    jobs = [Job(Message.of(record), Outcome(context.aws_request_id)) for record in records]
    cancel_all(jobs, Deadline.of(context, margin_s=MARGIN_S))
    settle(jobs, Deadline.of(context, margin_s=SETTLE_MARGIN_S))
    return {"batchItemFailures": [{"itemIdentifier": job.message.message_id} for job in jobs if job.stays]}


def side_by_side(function: Callable[[Job], None], jobs: Iterable[Job]) -> None:
    """Call a function for each job, in `THREADS` threads."""
    list(threads.map(function, jobs))


def cancel_all(jobs: list[Job], deadline: Deadline) -> None:
    """Cancel the orders of all jobs; in an outage of Clopos, probe until it is over or the time is up."""
    side_by_side(lambda job: cancel(job, deadline), jobs)
    while outage.is_on and (waiting := deque(job for job in jobs if job.waits_for_clopos)):
        while outage.is_on:
            if not outage.wait_for_probe(deadline):
                return
            cancel(waiting[0], deadline, is_probe=True)
            waiting.rotate(-1)  # an order that always fails must not block the others
        side_by_side(lambda job: cancel(job, deadline), [job for job in waiting if job.waits_for_clopos])


def cancel(job: Job, deadline: Deadline, *, is_probe: bool = False) -> None:
    """Cancel the order of one job, unless Clopos is known to be failing."""
    request_id = job.outcome.request_id
    try:
        order = parse_message(job.message.body, CANCELLATION_TYPES)
    except CancelError as exc:
        job.outcome = Outcome(request_id, error=exc)
        return
    except Exception as exc:  # noqa: BLE001 - a bug must not return the other messages to the queue
        job.outcome = Outcome(request_id, error=internal_error(exc))
        return
    if outage.is_on and not is_probe:
        if not job.outcome.exchanges:
            error = CancelError("clopos_unavailable", "Clopos is failing; the order waits until it works")
            job.outcome = Outcome(request_id, order, error=error)
        return
    outcome = cancel_order(
        order, clopos=clopos, tokens=tokens, deadline=deadline, request_id=request_id, retry=False
    )
    job.outcome = outcome.after(job.outcome)
    if job.waits_for_clopos:  # if it was not called for the order, then /auth was, and failed
        outage.failed()
    elif outcome.exchanges:
        outage.answered()


def settle(jobs: list[Job], deadline: Deadline) -> None:
    """Publish, dead-letter and report the outcome of each message, and defer those that stay.

    This must not raise: a message that was copied to the dead-letter queue has to leave this one.
    """
    for job in jobs:
        job.fate = fate(job)
    publish([job for job in jobs if job.fate != "deferred"], deadline)
    side_by_side(lambda job: dead_letter(job, deadline), [job for job in jobs if job.fate == "rejected"])
    for job in jobs:
        try:
            report_job(job)
        except Exception as exc:  # noqa: BLE001 - a bug in a report must not return a message to the queue
            logger.error("outcome not reported", error=type(exc).__name__, **job.ids)
    if staying := [job for job in jobs if job.stays]:
        queue.defer([(job.message, delay_s(job)) for job in staying], deadline)


def fate(job: Job) -> str:
    """Return how a message ends: `cancelled`, `rejected` or `deferred`."""
    outcome, sent_at = job.outcome, job.message.sent_at
    if outcome.error and outcome.error.code == "order_not_found" and sent_at is not None:
        answered_at = outcome.started_at + outcome.duration_s  # long ago, if an outage has held the batch
        if answered_at - sent_at < YOUNG_S:
            return "deferred"
    return outcome.verdict or "deferred"


def publish(settled: list[Job], deadline: Deadline) -> None:
    """Publish the outcomes of jobs, and note which of them were accepted."""
    details = [outcome_detail(job.outcome, job.fate, "queue", **job.ids) for job in settled]
    for job, is_accepted in zip(settled, events.publish(details, deadline), strict=True):
        job.is_published = is_accepted


def dead_letter(job: Job, deadline: Deadline) -> None:
    """Move a rejected message to the dead-letter queue; if that fails, it is deferred."""
    message, error = job.message, job.outcome.error
    try:
        if error and job.is_published:
            attributes = dead_letter_attributes(message, error)
            dead_letters.send(message.body, attributes, message.trace_header, deadline)
            return
    except Exception as exc:  # noqa: BLE001 - AWS_ERRORS, or attributes in an unknown form
        # The message stays on its queue; SQS's own redrive policy is the last resort.
        logger.error("message not moved to the dead-letter queue", error=type(exc).__name__, **job.ids)
    job.fate = "deferred"


def delay_s(job: Job) -> int:
    """Return for how many seconds to hide a message that stays on the queue."""
    if outage.is_on and job.waits_for_clopos:
        return round(random.uniform(*OUTAGE_DELAY_S))
    error = job.outcome.error
    return backoff_s(job.message.receive_count, error.retry_after_s if error else None)


def report_job(job: Job) -> None:
    """Report one message, with the ids of the webhook that it came from and of its trace."""
    report(job.outcome, job.fate, "queue", **job.ids, message_trace=job.message.trace_header)
    if job.fate == "rejected":
        metrics.add_metric("OrdersDeadLettered", MetricUnit.Count, 1)
    if job.fate == "deferred" and job.message.age_s is not None:
        metrics.add_metric("MessageAge", MetricUnit.Seconds, round(job.message.age_s))
