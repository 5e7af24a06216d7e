"""The ways to break HTTP, which aiohttp does not allow: bytes go to the connection directly."""

import asyncio
import gzip
import socket
import struct

from aiohttp import web

WIRES = (
    "reset",  # instead of an answer
    "reset_in_body",
    "silence",  # the connection stays open
    "drip",  # single bytes of the body
    "not_http",
    "truncated",  # the connection ends before Content-Length
    "oversized",
    "bomb",  # the same in a few KiB of gzip
    "second_answer",  # after the real one, on the same connection
)
MIB = 2**20
FOREVER_S = 24 * 3600


async def send(
    request: web.Request, wire: str, response: web.Response, second: bytes, interval: float
) -> tuple[web.StreamResponse, bool]:
    """Break HTTP in one of the `WIRES`; `interval` are the seconds between two parts.

    Returns what aiohttp has to send, or has sent already, and whether that is a complete answer.
    """
    content = response.body if isinstance(response.body, bytes) else b""
    transport = request.transport
    if transport is None or wire == "silence":  # None: the client has disconnected
        await asyncio.sleep(FOREVER_S)
    elif wire == "oversized":
        response.body = content + b" " * MIB
    elif wire == "bomb":
        response.body = gzip.compress(content.ljust(8 * MIB))
        response.headers["Content-Encoding"] = "gzip"
    elif wire == "second_answer":
        await response.prepare(request)
        await response.write_eof()
        await asyncio.sleep(interval)
        transport.write(second)
    elif wire == "not_http":
        transport.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        transport.close()
    elif wire == "reset":
        _reset(transport)
    else:
        partial = web.StreamResponse(status=response.status, headers=response.headers)
        partial.content_length = len(content)
        await partial.prepare(request)
        if wire == "drip":
            for number in range(len(content)):
                await partial.write(content[number : number + 1])
                await asyncio.sleep(interval)
            return partial, True
        await partial.write(content[: len(content) // 2])
        await asyncio.sleep(interval if wire == "reset_in_body" else 0)
        _reset(transport) if wire == "reset_in_body" else transport.close()
        return partial, False
    return response, wire in ("oversized", "bomb", "second_answer")


def _reset(transport: asyncio.Transport) -> None:
    at_once = struct.pack("ii", 1, 0)  # linger for 0 s: sends a RST instead of a FIN
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()
