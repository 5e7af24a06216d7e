"""Clopos Open API v2, simulated from its public documentation, for development and tests.

In a test, on a free port and in a thread of its own:

>>> with Simulator(quota=10, window=2) as clopos:
...     clopos.add_order(108)
...     clopos.fail(108, "html", Fault(504, delay=1))
...     # call clopos.url, with clopos.issue_token() in x-token
...     assert [call.body for call in clopos.calls(108)] == ['{"status": "IGNORE"}']

As a process of its own it is ``python -m local.simulator``, and `SimulatorClient` offers the same methods.
They are the public methods of `Upstream`; each is ``POST /_simulator/<name>``, its arguments a JSON object.

`Settings` say what state Clopos is in; a `Fault` says how it answers single calls. A call with a bad token,
or over the quota, gets its refusal as ever, and uses no fault up.
"""

import argparse
import asyncio
import dataclasses
import errno
import inspect
import json
import math
import random
import secrets
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

import jwt
import requests
from aiohttp import web
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from requests.structures import CaseInsensitiveDict

Json = dict[str, Any]
Stop = Callable[[], object]

BASE_PATH = "/open-api/v2"
CREDENTIALS = {
    "client_id": "local-client",
    "client_secret": "not-a-real-secret",
    "brand": "local-brand",
    "integrator_id": "local-integrator",
}
LIFECYCLE = ("PENDING", "RECEIVED", "DELIVERED", "IGNORE")
CANCELLABLE = ("PENDING", "IGNORE")  # setting IGNORE again changes nothing

# How a refusal can be dressed: Clopos has two vocabularies of `error`, and answers that fit neither.
STYLES: dict[str, Callable[[str, str], Json]] = {
    "sentence": lambda error, text: {"success": False, "error": text, "message": text},
    "identifier": lambda error, text: {"success": False, "error": error, "message": text},
    "message": lambda error, text: {"success": False, "message": text},
    "bare": lambda error, text: {"message": text},
    "schema": lambda error, text: {"error": error, "message": text, "details": None},
}
FOUR_FIELDS = "Missing client_id, client_secret, brand, or integrator_id"
TEST_MODE = "Integrator is in test mode. But brand is not in test mode"
REFUSALS = {  # name: HTTP status, the style that is documented, error identifier, text
    "missing_fields": (400, "sentence", "missing_fields", FOUR_FIELDS),
    "unknown_integrator": (400, "sentence", "invalid_integrator_id", "Invalid integrator_id"),
    "wrong_credentials": (401, "message", "invalid_credentials", "Invalid client credentials"),
    "client_disabled": (401, "sentence", "client_disabled", "Client is disabled"),
    "headers_missing": (401, "sentence", "headers_missing", "Headers are missing"),
    "invalid_token": (401, "sentence", "invalid_token", "Invalid token"),
    "token_expired": (401, "sentence", "token_expired", "Token expired"),
    "integrator_deactivated": (401, "sentence", "invalid_integrator_id", "Invalid integrator_id"),
    "test_mode": (401, "sentence", "test_mode_mismatch", TEST_MODE),
    "test_mode_200": (200, "sentence", "test_mode_mismatch", TEST_MODE),
    "module_missing": (403, "sentence", "forbidden", "does not have access to module call_center"),
    "bad_venue": (400, "identifier", "validation_failed", "x-venue must be a venue id"),
    "not_json": (400, "identifier", "validation_failed", "Content-Type and body must be application/json"),
    "extra_fields": (400, "identifier", "validation_failed", "The body must include only the status field"),
    "status_not_allowed": (400, "identifier", "validation_failed", "Status is not allowed"),
    "not_found": (404, "identifier", "not_found", "Order not found"),
    "no_route": (404, "identifier", "not_found", "Route not found"),
    "rate_limited": (429, "identifier", "too_many_requests", "Too many requests"),
    "server_error": (500, "identifier", "internal_error", "Internal server error"),
    "unavailable": (503, "identifier", "service_unavailable", "Service unavailable"),
    "gateway_timeout": (504, "identifier", "gateway_timeout", "Gateway timeout"),
}
# What the brand's configuration makes of every call: the refusal of /auth, and of the orders' routes.
STATES: dict[str, tuple[str | None, str | None]] = {
    "ok": (None, None),
    "client_disabled": ("client_disabled", None),
    "integrator_deactivated": ("unknown_integrator", "integrator_deactivated"),
    "test_mode": ("test_mode", "test_mode"),
    "test_mode_200": ("test_mode_200", "test_mode_200"),
    "module_missing": (None, "module_missing"),
}
OLDER = {"timestamp": "2025-10-23 14:13:09", "unix": 1761211989}
EXTRAS = {"total": 1, "time": 12, "sorts": [], "trace": "f00d"}
# Other documented shapes of the 200 that tells of an order.
VARIANTS: dict[str, Callable[[Json], Json]] = {
    "older": lambda data: {"success": True, "data": {key: data[key] for key in ("id", "status")}, **OLDER},
    "extras": lambda data: {"success": True, "data": data | {"shelf": {"row": 7}}, **EXTRAS},
}


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What state Clopos is in; each is also an option of the command line."""

    quota: int = _option(300, "authenticated calls per window, for the (integrator, brand)")
    failed_quota: int = _option(600, "failed calls per window, for the client's IP")
    auth_quota: int = _option(60, "calls of /auth per window, for the client's IP")
    window: float = _option(60.0, "the sliding window, seconds; under 60, RateLimit-Reset has decimals")
    token_lifetime: float = _option(3600.0, "seconds, rounded up to a whole Unix second")
    latency: float = _option(0.0, "seconds before every answer")
    venue_id: int = _option(1, "venue that tokens are issued for")
    state: str = _option("ok", f"configuration of the brand, one of: {' '.join(STATES)}")
    style: str = _option("", f"dress every refusal alike, one of: {' '.join(STYLES)}; else as documented")
    seed_orders: int = _option(0, "start with this many pending orders, 1 to N")

    def __post_init__(self) -> None:
        if self.state not in STATES or self.style not in ("", *STYLES):
            raise ValueError(f"state is one of {list(STATES)}, style one of {list(STYLES)}")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What goes out: a string as it is, anything else as JSON; a header that is None is left out."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fault:
    """How one call, or several, is answered. Without status and body, Clopos's own answer goes out."""

    status: int | None = None
    body: Any = None  # a string is sent as it is, anything else as JSON
    headers: dict[str, str | None] = dataclasses.field(default_factory=dict)  # None takes one away
    delay: float = 0.0  # seconds before the answer
    processed: bool | None = None  # is the order cancelled all the same? None: if the own answer goes out
    variant: str | None = None  # of VARIANTS
    delivery: str = "whole"  # of DELIVERIES
    interval: float = 1.0  # seconds between two bytes of a drip
    repeat: int | None = 1  # how many calls it lasts; None: for ever
    name: str = "scripted"  # as Call.fault shows it

    def __post_init__(self) -> None:
        if self.variant not in (None, *VARIANTS) or self.delivery not in DELIVERIES:
            raise ValueError(f"variant is one of {list(VARIANTS)}, delivery one of {list(DELIVERIES)}")
        if self.repeat is not None and self.repeat < 1:
            raise ValueError("repeat is at least 1, or None for ever")


AnyFault = Fault | Json | str  # as its fields; by its name in FAULTS


@dataclasses.dataclass
class Call:
    """One call that the simulator was sent."""

    method: str
    path: str  # as on the request line
    order_id: str | None
    headers: CaseInsensitiveDict[str] = dataclasses.field(repr=False)  # a token is in there
    body: str = dataclasses.field(repr=False)  # and credentials here
    time: float  # monotonic
    status: int | None = None  # None: no whole answer was sent
    fault: str | None = None

    def __post_init__(self) -> None:
        self.headers = CaseInsensitiveDict(self.headers)


class _Tier(RateLimitItemPerSecond):
    """So many calls in a window that, unlike those of limits, may be a fraction of a second."""

    __slots__ = ("window",)

    def __init__(self, name: str, amount: int, window: float) -> None:
        super().__init__(amount, namespace=name)
        self.window = window

    def get_expiry(self) -> float:  # type: ignore[override]
        return self.window


Counted = tuple[Any, ...]  # a tier, and who is counted in it


class Upstream:
    """What Clopos knows, and what a test can tell it: the public methods are the simulator's controls."""

    def __init__(self, settings: Settings) -> None:
        self._started_with = settings
        self._signing_key = secrets.token_bytes(32)
        self.tokens: dict[str, tuple[int, int]] = {}  # token: (expires_at in Unix seconds, venue id)
        self.reset()

    def reset(self) -> None:
        """Start again with the first settings: no orders, calls, faults or used quota. Tokens stay good."""
        self.orders: dict[str, Json] = {}
        self.recorded: list[Call] = []
        self.limiter = MovingWindowRateLimiter(MemoryStorage())
        self.settings = self._started_with
        self.configure()
        self.heal()
        self.add_orders(range(1, self.settings.seed_orders + 1))

    def configure(self, **settings: Any) -> Json:
        """Change some `Settings`, and return all; a tier whose quota changes starts counting anew."""
        self.settings = new = dataclasses.replace(self.settings, **settings)
        self.all_calls = _Tier("all", new.quota, new.window)
        self.failed_calls = _Tier("failed", new.failed_quota, new.window)
        self.auth_calls = _Tier("auth", new.auth_quota, new.window)
        return dataclasses.asdict(new)

    def add_order(
        self, order_id: int | str, venue_id: int | None = None, status: str = "PENDING", **fields: Any
    ) -> Json:
        """Create an order, or put a new one in its place."""
        if status not in LIFECYCLE:
            raise ValueError(f"status is one of {list(LIFECYCLE)}")
        key, now = str(order_id), _timestamp(time.time())
        self.orders[key] = {
            "id": int(key) if key.isdecimal() else key,
            "venue_id": venue_id or self.settings.venue_id,
            "type": "CALL_CENTER_ORDER",
            "integration": "call_center_new",
            "integration_uuid": None,
            "integration_id": None,
            "customer_ref_id": None,
            "integration_status": "CREATED",
            "status": status,
            "created_at": now,
            "updated_at": now,
            "integration_response": None,
            **fields,
        }
        return self.orders[key]

    def add_orders(
        self, order_ids: Iterable[int | str], venue_id: int | None = None, status: str = "PENDING"
    ) -> None:
        """Create many orders."""
        for order_id in order_ids:
            self.add_order(order_id, venue_id, status)

    def order(self, order_id: int | str) -> Json | None:
        """Return the order as it stands, or None."""
        return self.orders.get(str(order_id))

    def statuses(self) -> dict[str, str]:
        """Return the status of every order, by its id as a string."""
        return {order_id: order["status"] for order_id, order in self.orders.items()}

    def fail(self, order_id: int | str, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next PUTs of this order so, one fault each, in turn.

        A fault is a `Fault`, its fields as a dict, or a name of `FAULTS`. The last one lasts for `repeat`
        calls (None: for ever). They queue up behind those of earlier calls of this method.
        """
        self._script(f"order {order_id}", faults, repeat)

    def fail_all(self, *faults: AnyFault, repeat: int | None = None) -> None:
        """Answer the next PUTs so, whichever order they are for: an outage. Goes before `fail`."""
        self._script("all", faults, repeat)

    def fail_auth(self, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next calls of /auth so."""
        self._script("auth", faults, repeat)

    def fail_some(self, probability: float, *faults: AnyFault, seed: int = 0) -> None:
        """Let this share of all other PUTs meet one of the faults, by chance.

        The draw depends on nothing but the seed, the order and how many draws the order has had: a seed gives
        the same faults again, however the calls of several workers interleave.
        """
        self._chance = (probability, [_fault(fault) for fault in faults], seed)
        self._draws: Counter[str | None] = Counter()

    def heal(self) -> None:
        """Forget every fault that is still to come."""
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.fail_some(0)

    def calls(self, order_id: int | str | None = None, method: str | None = "PUT") -> list[Call]:
        """Return the calls that were sent, oldest first: of an order or (None) all, of a method or any."""
        order_id = None if order_id is None else str(order_id)
        return [
            call
            for call in self.recorded
            if order_id in (None, call.order_id) and method in (None, call.method)
        ]

    def issue_token(self, expires_in: float | None = None, venue_id: int | None = None) -> str:
        """Return a new token, good next to all others; a negative `expires_in` makes it an expired one."""
        lifetime = self.settings.token_lifetime if expires_in is None else expires_in
        expires_at = math.ceil(time.time() + lifetime)
        claims = {"brand": CREDENTIALS["brand"], "exp": expires_at, "jti": secrets.token_hex(8)}
        token = jwt.encode(claims, self._signing_key, "HS256")
        self.accept_token(token, expires_at, venue_id)
        return token

    def accept_token(self, token: str, expires_at: int = 2**32, venue_id: int | None = None) -> None:
        """Take any string for a good token."""
        self.tokens[token] = (expires_at, venue_id or self.settings.venue_id)

    def expire_tokens(self) -> None:
        """Refuse every token so far as expired, though it was announced to live longer."""
        self.tokens = {token: (int(time.time()), venue) for token, (_, venue) in self.tokens.items()}

    def revoke_tokens(self, token: str | None = None) -> None:
        """Refuse every token so far, or this one, as invalid."""
        self.tokens = {known: value for known, value in self.tokens.items() if token not in (None, known)}

    def _script(self, key: str, faults: Iterable[AnyFault], repeat: int | None) -> None:
        *script, last = (_fault(fault) for fault in faults)
        self._scripts[key] += [*script, last if repeat == 1 else dataclasses.replace(last, repeat=repeat)]

    def _next_fault(self, call: Call) -> Fault | None:
        keys = {"PUT": ("all", f"order {call.order_id}"), "POST": ("auth",)}.get(call.method, ())
        script = next((self._scripts[key] for key in keys if self._scripts[key]), None)
        if script:
            fault = script.popleft()
            if fault.repeat != 1:
                left = fault.repeat and fault.repeat - 1
                script.appendleft(dataclasses.replace(fault, repeat=left))
            return fault
        probability, faults, seed = self._chance
        if not faults or call.method != "PUT":
            return None
        self._draws[call.order_id] += 1
        draw = random.Random(f"{seed}/{call.order_id}/{self._draws[call.order_id]}")  # noqa: S311
        return draw.choice(faults) if draw.random() < probability else None


Outcome = tuple[Answer, Fault | None]
AnswerTo = Callable[[Call, str], Outcome]


class Gateway:
    """What Clopos answers to a call."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def app(self) -> web.Application:
        """Return the web application."""
        app, order = web.Application(), BASE_PATH + "/orders/{order_id}"
        app.router.add_get("/_simulator/", self._list_controls)
        app.router.add_post("/_simulator/{control}", self._control)
        app.router.add_put(order, partial(self._serve, self._answer_order))
        app.router.add_get(order, partial(self._serve, self._answer_order))
        app.router.add_post(BASE_PATH + "/auth", partial(self._serve, self._answer_auth))
        app.router.add_route("*", "/{elsewhere:.*}", partial(self._serve, self._answer_elsewhere))
        return app

    async def _list_controls(self, request: web.Request) -> web.Response:
        return web.json_response({name: inspect.getdoc(method) for name, method in CONTROLS.items()})

    async def _control(self, request: web.Request) -> web.Response:
        try:
            method = CONTROLS[request.match_info["control"]]
            signature = inspect.signature(method)
            arguments = {"self": self._upstream} | json.loads(await request.text() or "{}")
            if unknown := arguments.keys() - signature.parameters.keys():
                raise TypeError(f"unexpected {sorted(unknown)}")
            bound = inspect.BoundArguments(signature, arguments)
            return web.json_response(method(*bound.args, **bound.kwargs), dumps=_dumps)
        except (KeyError, TypeError, ValueError) as error:  # no such control, or not its arguments
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    async def _serve(self, answer_to: AnswerTo, request: web.Request) -> web.Response:
        # A repeated header is joined, as HTTP has it.
        headers = CaseInsensitiveDict(
            {name: ", ".join(request.headers.getall(name)) for name in request.headers}
        )
        body = (await request.read()).decode(errors="backslashreplace")
        order_id = request.match_info.get("order_id")
        call = Call(request.method, request.raw_path, order_id, headers, body, time.monotonic())
        self._upstream.recorded.append(call)

        answer, fault = answer_to(call, request.remote or "")
        how = fault or Fault()
        call.fault = fault.name if fault else None
        call.status = answer.status if how.delivery == "whole" else None
        await asyncio.sleep(self._upstream.settings.latency + how.delay)
        return await DELIVERIES[how.delivery](request.transport, answer, how.interval)

    def _answer_elsewhere(self, call: Call, client_ip: str) -> Outcome:
        return self._refuse("no_route"), None

    def _answer_auth(self, call: Call, client_ip: str) -> Outcome:
        tier = (self._upstream.auth_calls, client_ip)
        if not self._upstream.limiter.hit(*tier):
            return self._tell_rate_limit(self._refuse("rate_limited"), tier), None
        return self._answer_or_fault(call, lambda: self._issue_token(_json_object(call.body)))

    def _issue_token(self, given: Json) -> Answer:
        settings = self._upstream.settings
        refused = _first(
            {
                "missing_fields": not all(given.get(key) for key in CREDENTIALS),
                "unknown_integrator": given.get("integrator_id") != CREDENTIALS["integrator_id"],
                "wrong_credentials": any(given.get(key) != value for key, value in CREDENTIALS.items()),
            }
        )
        if refused := refused or STATES[settings.state][0]:
            return self._refuse(refused)
        token = self._upstream.issue_token()
        lifetime = {"expires_in": int(settings.token_lifetime), "expires_at": self._upstream.tokens[token][0]}
        told = {"token": token, "token_type": "Bearer", **lifetime, "message": "Authentication successful"}
        return Answer(200, {"success": True, **told})

    def _answer_order(self, call: Call, client_ip: str) -> Outcome:
        upstream, fault, token = self._upstream, None, call.headers.get("x-token", "")
        expires_at, venue_id = upstream.tokens.get(token, (0, 0))
        failed_calls = (upstream.failed_calls, client_ip)
        all_calls = (upstream.all_calls, CREDENTIALS["integrator_id"], CREDENTIALS["brand"])
        tiers: tuple[Counted, ...] = ()  # only an authenticated answer tells of them
        if not upstream.limiter.test(*failed_calls):
            tiers, answer = (failed_calls,), self._refuse("rate_limited")
        elif token not in upstream.tokens:
            answer = self._refuse("invalid_token" if token else "headers_missing")
        elif expires_at <= time.time():
            answer = self._refuse("token_expired", expires_at=_timestamp(expires_at))
        else:
            tiers = (all_calls, failed_calls)
            refused = STATES[upstream.settings.state][1]
            if not upstream.limiter.hit(*all_calls):
                refused = "rate_limited"
            if refused:
                answer = self._refuse(refused)
            else:
                answer, fault = self._answer_or_fault(call, lambda: self._process(call, str(venue_id)))
        if answer.status >= 400:
            upstream.limiter.hit(*failed_calls)
        return self._tell_rate_limit(answer, *tiers), fault

    def _process(self, call: Call, venue_id: str) -> Answer:
        order, asked = self._upstream.order(call.order_id or "") or {}, _json_object(call.body)
        venue, cancel = call.headers.get("x-venue", venue_id), call.method == "PUT"
        is_json = call.headers.get("content-type", "").startswith("application/json") and asked
        refused = _first(
            {
                "bad_venue": not venue.isdecimal(),
                "not_json": cancel and not is_json,
                "extra_fields": cancel and set(asked) != {"status"},
                "status_not_allowed": cancel and asked.get("status") != "IGNORE",
                "not_found": str(order.get("venue_id")) != venue,
            }
        )
        if refused:
            return self._refuse(refused)
        if not cancel:
            return Answer(200, {"success": True, "data": order | {"comment": None, "products": []}})
        if order["status"] not in CANCELLABLE:
            return self._refuse("status_not_allowed")
        order.update(status="IGNORE", updated_at=_timestamp(time.time()))
        return Answer(200, {"success": True, "data": dict(order)})

    def _answer_or_fault(self, call: Call, process: Callable[[], Answer]) -> Outcome:
        fault = self._upstream._next_fault(call)
        if fault is None:
            return process(), None
        is_own = fault.status is None and fault.body is None
        processed = is_own if fault.processed is None else fault.processed
        answer = process() if processed else Answer()
        if not is_own:
            answer = Answer(fault.status or 200, "" if fault.body is None else fault.body)
        elif fault.variant and "data" in answer.body:
            answer = Answer(200, VARIANTS[fault.variant](answer.body["data"]))
        return dataclasses.replace(answer, headers=fault.headers), fault

    def _refuse(self, name: str, **extra: Any) -> Answer:
        return _refusal(name, self._upstream.settings.style, **extra)

    def _tell_rate_limit(self, answer: Answer, *tiers: Counted) -> Answer:
        if not tiers:
            return answer
        closest = min(tiers, key=lambda tier: self._upstream.limiter.get_window_stats(*tier).remaining)
        # In a sliding window the reset is when its oldest call leaves it: then there is room for one more.
        reset_at, remaining = self._upstream.limiter.get_window_stats(*closest)
        digits = 0 if closest[0].window >= 60 else 3
        reset = math.ceil(max(0, reset_at - time.time()) * 10**digits) / 10**digits
        told = (str(closest[0].amount), str(max(0, remaining)), f"{reset:.{digits}f}")
        headers: dict[str, str | None] = dict(zip(RATE_LIMIT_HEADERS, told, strict=True))
        return dataclasses.replace(answer, headers=headers | answer.headers)


def _refusal(name: str, style: str = "", **extra: Any) -> Answer:
    status, documented, error, text = REFUSALS[name]
    return Answer(status, STYLES[style or documented](error, text) | extra)


def _first(checks: dict[str, bool]) -> str | None:
    return next((name for name, applies in checks.items() if applies), None)


def _json_object(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError:  # not JSON: to Clopos the same as an object that lacks everything
        return {}
    return value if isinstance(value, dict) else {}


def _timestamp(unix: float) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _bytes(answer: Answer) -> tuple[dict[str, str], bytes]:
    body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    headers = {"Content-Type": "application/json", **answer.headers}
    return {name: value for name, value in headers.items() if value is not None}, body.encode()


async def _send_whole(transport: Any, answer: Answer, interval: float) -> web.Response:
    headers, body = _bytes(answer)
    return web.Response(status=answer.status, headers=headers, body=body)


async def _send_badly(
    split: Callable[[bytes, bytes], tuple[bytes, bytes]], transport: Any, answer: Answer, interval: float
) -> web.Response:
    """Write to the socket past aiohttp, which lets nobody break HTTP: a part at once, a part byte by byte."""
    headers, body = _bytes(answer)
    headers = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {answer.status} Simulated", *(f"{name}: {value}" for name, value in headers.items())]
    at_once, slowly = split("\r\n".join([*lines, "", ""]).encode(), body)
    if transport is not None:  # else the client left while we waited
        transport.write(at_once)
        for byte in slowly:
            await asyncio.sleep(interval)
            if transport.is_closing():  # the client had enough
                break
            transport.write(bytes([byte]))
        transport.close()
    return web.Response()  # goes nowhere: the connection is closed


async def _reset(transport: Any, answer: Answer, interval: float) -> web.Response:
    if transport is not None:  # else the client left while we waited
        at_once = struct.pack("ii", 1, 0)  # linger for 0 s: a RST goes out, not a FIN
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        transport.abort()
    return web.Response()  # goes nowhere: the connection is closed


DELIVERIES: dict[str, Callable[[Any, Answer, float], Awaitable[web.Response]]] = {
    "whole": _send_whole,
    "reset": _reset,
    "close": partial(_send_badly, lambda head, body: (b"", b"")),
    "truncated": partial(_send_badly, lambda head, body: (head + body[: len(body) // 2], b"")),
    "drip": partial(_send_badly, lambda head, body: (head, body)),
    "drip_headers": partial(_send_badly, lambda head, body: (b"", head + body)),
}
RATE_LIMIT_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
FROM_A_PROXY = {"Content-Type": "text/html"} | dict.fromkeys(RATE_LIMIT_HEADERS)
# What a refusal says beyond its text, where a script and not the gateway gives it: body, headers.
SCRIPTED: dict[str, tuple[Json, dict[str, str | None]]] = {
    "token_expired": ({"expires_at": "2026-01-08T06:05:32.000000Z"}, {}),
    "rate_limited": ({}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}),
}


def _scripted(name: str, style: str = "") -> Fault:
    body, headers = SCRIPTED.get(name, ({}, {}))
    refusal = _refusal(name, style, **body)
    return Fault(refusal.status, refusal.body, headers)


FAULTS = {
    **{name: _scripted(name) for name in REFUSALS},
    **{f"{name}:{style}": _scripted(name, style) for name in REFUSALS for style in STYLES},
    "html": Fault(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", FROM_A_PROXY),
    "html_200": Fault(200, "<html><body>Under maintenance</body></html>", FROM_A_PROXY),
    "empty": Fault(200, ""),
    "empty_502": Fault(502, "", FROM_A_PROXY),
    "reset": Fault(delivery="reset", processed=False),
    "reset_after": Fault(delivery="reset", processed=True),
    "close": Fault(delivery="close", processed=False),
    "close_after": Fault(delivery="close", processed=True),
    "truncated": Fault(delivery="truncated"),
    "drip": Fault(delivery="drip"),
    "drip_headers": Fault(delivery="drip_headers"),
    "older": Fault(variant="older"),
    "extras": Fault(variant="extras"),
}
FAULTS = {name: dataclasses.replace(fault, name=name) for name, fault in FAULTS.items()}
CONTROLS = {
    name: member
    for name, member in vars(Upstream).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


def _fault(fault: AnyFault) -> Fault:
    if isinstance(fault, dict):
        return Fault(**fault)
    return FAULTS[fault] if isinstance(fault, str) else fault


def _plain(value: Any) -> Any:
    if isinstance(value, CaseInsensitiveDict):
        return dict(value)
    return vars(value) if dataclasses.is_dataclass(value) else list(value)


_dumps = partial(json.dumps, default=_plain)  # the controls also take and give faults, calls and ranges


class SimulatorClient:
    """The controls of the simulator at an address: the public methods of `Upstream`, over HTTP.

    Parameters
    ----------
    url
        Of the simulator, with or without the base path.

    Raises
    ------
    ValueError
        From a method whose arguments the simulator did not like.
    """

    def __init__(self, url: str) -> None:
        self._root = url.rstrip("/").removesuffix(BASE_PATH)
        self.url = self._root + BASE_PATH
        self._session = requests.Session()
        self._session.trust_env = False  # never through a proxy

    def calls(self, *args: Any, **kwargs: Any) -> list[Call]:
        """As `Upstream.calls`."""
        return [Call(**call) for call in self._send("calls", *args, **kwargs)]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in CONTROLS:
            raise AttributeError(name)
        return partial(self._send, name)

    def _send(self, name: str, *args: Any, **kwargs: Any) -> Any:
        arguments = inspect.signature(CONTROLS[name]).bind(None, *args, **kwargs).arguments
        del arguments["self"]
        answer = self._session.post(f"{self._root}/_simulator/{name}", data=_dumps(arguments), timeout=30)
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        answer.raise_for_status()
        return answer.json()


class Simulator(SimulatorClient):
    """A simulator in a thread of its own, for as long as the ``with`` block lasts.

    Parameters
    ----------
    host, port
        Where to listen; port 0 is any free one.
    **settings
        As in `Settings`.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> None:
        self._serving = partial(_serve, Upstream(Settings(**settings)), host, port)

    def __enter__(self) -> Self:
        ready: Future[tuple[str, Stop]] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        root, self._stop = ready.result()
        super().__init__(root)
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()
        self._stop()
        self._thread.join()

    def _run(self, ready: "Future[tuple[str, Stop]]") -> None:
        try:
            asyncio.run(self._serving(lambda *root_and_stop: ready.set_result(root_and_stop)))
        except OSError as error:  # cannot listen there: for the thread that wants to
            ready.set_exception(error)


async def _serve(upstream: Upstream, host: str, port: int, announce: Callable[[str, Stop], None]) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # An answer that is still being delayed or dripped when the simulator ends is not waited for.
    runner = web.AppRunner(Gateway(upstream).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        announce("http://{}:{}".format(*runner.addresses[0]), lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()
    finally:
        await runner.cleanup()


def _announce(root: str, stop: Stop) -> None:
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop())
    print(f"Clopos simulator listening on {root}{BASE_PATH}, its controls on {root}/_simulator/", flush=True)


def main() -> None:
    """Run a simulator until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A simulator of Clopos Open API v2.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4010, help="0 for any free one")
    parser.add_argument("--accept-token", action="append", default=[], help="take this for a good token")
    for field in dataclasses.fields(Settings):
        option, text = "--" + field.name.replace("_", "-"), field.metadata["help"] + " (%(default)s)"
        parser.add_argument(option, type=type(field.default), default=field.default, help=text)
    settings = vars(parser.parse_args())
    host, port, tokens = (settings.pop(name) for name in ("host", "port", "accept_token"))
    try:
        upstream = Upstream(Settings(**settings))
        for token in tokens:
            upstream.accept_token(token)
        asyncio.run(_serve(upstream, host, port, _announce))
    except ValueError as error:  # not a setting
        parser.error(str(error))
    except OSError as error:  # cannot listen there
        why = "the port is taken" if error.errno == errno.EADDRINUSE else error.strerror
        sys.exit(f"Clopos simulator: cannot listen on {host}:{port}: {why}")


if __name__ == "__main__":
    main()
