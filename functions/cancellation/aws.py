"""Calls to AWS that end before the invocation does, and a cache for secrets."""

import math
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cancellation.deadline import Deadline
from cancellation.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

P = ParamSpec("P")
T = TypeVar("T")

# AWS answers in tens of milliseconds. A call is abandoned after this time, which is enough for two attempts.
CALL_S = 5
CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
# Refused (no permission, not found, throttled), not reachable, or too slow.
AWS_ERRORS = (ClientError, BotoCoreError, TimeoutError)

# A new token is stored every 20 minutes and is valid for 60, so a cached one is still valid after five.
CACHE_S = 300
# A secret that cannot be read, or holds nothing usable, is read again this often: somebody may be mending it.
RETRY_S = 10


def call(deadline: Deadline, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call an operation of a client for at most `CALL_S` seconds; raises `AWS_ERRORS`."""
    return deadline.at_most(CALL_S).run(operation, *args, **kwargs)


class SecretUnreadable(Exception):
    """Secrets Manager refuses a secret or cannot be reached, and no cached value is recent enough."""


class Secret(Generic[T]):
    """One version of a secret, cached.

    Ages are measured on the wall clock: the monotonic one may stand still while Lambda freezes the process.

    Parameters
    ----------
    arn : str
        ARN of the secret.
    parse : callable
        Returns the value of the secret's text; None if the text is of no use.
    stage : str
        `AWSCURRENT` or `AWSPREVIOUS`.
    max_stale_s : float
        For how many seconds after it was read a value is used while Secrets Manager cannot be reached.
    """

    def __init__(
        self,
        arn: str,
        parse: Callable[[str], T | None],
        stage: str = "AWSCURRENT",
        max_stale_s: float = math.inf,
    ) -> None:
        self._arn, self._stage = arn, stage
        self._parse = parse
        self._max_stale_s = max_stale_s
        self._reading = threading.Lock()  # so that the threads of a first batch read it only once
        self._value: T | None = None
        self._read_at: float | None = None
        self._failed_at: float | None = None

    @cached_property
    def _client(self) -> "SecretsManagerClient":
        return boto3.client("secretsmanager", config=CONFIG)

    def get(self, deadline: Deadline, max_age_s: float = CACHE_S) -> T | None:
        """Return the value, read at most `max_age_s` seconds ago; None if the secret holds none of use.

        Raises `SecretUnreadable` if it cannot be read and no cached value is recent enough.
        """
        with self._reading:
            if self._value is None:
                max_age_s = min(max_age_s, RETRY_S)
            if not _is_within(max_age_s, self._read_at) and not _is_within(RETRY_S, self._failed_at):
                self._read(deadline)
            if not _is_within(self._max_stale_s, self._read_at):
                raise SecretUnreadable
            return self._value

    def _read(self, deadline: Deadline) -> None:
        try:
            answer = call(
                deadline, self._client.get_secret_value, SecretId=self._arn, VersionStage=self._stage
            )
            text = answer.get("SecretString", "")  # none if it is binary
        except self._client.exceptions.ResourceNotFoundException:  # it has no value yet, or no previous one
            text = ""
        except AWS_ERRORS as exc:  # refused, not reachable, or too slow
            self._failed_at = time.time()
            logger.warning("secret not readable", error=type(exc).__name__, secret=self._arn)
            return
        self._value = self._parse(text.removeprefix("\ufeff").strip())
        self._read_at, self._failed_at = time.time(), None


def _is_within(seconds: float, moment: float | None) -> bool:
    """Whether a moment was less than so many seconds ago; it is in the future if the clock was set back."""
    return moment is not None and 0 <= time.time() - moment < seconds
