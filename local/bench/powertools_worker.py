"""A plain Powertools worker, to compare with: a batch in turn, and what fails stays on the queue."""

import os
from typing import Any

import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

logger, metrics, tracer = Logger(), Metrics(), Tracer()
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
session = requests.Session()


def cancel(record: SQSRecord) -> None:
    """Cancel the order of one message; whatever is raised leaves it on the queue."""
    token = str(parameters.get_secret(os.environ["TOKEN_SECRET_ARN"], max_age=300))
    order_id = record.json_body["order_id"]
    answer = session.put(
        f"{os.environ['CLOPOS_BASE_URL']}/orders/{order_id}",
        json={"status": "IGNORE"},
        headers={"x-token": token},
        timeout=10,
    )
    answer.raise_for_status()
    logger.info("order cancelled", order_id=order_id)
    metrics.add_metric("OrdersCancelled", MetricUnit.Count, 1)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Process one batch."""
    return process_partial_response(event, cancel, processor, context)
