"""Calls to AWS that end before the invocation does, and a cache for secrets."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cancellation.deadline import Deadline
from cancellation.telemetry import logger

# AWS answers in tens of milliseconds. A call is abandoned after this time, which is enough for two attempts.
CALL_S = 5
CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
# Refused (no permission, not found, throttled), not reachable, or too slow.
AWS_ERRORS = (ClientError, BotoCoreError, TimeoutError)

# A new token is stored every 20 minutes and is valid for 60, so a cached one is still valid after five.
CACHE_S = 300
# While Secrets Manager fails, the cached value is used, and reading it is tried again this often.
RETRY_S = 10


def client(service: str, config: Config = CONFIG) -> Any:
    """Return a boto3 client of a service."""
    return boto3.client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal


def call(operation: Callable[..., Any], deadline: Deadline, **parameters: Any) -> Any:
    """Call an operation of a client, for at most `CALL_S` seconds and not beyond the deadline.

    Raises
    ------
    ClientError, BotoCoreError, TimeoutError
        `AWS_ERRORS`.
    """
    return deadline.at_most(CALL_S).run(operation, **parameters)


class SecretUnreadable(Exception):
    """Secrets Manager refuses a secret or cannot be reached, and no cached value is recent enough."""


class Secret:
    """One version of a secret, cached.

    Ages are measured on the wall clock: the monotonic one may stand still while Lambda freezes the process.

    Parameters
    ----------
    arn : str
        ARN of the secret.
    stage : str
        `AWSCURRENT` or `AWSPREVIOUS`.
    max_stale_s : float
        For how many seconds after it was read a value is used while Secrets Manager cannot be reached.
    """

    def __init__(self, arn: str, stage: str = "AWSCURRENT", max_stale_s: float = math.inf) -> None:
        self._parameters = {"SecretId": arn, "VersionStage": stage}
        self._max_stale_s = max_stale_s
        self._client: Any = None
        self._reading = threading.Lock()  # so that the threads of a first batch read it only once
        self._value: str | None = None
        self._read_at = self._failed_at = -math.inf

    def get(self, deadline: Deadline, max_age_s: float = CACHE_S) -> str | None:
        """Return the value, read at most `max_age_s` seconds ago; None if there is none.

        Raises
        ------
        SecretUnreadable
            If it cannot be read and no cached value is recent enough.
        """
        with self._reading:
            now = time.time()
            if not 0 <= now - self._read_at < max_age_s and not 0 <= now - self._failed_at < RETRY_S:
                self._read(deadline)
            if not 0 <= time.time() - self._read_at <= self._max_stale_s:
                raise SecretUnreadable
            return self._value

    def _read(self, deadline: Deadline) -> None:
        try:
            self._client = self._client or client("secretsmanager")
            answer = call(self._client.get_secret_value, deadline, **self._parameters)
        except AWS_ERRORS as exc:  # refused, not reachable, or too slow
            if not isinstance(exc, self._client.exceptions.ResourceNotFoundException):
                self._failed_at = time.time()
                logger.warning(
                    "secret not readable", error=type(exc).__name__, secret=self._parameters["SecretId"]
                )
                return
            answer = {}  # it has no value yet, or no previous one
        self._value = answer.get("SecretString")  # None if it is binary
        self._read_at, self._failed_at = time.time(), -math.inf
