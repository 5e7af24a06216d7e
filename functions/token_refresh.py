"""The token refresh: fetch a new token from Clopos and store it, on a schedule, on request, or by hand."""

import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import boto3
import fastjsonschema
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.aws import AWS_ERRORS, CONFIG, Secret, SecretUnreadable, T, call
from cancellation.clopos import CREDENTIALS, Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import fingerprint, parse_token

MARGIN_S = 2  # for storing the token and writing the log
# After a failure, requests get the same error for a while, so a failing /auth is called twice in ten seconds
# at most; for longer if Clopos asks for it, but not for ever: the schedule does not wait anyway.
MIN_FAILURE_S = 5
MAX_FAILURE_S = 900

_TEXT = {"type": "string", "minLength": 1}
_check_credentials = fastjsonschema.compile(
    {
        "type": "object",
        "properties": dict.fromkeys(CREDENTIALS, _TEXT),
        "required": list(CREDENTIALS),
    }
)

clopos = Clopos(os.environ["CLOPOS_BASE_URL"])
token_secret = Secret(os.environ["TOKEN_SECRET_ARN"], parse_token)
credentials_secret = Secret(os.environ["CREDENTIALS_SECRET_ARN"], str)
secretsmanager = boto3.client("secretsmanager", config=CONFIG)


class NoCredentials(CancelError):
    """The operator has not filled in the credentials yet."""


@dataclass(frozen=True)
class Failure:
    """Why the last refresh failed."""

    error: CancelError
    until: float  # Unix seconds; requests get the same error until then
    credentials: dict[str, str]  # what it failed with: it says nothing about others


# With a concurrency of 1, one environment runs all refreshes, one after the other.
last_failure: Failure | None = None


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Store a new token.

    Parameters
    ----------
    event : dict
        A worker sends `refused`, the fingerprint of the token that Clopos rejected or that expired. Any other
        event, such as the schedule's, always fetches a new token.

    Returns
    -------
    dict
        `{"success": true, "refreshed": ..., "expires_at": ...}`; with `accepted` if Clopos still accepts
        the worker's token. On failure, the error envelope and `retry_after_s`.

    Raises
    ------
    CancelError
        On a scheduled or manual run that failed: Lambda tries a scheduled run again and counts the error.
    """
    refused = event.get("refused")
    deadline = Deadline.of(context, margin_s=MARGIN_S)
    try:
        answer = refresh_for_worker(refused, deadline) if refused else refresh(deadline)
    except NoCredentials as exc:  # expected until the operator has filled them in
        metrics.add_metric("TokenRefreshed", MetricUnit.Count, 0)
        logger.warning("token not refreshed", result=exc.envelope(context.aws_request_id))
        return exc.envelope(context.aws_request_id)
    except CancelError as exc:
        metrics.add_metric("TokenRefreshFailed", MetricUnit.Count, 1)
        logger.error("token not refreshed", result=exc.envelope(context.aws_request_id))
        if refused:
            return exc.envelope(context.aws_request_id) | {"retry_after_s": exc.retry_after_s}
        raise
    metrics.add_metric("TokenRefreshed", MetricUnit.Count, answer["refreshed"])
    if answer["refreshed"]:
        if answer["expires_at"]:
            metrics.add_metric("TokenSecondsLeft", MetricUnit.Seconds, answer["expires_at"] - time.time())
        logger.info("token refreshed", expires_at=answer["expires_at"])
    return answer


def refresh_for_worker(refused: str, deadline: Deadline) -> dict[str, Any]:
    """Store a new token, if one is needed, for a worker whose token expired or was rejected.

    A rejection of an order that goes on with every token must not create a new version of the secret each
    time: Secrets Manager keeps about a hundred, and removes none that is less than a day old.
    """
    stored = read(token_secret, deadline)
    if stored and not stored.expired():
        if fingerprint(stored.value) != refused:
            return {"success": True, "refreshed": False}  # replaced since, at another worker's request
        if not clopos.rejects(stored.value, deadline):
            return {"success": True, "refreshed": False, "accepted": True}  # only that order was refused
    failure = last_failure
    if failure and time.time() < failure.until and failure.credentials == read_credentials(deadline):
        raise replace(failure.error, retry_after_s=failure.until - time.time())
    return refresh(deadline)


def refresh(deadline: Deadline) -> dict[str, Any]:
    """Fetch a new token, and store it unless Clopos rejects it: it would replace one that may work."""
    global last_failure
    credentials = read_credentials(deadline)
    try:
        token, expires_at = clopos.authenticate(credentials, deadline)
        content = json.dumps({"token": token, "expires_at": expires_at})
        if not parse_token(content):
            raise CancelError("clopos_bad_response", "Clopos sent a token that cannot be used")
        if clopos.rejects(token, deadline):
            raise CancelError("clopos_access_denied", "Clopos rejects even a new token")
    except CancelError as exc:
        wait_s = min(max(MIN_FAILURE_S, exc.retry_after_s or 0), MAX_FAILURE_S)
        error = replace(exc, retry_after_s=wait_s)
        last_failure = Failure(error, time.time() + wait_s, credentials)
        raise error from exc
    last_failure = None
    try:
        call(
            deadline,
            secretsmanager.put_secret_value,
            SecretId=os.environ["TOKEN_SECRET_ARN"],
            SecretString=content,
        )
    except AWS_ERRORS as exc:  # not allowed, not reachable, or too slow
        raise CancelError("token_unavailable", "the new token cannot be stored") from exc
    return {"success": True, "refreshed": True, "expires_at": expires_at}


def read_credentials(deadline: Deadline) -> dict[str, str]:
    """Return the credentials that the operator has filled in."""
    text = read(credentials_secret, deadline)
    if not text:
        raise NoCredentials("token_unavailable", "the credentials secret is empty: fill it in")
    try:
        credentials: dict[str, str] = json.loads(text)
        _check_credentials(credentials)
    except fastjsonschema.JsonSchemaValueException as exc:
        # Its own message is not used: it quotes values.
        missing = [
            name for name in CREDENTIALS if not (isinstance(credentials, dict) and credentials.get(name))
        ]
        wrong = (
            f"needs {', '.join(missing)}: fill it in" if missing else f"has a wrong {'.'.join(exc.path[1:])}"
        )
        raise CancelError("clopos_access_denied", f"the credentials secret {wrong}") from None
    except ValueError:  # json.loads; its text quotes the secret
        raise CancelError(
            "clopos_access_denied", "the credentials secret is not JSON: fill it in again"
        ) from None
    return credentials


def read(secret: Secret[T], deadline: Deadline) -> T | None:
    """Return the current value of a secret, None if it has none that can be used."""
    try:
        return secret.get(deadline, max_age_s=0)
    except SecretUnreadable as exc:
        raise CancelError("token_unavailable", "a secret cannot be read") from exc
