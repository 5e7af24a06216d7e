"""The Clopos token: reading it, its expiry, and how a worker gets a newer one."""

import hashlib
import json
import random
import re
import threading
import time
from typing import Any, NamedTuple

from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config
from botocore.exceptions import ClientError

from cancellation.aws import AWS_ERRORS, CACHE_S, Secret, SecretUnreadable, client
from cancellation.deadline import Deadline
from cancellation.errors import ERROR_KINDS, OUTAGE_ERRORS, CancelError
from cancellation.telemetry import logger, metrics

# Only one refresh runs at a time. While another one is running, the secret is polled and the refresh
# requested again.
POLL_S = 1.0
MAX_POLL_S = 5.0
# A refresh takes up to 15 s, the timeout of its function. The client must not retry by itself: if another
# refresh is running, `renew` requests it again.
REFRESH_CONFIG = Config(
    connect_timeout=1, read_timeout=16, retries={"mode": "standard", "total_max_attempts": 1}
)

# Errors of `/auth` that may be gone at the next request.
PASSING_ERRORS = OUTAGE_ERRORS | {"rate_limited", "clopos_bad_response"}
TOO_LATE = "the running token refresh did not finish in time"

MAX_TIME = 2**53  # Unix seconds; beyond it floats are not exact

# Characters that a header may have. Any other was pasted by mistake, and `requests` would quote the token in
# its error.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Token(NamedTuple):
    """A token and the Unix second at which it expires; None for one that was pasted by hand."""

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


def is_token(text: str) -> bool:
    """Whether a text can be a token."""
    return bool(_TOKEN.fullmatch(text))


def is_time(value: Any) -> bool:
    """Whether a value can be a Unix second. A number of 400 digits is JSON, but no `float`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_TIME


def parse_token(secret: str) -> Token:
    """Read the token secret: `{"token": ..., "expires_at": ...}`, or a bare token.

    Raises
    ------
    CancelError
        `token_unavailable` if it holds none.
    """
    value: Any = secret.strip()
    expires_at: Any = None
    if value.startswith(("{", '"')):
        try:
            content = json.loads(value)
        except (ValueError, RecursionError):  # half of a JSON text, pasted by hand
            content = None
        if isinstance(content, dict):
            value, expires_at = content.get("token"), content.get("expires_at")
        else:
            value = content
    if not isinstance(value, str) or not is_token(value.strip()):
        raise CancelError("token_unavailable", "the token secret holds no token")
    return Token(value.strip(), float(expires_at) if is_time(expires_at) else None)


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
        self._secret = Secret(secret_arn)
        self._refresh_function = refresh_function
        self._lambda: Any = None
        self._renewing = threading.Lock()
        self._accepted = ""  # the last token that Clopos is known to have accepted

    def get(self, deadline: Deadline) -> Token:
        """Return a token that has not expired.

        Raises
        ------
        CancelError
            `token_unavailable`, or why Clopos gave no new one.
        """
        token = self._read(deadline)
        return self.renew(token, deadline)[0] if token.expired() else token

    def note_accepted(self, token: Token) -> None:
        """Remember that Clopos has accepted a token."""
        self._accepted = token.value

    def renew(self, refused: Token, deadline: Deadline) -> tuple[Token, bool]:
        """Return a token other than the one that expired or that Clopos rejected.

        Reads the secret again, and requests a refresh only if it still holds the rejected token. If a refresh
        is already running, waits for that one.

        Returns
        -------
        token : Token
            The token.
        is_final : bool
            Whether renewing again is pointless: Clopos has just issued this token, or still accepts it for
            other calls. A token that was only found in the secret may have been revoked as well.

        Raises
        ------
        CancelError
            Why there is none.
        """
        if not self._renewing.acquire(timeout=deadline.left()):
            raise CancelError("token_unavailable", TOO_LATE)
        try:
            token = self._read(deadline)
            if _is_newer(token, refused):  # another thread renewed it while this one waited
                return token, False
            problem, ask_at = CancelError("token_unavailable", TOO_LATE), 0.0
            while True:
                token = self._read(deadline, max_age_s=0)
                if _is_newer(token, refused):
                    return token, False
                answer = self._request_refresh(refused, deadline) if time.monotonic() >= ask_at else None
                if answer is not None:
                    try:
                        return self._after_refresh(answer, refused, deadline)
                    except CancelError as exc:
                        wait_s = exc.retry_after_s
                        if exc.code not in PASSING_ERRORS or not wait_s or wait_s + POLL_S > deadline.left():
                            raise
                        problem, ask_at = exc, time.monotonic() + wait_s
                if deadline.left() < 2 * POLL_S:
                    raise problem
                # While no refresh may be requested, only the schedule can store a token, so the secret is
                # polled less often.
                until_asking_s = min(ask_at - time.monotonic(), MAX_POLL_S, deadline.left() - POLL_S)
                time.sleep(max(POLL_S * random.uniform(0.5, 1.5), until_asking_s))
        finally:
            self._renewing.release()

    def _read(self, deadline: Deadline, max_age_s: float = CACHE_S) -> Token:
        try:
            return parse_token(self._secret.get(deadline, max_age_s) or "")
        except SecretUnreadable as exc:
            raise CancelError("token_unavailable", "the token secret cannot be read") from exc

    def _request_refresh(self, refused: Token, deadline: Deadline) -> dict[str, Any] | None:
        """Request a refresh and return its answer; None if another refresh is running.

        Raises
        ------
        CancelError
            If there is no answer.
        """
        if not self._refresh_function:
            raise CancelError("clopos_access_denied", "Clopos rejects our token, and no newer one is stored")
        has_worked = refused.value == self._accepted
        request = json.dumps({"refused": fingerprint(refused.value), "has_worked": has_worked})
        self._lambda = self._lambda or client("lambda", REFRESH_CONFIG)
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

    def _after_refresh(
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
        raise CancelError("clopos_access_denied", "Clopos rejects our token, even a new one")


def _is_newer(token: Token, refused: Token) -> bool:
    return token.value != refused.value and not token.expired()
