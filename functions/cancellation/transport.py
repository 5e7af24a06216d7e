"""A `requests` session whose calls never outlive their deadline.

`requests` leaves three holes, closed here with urllib3's own extension points: a read timeout starts again
with every byte, an answer whose body breaks off is not retried, and retries know no overall limit.
"""

import io
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPResponse as RawResponse
from socket import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import InvalidHeader, MaxRetryError, ResponseError
from urllib3.util import Retry, Timeout

from cancellation.deadline import Deadline

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10  # Clopos gives its own upstream 8 s and then answers 504: worth waiting for
MIN_CALL_S = 1  # a call that has less time than this is not begun


class CallTimeout(Timeout):
    """The timeouts of one call, shortened at each attempt to what its deadline leaves."""

    def __init__(self, deadline: Deadline) -> None:
        left = max(deadline.left(), 0.001)  # urllib3 refuses 0
        super().__init__(connect=min(CONNECT_TIMEOUT_S, left), read=min(READ_TIMEOUT_S, left))
        self._deadline = deadline

    def clone(self) -> Timeout:
        """Return the timeouts of the next attempt: urllib3 asks for a clone at each."""
        return CallTimeout(self._deadline)


class GaveUp(MaxRetryError):
    """urllib3's error after the last attempt, which also says how many `attempts` there were."""

    def __init__(self, cause: MaxRetryError, attempts: int) -> None:
        super().__init__(cause.pool, cause.url or "", cause.reason)
        self.attempts = attempts


class CallRetry(Retry):
    """urllib3's `Retry`, which also gives up when another attempt would not fit before the deadline."""

    deadline = Deadline(math.inf)

    def until(self, deadline: Deadline) -> "CallRetry":
        """Return a copy that stops in time for `deadline`."""
        copy = super().new()
        copy.deadline = deadline
        return copy

    def new(self, **kw: Any) -> "CallRetry":
        """Return a copy with `kw` changed, for the next attempt."""
        copy = super().new(**kw)
        copy.deadline = self.deadline
        return copy

    def get_retry_after(self, response: Any) -> float | None:
        """Return the seconds that an answer asks to wait: urllib3 knows `Retry-After` alone."""
        return retry_after_s(response.status, response.headers)

    def increment(self, *args: Any, **kw: Any) -> "CallRetry":
        """Count a failed attempt.

        Raises
        ------
        GaveUp
            When no attempt is left, or no time for one.
        """
        try:
            following = super().increment(*args, **kw)
        except MaxRetryError as exc:  # no attempt is left
            raise GaveUp(exc, attempts=len(self.history) + 1) from exc.reason
        response = kw.get("response")
        wait = (self.get_retry_after(response) if response else None) or following.get_backoff_time()
        if wait + MIN_CALL_S > self.deadline.left():
            reason = kw.get("error") or ResponseError("no time left for another attempt")
            raise GaveUp(MaxRetryError(kw["_pool"], "", reason), attempts=len(following.history)) from reason
        return following


def retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, None where it does not say.

    Clopos sends `RateLimit-Reset` with every answer; only beside a 429 is it a time to wait.
    """
    waits = []
    if "Retry-After" in headers:
        with suppress(InvalidHeader):  # neither seconds nor a date: as good as left out
            waits.append(Retry(retry_after_max=10**9).parse_retry_after(headers["Retry-After"]))
    if status == 429:
        with suppress(ValueError):  # left out, or not a number
            waits.append(float(headers.get("RateLimit-Reset", "")))
    return max((wait for wait in waits if 0 <= wait < math.inf), default=None)


class _ReadUntil(io.RawIOBase):
    """A socket's input where one timeout covers all reads together, however slowly bytes drip in."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        self._raw = raw
        self._sock = sock
        self._until = time.monotonic() + (sock.gettimeout() or READ_TIMEOUT_S)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took longer than the read timeout")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(RawResponse):
    def __init__(self, sock: socket, *args: Any, **kw: Any) -> None:
        super().__init__(sock, *args, **kw)
        self.fp = io.BufferedReader(_ReadUntil(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    """A connection that reads an answer's body at once, inside urllib3's retries."""

    response_class = _Answer

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own is of this type
        answer = super().getresponse()
        body = answer.read(decode_content=False)
        return HTTPResponse(
            io.BytesIO(body),
            headers=answer.headers,
            status=answer.status,
            reason=answer.reason,
            preload_content=False,
            original_response=answer._original_response,
        )


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class CallAdapter(HTTPAdapter):
    """The transport adapter that puts the classes above to work."""

    def init_poolmanager(self, *args: Any, **kw: Any) -> None:
        """Make the pool manager; `requests` calls this once."""
        super().init_poolmanager(*args, **kw)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
