"""`POST /webhooks/cancellations`: verify the signature, put the order on the queue, answer at once."""

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.aws import AWS_ERRORS, call, client
from cancellation.deadline import Deadline
from cancellation.errors import CancelError, NotACancellation, internal_error
from cancellation.http_api import header_values, respond
from cancellation.messages import Order, parse_webhook, read_types
from cancellation.settling import order_message, text_attribute
from cancellation.telemetry import count_internal_error, logger, metrics, tracer
from cancellation.webhook_secrets import WebhookSecrets, signature_headers

MAX_BODY_BYTES = 64 * 1024
MARGIN_S = 2  # for the answer and the log
CANCELLATION_TYPES = read_types(os.environ["CANCELLATION_TYPES"])

sqs = client("sqs")
secrets = WebhookSecrets(os.environ["WEBHOOK_SECRET_ARN"])


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one webhook call."""
    request_id = context.aws_request_id
    request = event.get("requestContext") or {}
    keys: dict[str, Any] = {
        "gateway_request_id": request.get("requestId"),
        "source_ip": (request.get("identity") or {}).get("sourceIp"),
    }
    try:
        message_id = accept(event, Deadline.of(context, margin_s=MARGIN_S), keys)
    except NotACancellation as ignored:
        metrics.add_metric("WebhooksIgnored", MetricUnit.Count, 1)
        logger.info("webhook ignored", type=ignored.ignored_type, **keys)
        data = {"message_id": None, "ignored": ignored.ignored_type}
        return respond(200, {"success": True, "data": data, "request_id": request_id})
    except CancelError as exc:
        metrics.add_metric("WebhooksRefused", MetricUnit.Count, 1)
        logger.warning("webhook refused", error=exc.code, cause=exc.message, **keys)
        return respond(200, exc.envelope(request_id), exc)
    except Exception as exc:  # noqa: BLE001 - a bug; the sender retries, so nothing is lost
        metrics.add_metric("WebhooksRefused", MetricUnit.Count, 1)
        error = internal_error(exc)
        count_internal_error()
        return respond(500, error.envelope(request_id), error)
    metrics.add_metric("WebhooksAccepted", MetricUnit.Count, 1)
    return respond(202, {"success": True, "data": {"message_id": message_id}, "request_id": request_id})


def accept(event: dict[str, Any], deadline: Deadline, keys: dict[str, Any]) -> str:
    """Check a webhook, put its order on the queue and return the message's id.

    Raises
    ------
    NotACancellation
        If the payload is of another type.
    CancelError
        `unauthenticated`, `invalid_request` or `service_unavailable`.
    """
    if "httpMethod" not in event:  # not set by HTTP APIs, function URLs or the console's test events
        raise CancelError("invalid_request", "not an event of a REST API with Lambda proxy integration")
    names = {*(event.get("headers") or {}), *(event.get("multiValueHeaders") or {})}
    headers = {name: header_values(event, name)[-1] for name in map(str.lower, names)}
    body = event.get("body") or ""
    if len(body.encode(errors="replace")) > MAX_BODY_BYTES:
        raise CancelError("invalid_request", f"the body must not be longer than {MAX_BODY_BYTES} bytes")
    signed = signature_headers(headers)
    keys["secret"] = secrets.verify(body, signed, deadline)
    media_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise CancelError("invalid_request", "Content-Type: must be application/json")
    order = parse_webhook(body, CANCELLATION_TYPES)
    message_id = put_on_queue(order, signed["webhook-id"], keys["gateway_request_id"], deadline)
    logger.info(
        "webhook accepted",
        order_id=order.order_id,
        venue_id=order.venue_id,
        message_id=message_id,
        webhook_id=signed["webhook-id"],
        correlation_id=keys["gateway_request_id"],
        **keys,
    )
    return message_id


def put_on_queue(order: Order, webhook_id: str, correlation_id: str | None, deadline: Deadline) -> str:
    """Send the message that asks to cancel an order, and return its id.

    It holds the order and the ids that link it to the webhook, and nothing else from the webhook's body,
    which may contain customer data.
    """
    ids = {"WebhookId": webhook_id, "CorrelationId": correlation_id}
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    try:
        answer = call(
            sqs.send_message,
            deadline,
            QueueUrl=os.environ["QUEUE_URL"],
            MessageBody=order_message(order.order_id, order.venue_id),
            MessageAttributes={name: text_attribute(value) for name, value in ids.items() if value},
            MessageSystemAttributes={"AWSTraceHeader": text_attribute(trace)} if trace else {},
        )
    except AWS_ERRORS as exc:  # the sender retries, so nothing is lost
        raise CancelError(
            "service_unavailable", "the queue cannot be reached; send this webhook again"
        ) from exc
    return str(answer["MessageId"])
