"""Clopos's token: where it is kept, how long it is good for, and how a worker gets a newer one."""

import hashlib
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# A refresh stores a token every 20 minutes, good for 60: five minutes of cache cannot outlive it.
CACHE_S = 300
# Secrets Manager answers in tens of milliseconds: three tries fit into six seconds at the worst.
SECRETS_CONFIG = Config(
    connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3}
)
# One refresh runs at a time: a worker that meets another's is turned away with 429 and asks again, after up
# to 1 s, 2 s and 4 s. The read timeout is a little more than the function's own.
REFRESH_CONFIG = Config(
    connect_timeout=1, read_timeout=16, retries={"mode": "standard", "total_max_attempts": 4}
)
REFRESH_BUDGET_S = 8  # what being turned away and one call to /auth take: with less time left nobody asks

# What a header takes. Anything else was pasted by mistake, and `requests` would repeat it in its error.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Token(NamedTuple):
    """A token and the Unix second at which it expires; None for one that was pasted by hand."""

    value: str
    expires_at: float | None

    def seconds_left(self) -> float | None:
        """Return the seconds until it expires; None where that is not known."""
        return None if self.expires_at is None else self.expires_at - time.time()

    def expired(self) -> bool:
        """Whether it must not be used any more."""
        left = self.seconds_left()
        return left is not None and left <= 0


def fingerprint(token: str) -> str:
    """Return what names a token in a request for a new one, and does not give it away."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def parse_token(secret: str) -> Token:
    """Read the token secret: `{"token": ..., "expires_at": ...}`, or a bare token.

    Raises
    ------
    CancelError
        `token_unavailable`, where it holds none.
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
    if not isinstance(value, str) or not _TOKEN.fullmatch(value.strip()):
        raise CancelError("token_unavailable", "the token secret holds no token")
    return Token(value.strip(), float(expires_at) if isinstance(expires_at, int | float) else None)


class Tokens:
    """The token as this process knows it.

    Parameters
    ----------
    secret_arn : str
        ARN of the token secret.
    refresh_function : str
        Name of the function that renews it; empty where somebody else does.
    """

    def __init__(self, secret_arn: str, refresh_function: str) -> None:
        self._secret_arn = secret_arn
        self._refresh_function = refresh_function
        self._secrets = SecretsProvider(boto_config=SECRETS_CONFIG)
        self._lambda: LambdaClient | None = None
        self._renewing = threading.Lock()
        self._reading = threading.Lock()  # the threads of a first batch read it once, not once each

    def get(self, deadline: Deadline) -> Token:
        """Return a token that has not expired.

        Raises
        ------
        CancelError
            `token_unavailable`, or why Clopos gave no new one.
        """
        token = self._read()
        return self.renew(token, deadline)[0] if token.expired() else token

    def renew(self, refused: Token, deadline: Deadline) -> tuple[Token, bool]:
        """Return a token other than the one that expired or that Clopos refused.

        Looks into the secret again, and only if that still holds the refused one asks for a refresh.

        Returns
        -------
        token : Token
            The token.
        fresh : bool
            Whether Clopos has just issued it. One that was found in the secret may have been revoked as well.

        Raises
        ------
        CancelError
            Why there is none.
        """
        with self._renewing:
            # First without asking: another thread may have been here while this one waited.
            for force_fetch in (False, True):
                token = self._read(force_fetch=force_fetch)
                if _newer(token, refused):
                    return token, False
            problem = self._refresh(refused, deadline)
            # Also after a problem: another worker may have been quicker.
            token = self._read(force_fetch=True)
            if _newer(token, refused):
                return token, True
            raise problem

    def _read(self, *, force_fetch: bool = False) -> Token:
        try:
            with self._reading:
                secret = self._secrets.get(self._secret_arn, max_age=CACHE_S, force_fetch=force_fetch)
        except GetParameterError as exc:
            # Missing, without a value, without permission, or Secrets Manager is out of reach.
            raise CancelError("token_unavailable", "the token secret cannot be read") from exc
        return parse_token(secret if isinstance(secret, str) else "")

    def _refresh(self, refused: Token, deadline: Deadline) -> CancelError:
        """Have the token refreshed, and return what to say if there is no newer one all the same."""
        if not self._refresh_function:
            return CancelError(
                "clopos_access_denied", "our token has expired, and nobody has stored a newer one"
            )
        if deadline.left() < REFRESH_BUDGET_S:
            return CancelError("token_unavailable", "no time was left to refresh the token")
        request = {"refused": fingerprint(refused.value), "until": time.time() + deadline.left()}
        self._lambda = self._lambda or boto3.client("lambda", config=REFRESH_CONFIG)
        try:
            response = self._lambda.invoke(FunctionName=self._refresh_function, Payload=json.dumps(request))
            answer = json.loads(response["Payload"].read())
        except (ClientError, BotoCoreError, ValueError) as exc:
            # Turned away until the tries ended, not allowed, out of reach, or an answer cut short.
            logger.warning("the token refresh could not be asked for", error=type(exc).__name__)
            return CancelError("token_unavailable", "the token could not be refreshed")
        if "FunctionError" in response:
            return CancelError("token_unavailable", "the token refresh failed; its own log says why")
        if not answer["success"]:
            return CancelError(answer["error"], f"no new token: {answer['message']}", answer["upstream"])
        return CancelError("clopos_access_denied", "Clopos refuses our token, a new one included")


def _newer(token: Token, refused: Token) -> bool:
    return token.value != refused.value and not token.expired()
