"""`POST /webhooks/cancellations`: check who sends it, put it on the queue, and answer at once."""

import math
import os
import time
from typing import Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from standardwebhooks import Webhook, WebhookVerificationError

from cancellation.errors import CancelError, internal_error
from cancellation.messages import parse_message
from cancellation.redelivery import SQS_CONFIG, text_attribute
from cancellation.responses import respond
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import CACHE_S, SECRETS_CONFIG

MAX_BODY_BYTES = 64 * 1024
# A signature that fits none of the secrets we know may be made with one that was rotated in just now. Forged
# ones must not cost a look into Secrets Manager each.
REREAD_S = 5
# While the secret rotates, both are good.
STAGES = ("AWSCURRENT", "AWSPREVIOUS")

sqs = boto3.client("sqs", config=SQS_CONFIG)
secretsmanager = boto3.client("secretsmanager", config=SECRETS_CONFIG)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one webhook call."""
    request_id = context.aws_request_id
    try:
        message_id = _accept(APIGatewayProxyEvent(event))
    except CancelError as exc:
        metrics.add_metric("WebhooksRefused", MetricUnit.Count, 1)
        logger.warning("webhook refused", error=exc.code, cause=str(exc.__cause__ or exc.message))
        return respond(200, exc.envelope(request_id), exc)
    except Exception as exc:  # noqa: BLE001 - a bug of ours: the sender sends again, so nothing is lost
        error = internal_error(exc)
        return respond(500, error.envelope(request_id), error)
    metrics.add_metric("WebhooksAccepted", MetricUnit.Count, 1)
    return respond(202, {"success": True, "data": {"message_id": message_id}, "request_id": request_id})


def _accept(event: APIGatewayProxyEvent) -> str:
    """Check the call, put it on the queue and return the message's id."""
    body = event.body or ""
    _verify(body, event.headers)
    media_type = event.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise CancelError("invalid_request", "Content-Type: must be application/json")
    if len(body.encode()) > MAX_BODY_BYTES:
        raise CancelError("invalid_request", f"the body must not be longer than {MAX_BODY_BYTES} bytes")
    order = parse_message(body)
    # One query finds an order's whole way by these (README, "Follow one order").
    way = {"WebhookId": event.headers["webhook-id"], "CorrelationId": event.request_context.request_id or ""}
    attributes = {name: text_attribute(value) for name, value in way.items() if value}
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    try:
        message_id = sqs.send_message(
            QueueUrl=os.environ["QUEUE_URL"],
            MessageBody=body,
            MessageAttributes=attributes,
            MessageSystemAttributes={"AWSTraceHeader": text_attribute(trace)} if trace else {},
        )["MessageId"]
    except (ClientError, BotoCoreError) as exc:
        # SQS is out of reach or refuses: the sender has to send again, so nothing is lost.
        raise CancelError(
            "service_unavailable", "the queue is out of reach; send this webhook again"
        ) from exc
    logger.info(
        "webhook accepted",
        order_id=order.order_id,
        venue_id=order.venue_id,
        message_id=message_id,
        webhook_id=way["WebhookId"],
        correlation_id=way["CorrelationId"],
    )
    return message_id


def _verify(body: str, headers: dict[str, str]) -> None:
    """Check the signature against both secrets.

    Raises
    ------
    CancelError
        `unauthenticated`, with its reason as cause: for the log, and never for the caller.
    """
    for secrets in (_secrets, _fresh_secrets):
        for secret in secrets():
            try:
                Webhook(secret).verify(body, headers, json_parse=False)
                return
            except (WebhookVerificationError, ValueError) as exc:
                # ValueError: headers that are not of the scheme's form, which the package does not check.
                reason = exc
    raise CancelError("unauthenticated", "the signature is missing or wrong") from reason


def _secrets() -> list[str]:
    """Return the secrets that are good, the newest first."""
    if time.monotonic() - known.read_at > CACHE_S:
        known.read()
    return known.secrets


def _fresh_secrets() -> list[str]:
    """Return them as they are now; none where they have just been read again."""
    if time.monotonic() - known.reread_at < REREAD_S:
        return []
    known.reread_at = time.monotonic()
    known.read()
    return known.secrets


class _Known:
    """The secrets as this process knows them. That there is no previous one is worth remembering, too."""

    secrets: list[str]
    read_at = reread_at = -math.inf

    def read(self) -> None:
        secrets = []
        for stage in STAGES:
            try:
                secret = secretsmanager.get_secret_value(
                    SecretId=os.environ["WEBHOOK_SECRET_ARN"], VersionStage=stage
                )
                secrets.append(secret["SecretString"].strip())
            except (ClientError, BotoCoreError, KeyError) as exc:
                # Missing, binary, not allowed, or out of reach. Before the first rotation there is no
                # previous one; without a current one nobody is let in.
                if stage == "AWSCURRENT":
                    raise CancelError("service_unavailable", "the webhook secret cannot be read") from exc
        self.secrets, self.read_at = secrets, time.monotonic()


known = _Known()
