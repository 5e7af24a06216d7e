"""How an answer is delivered: the bytes, the parts in which they are sent, and how the connection ends."""

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Literal

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


@dataclasses.dataclass(frozen=True)
class Message:
    """An answer as bytes, without the headers that determine where its body ends.

    `surplus` is what some deliveries write after the end of the answer.
    """

    status: int
    headers: dict[str, str]
    content: bytes
    surplus: bytes = b""

    def head(self, *framing: str, close: bool = False) -> bytes:
        """Return the status line and the headers, with those of the framing (``Name: value``) at the end."""
        reason = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "Unknown"
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [*framing, *(["Connection: close"] if close else [])]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

    def sized_head(self, close: bool = False) -> bytes:
        """Return the head with a Content-Length, unless the status allows no body."""
        has_body = self.status not in (204, 304)
        return self.head(*([f"Content-Length: {len(self.content)}"] if has_body else []), close=close)


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What is written: its parts, what happens to the connection, and whether the answer is complete."""

    parts: Sequence[bytes]
    ending: Literal["keep", "close", "reset"] = "keep"
    is_whole: bool = True


def _whole(message: Message) -> Delivery:
    return Delivery([message.sized_head() + message.content])


def _surplus(message: Message) -> Delivery:
    return Delivery([message.sized_head() + message.content, message.surplus])


def _silence(message: Message) -> Delivery:
    return Delivery([], is_whole=False)


def _stalled(message: Message) -> Delivery:
    return Delivery([message.sized_head() + _half(message.content)], is_whole=False)


def _truncated(message: Message) -> Delivery:
    return Delivery([message.sized_head(close=True) + _half(message.content)], "close", is_whole=False)


def _close(message: Message) -> Delivery:
    return Delivery([], "close", is_whole=False)


def _reset(message: Message) -> Delivery:
    return Delivery([], "reset", is_whole=False)


def _until_close(message: Message) -> Delivery:
    return Delivery([message.head(close=True) + message.content], "close")


def _drip(message: Message) -> Delivery:
    return Delivery([message.sized_head(close=True), *_single_bytes(message.content)], "close")


def _drip_headers(message: Message) -> Delivery:
    return Delivery(_single_bytes(message.sized_head(close=True) + message.content), "close")


def _two_lengths(message: Message) -> Delivery:
    lengths = (f"Content-Length: {len(message.content)}", f"Content-Length: {len(message.content) // 2}")
    return Delivery([message.head(*lengths) + message.content])


def _not_http(message: Message) -> Delivery:
    return Delivery([b"SSH-2.0-OpenSSH_9.9\r\n"], "close", is_whole=False)


CHUNKED = "Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def _chunked(message: Message) -> Delivery:
    return Delivery([message.head(CHUNKED), *_chunks(message.content), LAST_CHUNK])


def _chunked_trailers(message: Message) -> Delivery:
    trailers = b"0\r\nX-Checksum: f00d\r\n\r\n"
    return Delivery([message.head(CHUNKED, "Trailer: X-Checksum"), *_chunks(message.content), trailers])


def _chunked_surplus(message: Message) -> Delivery:
    return Delivery([message.head(CHUNKED), *_chunks(message.content), LAST_CHUNK, message.surplus])


def _chunked_and_length(message: Message) -> Delivery:
    length = f"Content-Length: {len(message.content) // 2}"
    return Delivery([message.head(CHUNKED, length), *_chunks(message.content), LAST_CHUNK])


def _chunked_bad_size(message: Message) -> Delivery:
    first, *_ = _chunks(message.content)
    return Delivery([message.head(CHUNKED), first, b"many\r\n" + message.content], "close", is_whole=False)


def _chunked_unfinished(message: Message) -> Delivery:
    return Delivery([message.head(CHUNKED), *_chunks(message.content)], "close", is_whole=False)


def _chunked_cut(message: Message) -> Delivery:
    size = b"%x\r\n" % (2 * len(message.content))
    return Delivery([message.head(CHUNKED), size + message.content], "close", is_whole=False)


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _single_bytes(content: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in content]


def _chunks(content: bytes, size: int = 64) -> list[bytes]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]


DELIVERIES: dict[str, Callable[[Message], Delivery]] = {
    "whole": _whole,
    "until_close": _until_close,  # no length: the body ends with the connection
    "reset": _reset,
    "close": _close,
    "silence": _silence,  # the connection stays open, and nothing is sent
    "truncated": _truncated,
    "stalled": _stalled,  # half the body, and the connection stays open
    "drip": _drip,
    "drip_headers": _drip_headers,
    "surplus": _surplus,  # more bytes after the end of the answer
    "two_lengths": _two_lengths,
    "not_http": _not_http,
    "chunked": _chunked,
    "chunked_trailers": _chunked_trailers,
    "chunked_surplus": _chunked_surplus,
    "chunked_and_length": _chunked_and_length,
    "chunked_bad_size": _chunked_bad_size,
    "chunked_unfinished": _chunked_unfinished,  # every chunk but the last, empty one
    "chunked_cut": _chunked_cut,  # a chunk shorter than its size
}


def interim(status: int) -> bytes:
    """Return an interim (1xx) answer."""
    link = {"Link": "</style.css>; rel=preload"} if status == HTTPStatus.EARLY_HINTS else {}
    return Message(status, link, b"").head()


async def write(transport: Any, delivery: Delivery, interval: float) -> bool:
    """Write to a connection directly: aiohttp does not allow a server to break HTTP.

    Parameters
    ----------
    transport
        The connection's transport; None if the client has disconnected.
    delivery
        What to write.
    interval
        Seconds between two parts; with 0 they are sent together.

    Returns
    -------
    bool
        Whether the complete answer was written.
    """
    if transport is None:
        return False
    parts = delivery.parts if interval else [b"".join(delivery.parts)]
    for number, part in enumerate(parts):
        if number:
            await asyncio.sleep(interval)
        if transport.is_closing():  # the client has disconnected
            return False
        transport.write(part)
    if delivery.ending == "close":
        transport.close()
    elif delivery.ending == "reset":
        at_once = struct.pack("ii", 1, 0)  # linger for 0 s: sends a RST instead of a FIN
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        transport.abort()
    return delivery.is_whole


class AlreadyWritten(web.Response):
    """What a handler returns after `write`, so that aiohttp writes nothing more."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""

    @property
    def keep_alive(self) -> bool | None:
        """True: if the connection is to be closed, `write` has already closed it."""
        return True
