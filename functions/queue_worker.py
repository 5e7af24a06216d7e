"""The queue: cancel the orders of a batch of messages, and decide what becomes of each message."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.messages import parse_message
from cancellation.order import cancel_order
from cancellation.pacing import Pacer
from cancellation.redelivery import Redelivery
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

# template.yaml: MaximumConcurrency of the event source. Each worker claims its share of the quota.
WORKERS = 2
# Clopos answers in about 300 ms and allows five calls a second: two workers of five threads reach that with
# ease, and a batch of ten is done in two rounds.
THREADS = 5
# For handing back what is unfinished: a batch of ten, one call each.
MARGIN_S = 10
# A kept-alive connection that Clopos closed meanwhile; everything else is the queue's to retry.
RETRIES = 2

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
clopos = Clopos(
    os.environ["CLOPOS_BASE_URL"],
    retries=RETRIES,
    retry_statuses=False,
    connections=THREADS,
    pacer=Pacer(workers=WORKERS),
)
redelivery = Redelivery(os.environ["QUEUE_URL"], os.environ["DEAD_LETTER_QUEUE_URL"])
threads = ThreadPoolExecutor(THREADS)


class NotDone(Exception):
    """The message stays on the queue: this is how a record handler tells Powertools."""


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Process one batch and return which of its messages stay on the queue."""
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    # All of them start at once, here; the processor below then waits for each in turn.
    outcomes = {
        record["messageId"]: threads.submit(
            cancel_order,
            partial(parse_message, record["body"]),
            clopos=clopos,
            tokens=tokens,
            deadline=deadline,
            request_id=context.aws_request_id,
            unfinished="deferred",
        )
        for record in event["Records"]
    }

    def settle(record: SQSRecord) -> None:
        outcome = outcomes[record.message_id].result()
        error = outcome.error
        if error and outcome.name == "rejected" and not redelivery.dead_letter(record, error):
            outcome.name = "deferred"
        outcome.report("queue", message_id=record.message_id, **_way(record))
        if error and outcome.name == "deferred":
            redelivery.hand_back(record, error.retry_after_s)
            raise NotDone

    return process_partial_response(event, settle, processor, context)


def _way(record: SQSRecord) -> dict[str, str | None]:
    """Return what ties a message to the webhook that it came by, and to its trace."""
    sent = record.message_attributes
    keys = {"webhook_id": "WebhookId", "correlation_id": "CorrelationId"}
    way = {key: attribute.string_value for key, name in keys.items() if (attribute := sent[name])}
    return {**way, "message_trace": record.attributes.aws_trace_header}
