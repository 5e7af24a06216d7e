"""The Clopos token: reading it, its expiry, and how a worker gets a newer one."""

import hashlib
import json
import random
import re
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config
from botocore.exceptions import ClientError

from cancellation.aws import AWS_ERRORS, CACHE_S, Secret, SecretUnreadable
from cancellation.clopos import MAX_LIFETIME_S
from cancellation.deadline import Deadline
from cancellation.errors import ERROR_KINDS, CancelError
from cancellation.telemetry import logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

POLL_S = 1.0  # only one refresh runs at a time; while another one is running, the secret is read this often
# A refresh takes up to 15 s, the timeout of its function. The client must not retry by itself: if another
# refresh is running, `renew` requests it again.
REFRESH_CONFIG = Config(
    connect_timeout=1, read_timeout=16, retries={"mode": "standard", "total_max_attempts": 1}
)

UNUSABLE = "the token secret holds no token"

# Characters that a header may have. Any other was pasted by mistake, and `requests` would quote the token in
# its error.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Token(NamedTuple):
    """A token and the Unix second at which it expires; None if that is not known."""

    value: str
    expires_at: float | None

    def seconds_left(self) -> float | None:
        """Return the seconds until it expires; None if that is not known."""
        return None if self.expires_at is None else self.expires_at - time.time()

    def expired(self) -> bool:
        """Whether it must not be used any more."""
        left = self.seconds_left()
        return left is not None and left <= 0


def fingerprint(token: str) -> str:
    """Return a short hash that identifies a token without revealing it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def parse_token(secret: str) -> Token | None:
    """Read the token secret: `{"token": ..., "expires_at": ...}`, or a bare token; None if it holds none."""
    value: Any = secret
    expires_at: Any = None
    if value.startswith(("{", '"', "null")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # half of a JSON text, pasted by hand
            return None
        if isinstance(value, dict):
            value, expires_at = value.get("token"), value.get("expires_at")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value.strip()):
        return None
    is_time = type(expires_at) in (int, float) and expires_at <= time.time() + MAX_LIFETIME_S
    return Token(value.strip(), float(expires_at) if is_time else None)


class Tokens:
    """The token, cached.

    Parameters
    ----------
    secret_arn : str
        ARN of the token secret.
    refresh_function : str
        Name of the function that renews it; empty if another system keeps the secret up to date.
    """

    def __init__(self, secret_arn: str, refresh_function: str) -> None:
        self._secret = Secret(secret_arn, parse_token)
        self._refresh_function = refresh_function
        self._renewing = threading.Lock()

    @cached_property
    def _lambda(self) -> "LambdaClient":
        return boto3.client("lambda", config=REFRESH_CONFIG)

    def get(self, deadline: Deadline) -> Token:
        """Return a token that has not expired; raises `token_unavailable`, or why Clopos gave no new one."""
        token = self._read(deadline)
        return self.renew(token, deadline)[0] if token.expired() else token

    def renew(self, refused: Token, deadline: Deadline) -> tuple[Token, bool]:
        """Return a token other than the one that expired or that Clopos rejected.

        Reads the secret again, and requests a refresh only if it still holds the rejected token. If a refresh
        is already running, waits for that one.

        Returns
        -------
        token : Token
            The token; the rejected one if Clopos still accepts it for other calls.
        is_last : bool
            Whether renewing this one is pointless, as Clopos has just accepted it. One that was only found in
            the secret may have been revoked as well.

        Raises
        ------
        CancelError
            Why there is none.
        """
        if not self._renewing.acquire(timeout=deadline.left()):
            raise _too_late()
        try:
            token = self._read(deadline)  # another thread may have renewed it while this one waited
            while not _is_newer(token, refused):
                token = self._read(deadline, max_age_s=0)
                if _is_newer(token, refused):
                    break
                answer = self._request_refresh(refused, deadline)
                if answer is not None:
                    return self._token_after_refresh(answer, refused, deadline)
                if deadline.left() < 2 * POLL_S:
                    raise _too_late()
                time.sleep(POLL_S * random.uniform(0.5, 1.5))
            return token, False
        finally:
            self._renewing.release()

    def _read(self, deadline: Deadline, max_age_s: float = CACHE_S) -> Token:
        try:
            token = self._secret.get(deadline, max_age_s)
        except SecretUnreadable as exc:
            raise CancelError("token_unavailable", "the token secret cannot be read") from exc
        if token is None:
            raise CancelError("token_unavailable", UNUSABLE)
        return token

    def _request_refresh(self, refused: Token, deadline: Deadline) -> dict[str, Any] | None:
        """Request a refresh and return its answer; None if another refresh is running."""
        if not self._refresh_function:
            raise CancelError("clopos_access_denied", "Clopos rejects our token, and no newer one is stored")
        request = json.dumps({"refused": fingerprint(refused.value)})
        try:
            response = deadline.run(self._lambda.invoke, FunctionName=self._refresh_function, Payload=request)
            answer = json.loads(deadline.run(response["Payload"].read))
        except (*AWS_ERRORS, ValueError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] == "TooManyRequestsException":
                return None
            # Not allowed, not reachable, too slow, or an incomplete answer.
            logger.error("the token refresh could not be requested", error=type(exc).__name__)
            metrics.add_metric("TokenRefreshFailed", MetricUnit.Count, 1)  # the function cannot count this
            raise CancelError("token_unavailable", "the token could not be refreshed") from exc
        if "FunctionError" in response or not isinstance(answer, dict):
            raise CancelError("token_unavailable", "the token refresh failed; its own log has the reason")
        return answer

    def _token_after_refresh(
        self, answer: dict[str, Any], refused: Token, deadline: Deadline
    ) -> tuple[Token, bool]:
        token = self._read(deadline, max_age_s=0)
        if _is_newer(token, refused):  # also after a failure: another worker may have renewed it
            return token, answer.get("refreshed") is True
        if answer.get("success") is not True:
            code = answer.get("error")
            raise CancelError(
                code if code in ERROR_KINDS else "token_unavailable",
                f"no new token: {answer.get('message')}",
                answer.get("upstream"),
                answer.get("retry_after_s"),
            )
        if answer.get("accepted") is True and not refused.expired():
            return refused, True
        raise CancelError("token_unavailable", "the token refresh stored no new token")


def _is_newer(token: Token, refused: Token) -> bool:
    return token.value != refused.value and not token.expired()


def _too_late() -> CancelError:
    return CancelError("token_unavailable", "the running token refresh did not finish in time")
