"""One HTTP exchange with Clopos: a request, and its complete answer or none, before a deadline."""

import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from cancellation.deadline import Deadline
from cancellation.rate_limit import RateLimit, read_rate_limit

EXCHANGE_S = 16  # for DNS, all addresses of the host, TLS, headers and body together
ADDRESS_TIMEOUT_S = 2  # to connect to one address; one that can be reached answers much sooner
READ_TIMEOUT_S = 10  # Clopos gives its own upstream 8 s and then answers 504: worth waiting for
MIN_CALL_S = 1  # no call is started with less time left
MAX_BODY_BYTES = 2**20  # compressed and decompressed; Clopos's answers have a few kilobytes
HEADERS = {"Accept": "application/json", "User-Agent": "clopos-cancel/0.1.0"}


@dataclass(frozen=True)
class Exchange:
    """A request, and what came of it."""

    method: str
    host: str
    started_at: float  # Unix seconds
    duration_s: float
    status: int | None = None  # None if no complete answer came
    headers: Mapping[str, str] = field(default_factory=dict)  # ignores case
    body: bytes | None = None  # None if it cannot be decoded or exceeds `MAX_BODY_BYTES`
    failure: str | None = None  # `clopos_timeout` or `clopos_unavailable` if no complete answer came
    was_kept: bool = False  # whether the connection had been used before

    @cached_property
    def rate_limit(self) -> RateLimit:
        """The rate-limit headers."""
        return read_rate_limit(self.status, self.headers)


class _Adapter(HTTPAdapter):
    """Gives all connections one TLS context: requests makes one for each, which takes 14 ms of CPU time."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pool manager; called by the base class."""
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def cert_verify(self, *_: Any) -> None:
        """Do not load the certificates again: the context has them, and verifies with them."""


class Connections(threading.local):
    """Connections to Clopos, one for each thread that makes calls.

    A connection is used again only after a 200 whose whole body was read: after anything else, more bytes of
    that answer may arrive. If the caller doubts even that answer, it calls `disconnect`.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._kept: requests.Session | None = None

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: object, deadline: Deadline
    ) -> Exchange:
        """Send a request with a JSON body (None for no body), and wait for the answer until the deadline.

        The request runs in another thread: requests bounds the time between two bytes and for each
        address, but neither DNS nor the whole. After a timeout, thread and connection are left behind.
        """
        started_at, started = time.time(), time.monotonic()
        was_kept = self._kept is not None
        session, self._kept = self._kept or self._new_session(), None
        answer: dict[str, Any]
        try:
            answer = deadline.at_most(EXCHANGE_S).run(_send, session, method, url, headers, body)
            if answer["status"] == 200 and answer["body"] is not None:
                self._kept = session
            else:
                session.close()
        except (TimeoutError, requests.Timeout, ReadTimeoutError):  # the last is from reading the body
            answer = {"failure": "clopos_timeout"}
        except (requests.RequestException, HTTPError):  # DNS, TLS, a refused or broken connection, not HTTP
            answer = {"failure": "clopos_unavailable"}
        host, duration_s = urlsplit(url).hostname or "", time.monotonic() - started
        return Exchange(method, host, started_at, duration_s, was_kept=was_kept, **answer)

    def disconnect(self) -> None:
        """Close this thread's connection: what came on it may not have been the answer to our request."""
        if self._kept:
            self._kept.close()
            self._kept = None

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no proxy variable or .netrc may redirect a call with our token
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update(HEADERS)
        for prefix in ("https://", "http://"):
            session.mount(prefix, _Adapter(self._context))
        return session


def tls_context() -> ssl.SSLContext:
    """Return TLS settings that trust the authorities of certifi, or those in the file `SSL_CERT_FILE`."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())


def _send(
    session: requests.Session, method: str, url: str, headers: Mapping[str, str], body: object
) -> dict[str, Any]:
    with session.request(
        method,
        url,
        json=body,
        headers=headers,
        timeout=(ADDRESS_TIMEOUT_S, READ_TIMEOUT_S),
        allow_redirects=False,
        stream=True,  # the body is read here, with its limit
    ) as response:
        return {"status": response.status_code, "headers": response.headers, "body": _read(response)}


def _read(response: requests.Response) -> bytes | None:
    try:
        body = response.raw.read(MAX_BODY_BYTES + 1, decode_content=True)
    except DecodeError:  # not encoded as Content-Encoding says
        return None
    return body if max(len(body), response.raw.tell()) <= MAX_BODY_BYTES else None
