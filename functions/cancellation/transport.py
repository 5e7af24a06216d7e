"""One HTTP exchange with Clopos: a complete answer, headers and body, before a deadline.

Neither requests nor urllib3 can do that. Their read timeout starts again with every byte; their connect
timeout starts again with every address, and does not include the DNS lookup; and `http.client` takes an
interim answer (1xx) for the final one.
"""

import io
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, DecodeError, HTTPError, ReadTimeoutError
from urllib3.util import Timeout

from cancellation.deadline import Deadline
from cancellation.rate_limit import RateLimit, read_rate_limit

ADDRESS_TIMEOUT_S = 2  # for each address of the host; one that can be reached answers much sooner
CONNECT_TIMEOUT_S = 6  # for DNS, all addresses and TLS together
READ_TIMEOUT_S = 10  # Clopos gives its own upstream 8 s and then answers 504: worth waiting for
MIN_CALL_S = 1  # no call is started with less time left
MAX_BODY_BYTES = 2**20  # compressed and decompressed; Clopos's answers have a few kilobytes
MAX_INTERIM_ANSWERS = 10  # 103 Early Hints and the like before the final answer


@dataclass(frozen=True)
class Answer:
    """The result of one request.

    Attributes
    ----------
    method, host : str
        Of the request.
    status : int or None
        HTTP status; None if no complete answer came.
    headers : mapping
        The headers; the mapping ignores case.
    body : bytes or None
        The body; None if it cannot be decoded or exceeds `MAX_BODY_BYTES`.
    failure : str or None
        `clopos_timeout` or `clopos_unavailable` if no complete answer came; else None.
    started_at : float
        Unix seconds.
    duration_s : float
        Seconds.
    """

    method: str
    host: str
    status: int | None
    headers: Mapping[str, str]
    body: bytes | None
    failure: str | None
    started_at: float
    duration_s: float

    @cached_property
    def rate_limit(self) -> RateLimit:
        """The rate-limit headers."""
        return read_rate_limit(self.status, self.headers)


class _OfThread(threading.local):
    """The session of each thread: `__init__` runs again in every thread that uses this object."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy variable or .netrc may redirect a call with our token
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for prefix in ("https://", "http://"):
            self.session.mount(prefix, _Adapter(pool_connections=1, pool_maxsize=1))


class Transport:
    """Sends requests, each with a deadline. Each thread has its own `requests` session and connection."""

    def __init__(self) -> None:
        self._of_thread = _OfThread()

    def disconnect(self) -> None:
        """Close this thread's connection, if the next answer on it may belong to an earlier request."""
        self._of_thread.session.close()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: object, deadline: Deadline
    ) -> Answer:
        """Send a request with a JSON body (None for no body) and return its result."""
        started_at, started = time.time(), time.monotonic()
        status: int | None = None
        content: bytes | None = None
        failure: str | None = None
        answer_headers: Mapping[str, str] = {}
        timeout = Timeout(total=max(deadline.left(), 0.001), connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        try:
            with self._of_thread.session.request(
                method,
                url,
                json=body,
                headers=headers,
                timeout=timeout,  # type: ignore[arg-type]  # requests takes urllib3's Timeout too
                allow_redirects=False,
                stream=True,  # the body is read here, with its limit
            ) as response:
                status, answer_headers = response.status_code, response.headers
                content = _read(response)
        except (requests.Timeout, ReadTimeoutError):  # from urllib3 while the body is read
            status, failure = None, "clopos_timeout"
        except (requests.RequestException, HTTPError):
            # All network errors: DNS, TLS, a refused or broken connection.
            status, failure = None, "clopos_unavailable"
        host = urlsplit(url).hostname or ""
        duration_s = time.monotonic() - started
        return Answer(method, host, status, answer_headers, content, failure, started_at, duration_s)


def _read(response: requests.Response) -> bytes | None:
    try:
        body = response.raw.read(MAX_BODY_BYTES + 1, decode_content=True)
    except DecodeError:  # not encoded as Content-Encoding says
        return None
    return body if max(len(body), response.raw.tell()) <= MAX_BODY_BYTES else None


class _TimedInput(io.RawIOBase):
    """The input of a socket. A single timeout covers all reads, even if the bytes arrive one at a time."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        self._raw = raw
        self._sock = sock
        self._until = time.monotonic() + (sock.gettimeout() or READ_TIMEOUT_S)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ended:
            return 0
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took longer than the read timeout")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()

    def disconnect(self) -> None:
        """Shut the connection down, so that it is not used again."""
        with suppress(OSError):  # already closed
            self._sock.shutdown(SHUT_RDWR)


# A header, the continuation of one, the end of the head, or the end of the input (RFC 9112).
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:|[ \t]|\r?\n|\Z")


class _BufferedInput(io.BufferedReader):
    """Shuts the connection down if bytes follow the answer: the next request must not read them."""

    raw: _TimedInput
    in_head = True
    _after_status_line = False

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line; in a head, skip lines that are no header, after which `http.client` reads no other."""
        line = super().readline(size)
        if self.in_head and self._after_status_line:
            while not _HEADER_LINE.match(line):
                line = super().readline(size)
        self._after_status_line = line not in (
            b"\r\n",
            b"\n",
        )  # after an interim answer, another head follows
        return line

    def close(self) -> None:
        if not self.closed:
            self.raw.ended = True
            if self.peek(1):
                self.raw.disconnect()
        super().close()


class _FinalResponse(HTTPResponse):
    """An answer that is read within one timeout, after skipping interim answers."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _BufferedInput(_TimedInput(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read the head of the final answer."""
        super().begin()
        interim = 0
        while 100 <= self.status < 200 and self.status != 101 and interim < MAX_INTERIM_ANSWERS:
            interim += 1
            self.headers = self.msg = None  # type: ignore[assignment]  # makes `begin` read another head
            super().begin()
        if isinstance(self.fp, _BufferedInput):
            self.fp.in_head = False
        if interim or not 200 <= self.status < 300 or self.status == 204:
            # After anything but an ordinary success, more bytes of this answer may still arrive.
            self.will_close = True


class _Connection(HTTPConnection):
    """A connection with one timeout for DNS, all addresses and TLS together."""

    response_class = _FinalResponse

    def connect(self) -> None:
        """Connect within the timeout; each address of the host gets at most `ADDRESS_TIMEOUT_S`."""
        deadline = Deadline.after(float(self.timeout or CONNECT_TIMEOUT_S))
        self.timeout = min(ADDRESS_TIMEOUT_S, deadline.left())
        abandoned = False

        def connect() -> None:
            super(_Connection, self).connect()
            if abandoned:
                self.close()

        try:
            deadline.run(connect)
        except TimeoutError as exc:
            abandoned = True
            raise ConnectTimeoutError(self, "no connection within the timeout") from exc

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: it is open, and no unexpected bytes have arrived."""
        pending = getattr(self.sock, "pending", None)  # TLS may hold bytes that the socket does not show
        return super().is_connected and not (pending and pending())


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """The `requests` adapter that uses the classes above."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pool manager; called by the base class."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
