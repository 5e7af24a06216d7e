"""The ways to break HTTP: the bytes that are sent, and how the connection ends."""

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from local.simulator.answers import Answer

MIB = 2**20


class Delivery(NamedTuple):
    """What is written, in parts; what happens to the connection then; whether that is a complete answer."""

    parts: list[bytes]
    ending: Literal["keep", "close", "reset"]
    is_whole: bool


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


# From the head and the content of an answer, and a second answer.
WIRES: dict[str, Callable[[bytes, bytes, bytes], Delivery]] = {
    "reset": lambda head, content, _: Delivery([], "reset", False),
    "reset_in_body": lambda head, content, _: Delivery([head + _half(content), b""], "reset", False),
    "silence": lambda head, content, _: Delivery([], "keep", False),
    "drip": lambda head, content, _: Delivery([head, *(bytes([byte]) for byte in content)], "close", True),
    "not_http": lambda head, content, _: Delivery([b"SSH-2.0-OpenSSH_9.9\r\n"], "close", False),
    "truncated": lambda head, content, _: Delivery([head + _half(content)], "close", False),
    "second_answer": lambda head, content, second: Delivery([head + content, second], "keep", True),
}
# Bodies that are too large, otherwise sound: a content coding, and the content.
BODIES: dict[str, Callable[[bytes], tuple[dict[str, str], bytes]]] = {
    "oversized": lambda content: ({}, content + b" " * MIB),
    "bomb": lambda content: ({"Content-Encoding": "gzip"}, gzip.compress(content.ljust(8 * MIB))),
}


def whole(answer: Answer) -> bytes:
    """Return an answer as it is written."""
    return _head(answer) + answer.content()


def _head(answer: Answer) -> bytes:
    reason = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "Unknown"
    headers = answer.all_headers() | {"Content-Length": str(len(answer.content()))}
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


async def write(transport: Any, wire: str, answer: Answer, second: bytes, interval: float) -> bool:
    """Write to a connection directly: aiohttp does not allow a server to break HTTP.

    `transport` is None if the client has disconnected, `wire` is a key of `WIRES`, `second` is what nobody
    asked for, and `interval` are the seconds between two parts; with 0 they are sent together. Returns
    whether the complete answer was written.
    """
    delivery = WIRES[wire](_head(answer), answer.content(), second)
    parts = delivery.parts if interval else [b"".join(delivery.parts)]
    for number, part in enumerate(parts):
        if number:
            await asyncio.sleep(interval)
        if transport is None or transport.is_closing():  # the client has disconnected
            return False
        transport.write(part)
    if transport is not None and delivery.ending == "close":
        transport.close()
    elif transport is not None and delivery.ending == "reset":
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
