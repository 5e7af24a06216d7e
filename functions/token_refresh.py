"""The token refresh: fetch a new token from Clopos and store it, on a schedule, on request, or by hand."""

import json
import math
import os
import time
from typing import Any

import fastjsonschema
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.aws import AWS_ERRORS, Secret, SecretUnreadable, call, client
from cancellation.clopos import CREDENTIALS, Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import fingerprint, is_time, is_token, parse_token

MARGIN_S = 2  # for storing the token and writing the log
# After a failure, requests get the same error for a while. So a failing /auth is called at most
# `MAX_ATTEMPTS` times in `MIN_ERROR_CACHE_S` seconds.
MAX_ATTEMPTS = 2
MIN_ERROR_CACHE_S = 10
MAX_ERROR_CACHE_S = 900  # even if Clopos asks for more; the schedule does not wait anyway
# Secrets Manager keeps about a hundred versions of a secret and removes none that is less than a day old. The
# schedule alone creates 72 a day, one every 20 minutes: workers whose token is rejected must not add many.
MIN_INTERVAL_S = 20 * 60

_TEXT = {"type": "string", "minLength": 1}
_check_credentials = fastjsonschema.compile(
    {
        "type": "object",
        "properties": dict.fromkeys(CREDENTIALS, _TEXT),
        "required": list(CREDENTIALS),
    }
)

clopos = Clopos(os.environ["CLOPOS_BASE_URL"], max_attempts=MAX_ATTEMPTS)
token_secret = Secret(os.environ["TOKEN_SECRET_ARN"])
credentials_secret = Secret(os.environ["CREDENTIALS_SECRET_ARN"])
secretsmanager = client("secretsmanager")


class NoCredentials(CancelError):
    """The operator has not filled in the credentials yet."""


class Recent:
    """The last refresh; the next ones need it. With a concurrency of 1, one environment runs them all."""

    error: CancelError | None = None  # why the last refresh failed
    error_until = -math.inf  # Unix seconds
    credentials: dict[str, str] | None = None  # that it failed with
    stored_at = -math.inf  # Unix seconds

    def remember_error(self, error: CancelError) -> None:
        """Return this error to workers for as long as Clopos asked, and for a few seconds at least."""
        error.retry_after_s = min(max(MIN_ERROR_CACHE_S, error.retry_after_s or 0), MAX_ERROR_CACHE_S)
        self.error, self.error_until = error, time.time() + error.retry_after_s


recent = Recent()


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Store a new token.

    Parameters
    ----------
    event : dict
        A worker sends `refused`, the fingerprint of the token that Clopos rejected, and `has_worked`, whether
        Clopos accepted that token before. Any other event, such as the schedule's, always fetches a new
        token.

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
        has_worked = event.get("has_worked") is True
        answer = refresh_for_worker(refused, has_worked, deadline) if refused else refresh(deadline)
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
        metrics.add_metric("TokenSecondsLeft", MetricUnit.Seconds, answer["expires_at"] - time.time())
        logger.info("token refreshed", expires_at=answer["expires_at"])
    return answer


def refresh_for_worker(refused: str, has_worked: bool, deadline: Deadline) -> dict[str, Any]:
    """Store a new token, if one is needed, for a worker whose token was rejected.

    A token that Clopos keeps rejecting must not create a new secret version each time. So a token that was
    stored recently and has never worked is only replaced if Clopos rejects it for another call too, and
    accepts the new one.
    """
    value = read(token_secret, deadline)
    try:
        stored = parse_token(value)
    except CancelError:  # no token is stored, so a new one is needed
        return refresh(deadline)
    if fingerprint(stored.value) != refused and not stored.expired():
        return {"success": True, "refreshed": False}  # replaced since, at another worker's request
    if recent.error and time.time() < recent.error_until and recent.credentials == read_credentials(deadline):
        recent.error.retry_after_s = recent.error_until - time.time()
        raise recent.error
    test_first = not has_worked and time.time() - recent.stored_at < MIN_INTERVAL_S
    if test_first and not stored.expired() and clopos.accepts(stored.value, deadline):
        return {"success": True, "refreshed": False, "accepted": True}
    return refresh(deadline, only_if_accepted=test_first)


def refresh(deadline: Deadline, *, only_if_accepted: bool = False) -> dict[str, Any]:
    """Fetch a new token and store it; with `only_if_accepted`, test it with a call to Clopos first."""
    credentials = read_credentials(deadline)
    try:
        token, expires_at = clopos.authenticate(credentials, deadline)
        if not (is_token(token) and is_time(expires_at)):  # stored, it would replace one that works
            raise CancelError("clopos_bad_response", "Clopos sent a token that cannot be used")
        if only_if_accepted and not clopos.accepts(token, deadline):
            raise CancelError("clopos_access_denied", "Clopos rejects even a new token")
    except CancelError as exc:
        recent.remember_error(exc)
        recent.credentials = credentials
        raise
    recent.error = None
    try:
        call(
            secretsmanager.put_secret_value,
            deadline,
            SecretId=os.environ["TOKEN_SECRET_ARN"],
            SecretString=json.dumps({"token": token, "expires_at": expires_at}),
        )
    except AWS_ERRORS as exc:  # not allowed, not reachable, or too slow
        raise CancelError("token_unavailable", "the new token cannot be stored") from exc
    recent.stored_at = time.time()
    return {"success": True, "refreshed": True, "expires_at": expires_at}


def read_credentials(deadline: Deadline) -> dict[str, str]:
    """Return the credentials that the operator has filled in."""
    text = read(credentials_secret, deadline)
    if not text.strip():
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


def read(secret: Secret, deadline: Deadline) -> str:
    """Return the current value of a secret, empty if it has none."""
    try:
        return secret.get(deadline, max_age_s=0) or ""
    except SecretUnreadable as exc:
        raise CancelError("token_unavailable", "a secret cannot be read") from exc
