"""Refuse requests that a browser sends on behalf of another site.

The emulator runs any code that it is given, and neither the emulator nor the simulator nor the page has a
password. A browser on this machine can reach them, so without this guard any web page could use them.

This module only imports the standard library: the Python of the emulator has no other packages of this
project.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# `Sec-Fetch-Site` of requests that another site has not caused. `none`: the user typed the address.
OWN_SITE = ("same-origin", "none")


def refusal(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return why a request with these headers, repeated ones included, must be refused; None if it may pass.

    Requests of the AWS SDKs, of curl and of other programs pass: they name a loopback host, and only browsers
    send the other headers.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value.strip().lower())
    hosts = values.get("host", [])
    if not all(map(_is_loopback, hosts)):
        return "Host is not an address of this machine, such as 127.0.0.1 or localhost"
    if "access-control-request-method" in values:
        return "CORS preflight requests are not answered"
    for origin in values.get("origin", []):
        if not hosts or origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
            return "Origin is another site"
    if any(site not in OWN_SITE for site in values.get("sec-fetch-site", [])):
        return "Sec-Fetch-Site says that another site caused this request"
    return None


def _is_loopback(host: str) -> bool:
    try:
        url = urlsplit(f"//{host}")
        if url.netloc != host or url.username is not None or url.port == 0:
            return False
        return url.hostname == "localhost" or ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:  # not a host or a port, or a name: DNS may have moved it here from another address
        return False


def guarded(app: App) -> App:
    """Return an ASGI application that refuses such requests, and passes all others to `app`.

    CORS headers are removed from the responses of `app`, so that no other site can read them. WebSockets,
    which nothing here needs, are refused.
    """

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        async def send_without_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if not bytes(name).lower().startswith(b"access-control-")
                ]
            await send(message)

        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (reason := refusal(_decoded(scope["headers"]))):
            media_type = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": 403, "headers": [media_type]})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
        else:
            await app(scope, receive, send_without_cors)

    return guard


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def aiohttp_middleware() -> Any:
    """Return the guard as a middleware of aiohttp."""
    from aiohttp import web  # not installed in the emulator's environment

    @web.middleware
    async def guard(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        if reason := refusal(request.headers.items()):
            return web.Response(status=403, text=f"{reason}\n")
        return await handler(request)

    return guard
