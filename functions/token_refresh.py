"""The token refresh: fetch a new token from Clopos and store it, on a schedule, on request, or by hand."""

import json
import os
import time
from typing import Any

import boto3
import fastjsonschema
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import SECRETS_CONFIG, fingerprint, parse_token

DEADLINE_S = 13  # the function's own timeout is 15 s
RETRIES = 2

_TEXT = {"type": "string", "minLength": 1}
_check_credentials = fastjsonschema.compile(
    {
        "type": "object",
        "properties": {"client_id": _TEXT, "client_secret": _TEXT, "brand": _TEXT, "integrator_id": _TEXT},
        "required": ["client_id", "client_secret", "brand", "integrator_id"],
    }
)

clopos = Clopos(os.environ["CLOPOS_BASE_URL"], retries=RETRIES)
secrets = boto3.client("secretsmanager", config=SECRETS_CONFIG)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Store a new token.

    Parameters
    ----------
    event : dict
        Where a worker asks: `refused`, the fingerprint of the token that it cannot use, and `until`, the Unix
        second until which it waits. A schedule's event, or any other, always fetches a new token.

    Returns
    -------
    dict
        `{"success": true, "refreshed": ..., "expires_at": ...}`, or to a worker the error envelope.

    Raises
    ------
    CancelError
        Where nobody reads the answer: Lambda tries a scheduled run again, and counts it among its errors.
    """
    refused = event.get("refused")
    deadline = Deadline.after(min(DEADLINE_S, event.get("until", float("inf")) - time.time()))
    try:
        if refused and _is_newer_than(refused):
            metrics.add_metric("TokenRefreshed", MetricUnit.Count, 0)  # Powertools warns of a run without any
            return {"success": True, "refreshed": False}
        expires_at = _refresh(deadline)
    except CancelError as exc:
        metrics.add_metric("TokenRefreshFailed", MetricUnit.Count, 1)
        logger.error("token not refreshed", result=exc.envelope(context.aws_request_id))
        if refused:
            return exc.envelope(context.aws_request_id)
        raise
    metrics.add_metric("TokenRefreshed", MetricUnit.Count, 1)
    logger.info("token refreshed", expires_at=expires_at)
    return {"success": True, "refreshed": True, "expires_at": expires_at}


def _is_newer_than(refused: str) -> bool:
    """Whether the secret holds another good token already: a different worker's request came first."""
    try:
        token = parse_token(_read("TOKEN_SECRET_ARN"))
    except CancelError:  # it holds none: whatever comes is newer
        return False
    return fingerprint(token.value) != refused and not token.expired()


def _refresh(deadline: Deadline) -> float:
    """Store a new token and return the Unix second at which it expires."""
    try:
        credentials = json.loads(_read("CREDENTIALS_SECRET_ARN"))
        _check_credentials(credentials)
    except ValueError:  # not JSON, or fastjsonschema's: a value is missing or empty
        raise CancelError(
            "clopos_access_denied",
            "the credentials secret needs client_id, client_secret, brand and integrator_id: fill them in",
        ) from None  # a JSON error's text quotes the secret
    token, expires_at = clopos.authenticate(credentials, deadline)
    try:
        secrets.put_secret_value(
            SecretId=os.environ["TOKEN_SECRET_ARN"],
            SecretString=json.dumps({"token": token, "expires_at": expires_at}),
        )
    except (ClientError, BotoCoreError) as exc:  # not allowed, or Secrets Manager is out of reach
        raise CancelError("token_unavailable", "the new token cannot be stored") from exc
    return expires_at


def _read(variable: str) -> str:
    try:
        return secrets.get_secret_value(SecretId=os.environ[variable])["SecretString"]
    except (ClientError, BotoCoreError, KeyError) as exc:
        # Without a value, not allowed, out of reach, or binary.
        raise CancelError("token_unavailable", f"the secret in {variable} cannot be read") from exc
