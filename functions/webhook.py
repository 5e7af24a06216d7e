"""`POST /webhooks/cancellations`: verify the signature, put the order on the queue, answer at once."""

import os
from typing import Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.aws import AWS_ERRORS, CONFIG
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.http_api import check_event, header_values, read_body, respond, respond_error
from cancellation.messages import NotACancellation, parse_webhook, read_types
from cancellation.queue import Queue, order_message, text_attribute
from cancellation.telemetry import internal_error, logger, metrics, tracer
from cancellation.webhook_secrets import WebhookSecrets, signature_headers

MAX_BODY_BYTES = 64 * 1024
MARGIN_S = 2  # for the answer and the log
CANCELLATION_TYPES = read_types(os.environ["CANCELLATION_TYPES"])

queue = Queue(boto3.client("sqs", config=CONFIG), os.environ["QUEUE_URL"])
secrets = WebhookSecrets(os.environ["WEBHOOK_SECRET_ARN"])


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one webhook call."""
    request = event.get("requestContext") or {}
    caller: dict[str, Any] = {
        "gateway_request_id": request.get("requestId"),
        "source_ip": (request.get("identity") or {}).get("sourceIp"),
    }
    try:
        return accept(event, context.aws_request_id, caller, Deadline.of(context, margin_s=MARGIN_S))
    except CancelError as exc:
        error = exc
        logger.warning("webhook refused", error=error.code, cause=error.message, **caller)
    except Exception as exc:  # noqa: BLE001 - a bug; the sender retries, so nothing is lost
        error = internal_error(exc)
    metrics.add_metric("WebhooksRefused", MetricUnit.Count, 1)
    return respond_error(error, context.aws_request_id)


def accept(
    event: dict[str, Any], request_id: str, caller: dict[str, Any], deadline: Deadline
) -> dict[str, Any]:
    """Check a webhook, put its order on the queue, and return the response; raises `CancelError`."""
    check_event(event)
    body = read_body(event)
    if len(body.encode(errors="replace")) > MAX_BODY_BYTES:
        raise CancelError("invalid_request", f"the body must not be longer than {MAX_BODY_BYTES} bytes")
    names = {*(event.get("headers") or {}), *(event.get("multiValueHeaders") or {})}
    headers = {name: header_values(event, name) for name in map(str.lower, names)}
    signed = signature_headers(headers)
    caller = caller | {"secret": secrets.verify(body, signed, deadline)}
    media_type = headers.get("content-type", ["application/json"])[-1].partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise CancelError("invalid_request", "Content-Type: must be application/json")
    try:
        order = parse_webhook(body, CANCELLATION_TYPES)
    except NotACancellation as ignored:
        metrics.add_metric("WebhooksIgnored", MetricUnit.Count, 1)
        logger.info("webhook ignored", type=ignored.ignored_type, **caller)
        data = {"message_id": None, "ignored": ignored.ignored_type}
        return respond(200, {"success": True, "data": data, "request_id": request_id})
    ids: dict[str, Any] = {
        "webhook_id": signed["webhook-id"],
        "correlation_id": order.correlation_id or caller["gateway_request_id"],
    }
    # Nothing else of the webhook's body goes on the queue: it may contain customer data.
    attributes = {"WebhookId": ids["webhook_id"], "CorrelationId": ids["correlation_id"]}
    try:
        message_id = queue.send(
            order_message(order),
            {name: text_attribute(value) for name, value in attributes.items() if value},
            os.environ.get("_X_AMZN_TRACE_ID"),
            deadline,
        )
    except AWS_ERRORS as exc:  # the sender retries, so nothing is lost
        raise CancelError(
            "service_unavailable", "the queue cannot be reached; send this webhook again"
        ) from exc
    metrics.add_metric("WebhooksAccepted", MetricUnit.Count, 1)
    logger.info(
        "webhook accepted",
        order_id=order.order_id,
        venue_id=order.venue_id,
        message_id=message_id,
        **ids,
        **caller,
    )
    return respond(202, {"success": True, "data": {"message_id": message_id}, "request_id": request_id})
