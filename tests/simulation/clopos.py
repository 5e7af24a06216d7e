"""A model of Clopos: orders, tokens, the quota, and the ways in which it fails."""

import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.scheduler import Scheduler

LIMIT, WINDOW_S = 300, 60.0
AUTH_LIMIT = 60
TOKEN_LIFE_S = 3600.0
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 6.0, 10.0  # of functions/cancellation/transport.py

# How a call fails while Clopos does.
FAILURES = ("500", "502", "503", "504", "no answer", "refused", "unreachable")

# How Clopos refuses our access: the status and the words.
REFUSALS = {
    "module": (403, {"success": False, "error": "brand does not have access to module call_center"}),
    "integrator": (401, {"success": False, "error": "Invalid integrator_id"}),
    "test mode": (
        200,
        {"success": False, "error": "Integrator is in test mode. But brand is not in test mode"},
    ),
    "every token": (401, {"success": False, "error": "Invalid token"}),
}


@dataclass(slots=True)
class Call:
    """One call as its caller saw it."""

    at: float
    caller: str
    process: str
    method: str
    path: str
    counted_at: float | None = None  # when it took its place in the quota
    status: int | None = None
    failure: str | None = None


@dataclass
class Clopos:
    """Clopos, and what is wrong with it just now."""

    scheduler: Scheduler
    orders: dict[str, str] = field(default_factory=dict)  # id: status
    tokens: dict[str, float] = field(default_factory=dict)  # token: until when it is good
    calls: list[Call] = field(default_factory=list)
    counted: deque[float] = field(default_factory=deque)  # in the current window
    auth_counted: deque[float] = field(default_factory=deque)

    is_strict: bool = False  # refuses to set an order to IGNORE that is there already
    latency_s: tuple[float, float] = (0.2, 0.4)
    failing: str | None = None  # one of FAILURES
    auth_failing: str | None = None
    flaky: float = 0.0  # share of calls that fail, each in its own way
    lost: float = 0.0  # share of answers that get lost
    refusing: str | None = None  # one of REFUSALS

    def send(self, make_answer: Any, method: str, url: str, headers: Any, body: Any, deadline: Any) -> Any:
        """Serve one call; this is `Transport.send`."""
        scheduler = self.scheduler
        started = scheduler.now
        path = url.partition("/v2")[2]
        call = Call(started, scheduler.process.name.partition(" ")[0], scheduler.process.name, method, path)
        self.calls.append(call)
        patience = _Patience(scheduler, deadline.left())
        content: Any = None
        answer_headers: dict[str, str] = {}
        try:
            call.status, answer_headers, content = self._serve(call, headers, patience)
        except _NoAnswer as exc:
            call.failure = exc.args[0]
        return make_answer(
            method,
            "clopos.example",
            started,
            scheduler.now - started,
            call.status,
            answer_headers,
            None if content is None else json.dumps(content).encode(),
            call.failure,
        )

    def _serve(
        self, call: Call, headers: dict[str, str], patience: "_Patience"
    ) -> tuple[int, dict[str, str], Any]:
        random = self.scheduler.random
        failing = self.auth_failing if call.path == "/auth" else self.failing
        if failing is None and random.random() < self.flaky:
            failing = random.choice(FAILURES)
        if failing == "refused":
            patience.wait(0.05)
            raise _NoAnswer("clopos_unavailable")
        if failing == "unreachable":
            patience.wait(CONNECT_TIMEOUT_S)
            raise _NoAnswer("clopos_timeout")
        latency_s = random.uniform(*self.latency_s)
        patience.wait(latency_s / 3)
        try:
            status, content = self._decide(call, headers, failing)
        except _Throttled as exc:
            status, content = 429, {"success": False, "error": "rate_limited"}
            answer_headers = exc.args[0]
        else:
            answer_headers = self._rate_limit() if call.path != "/auth" else {}
        if failing == "504":
            patience.wait(8)
        if failing == "no answer":
            patience.wait(READ_TIMEOUT_S)
            raise _NoAnswer("clopos_timeout")
        patience.wait(latency_s * 2 / 3)
        if random.random() < self.lost:
            raise _NoAnswer("clopos_unavailable")
        return status, answer_headers, content

    def _decide(self, call: Call, headers: dict[str, str], failing: str | None) -> tuple[int, Any]:
        now = self.scheduler.now
        if call.path == "/auth":
            _count(self.auth_counted, AUTH_LIMIT, now, lambda: {"Retry-After": "30"})
            if failing:
                return int(failing) if failing.isdecimal() else 500, None
            if self.refusing in ("integrator", "test mode"):
                return REFUSALS[self.refusing]
            token = f"token-{len(self.tokens)}-{self.scheduler.random.getrandbits(32):08x}"
            self.tokens[token] = now + TOKEN_LIFE_S
            return 200, {"success": True, "token": token, "expires_at": math.floor(self.tokens[token])}
        _count(self.counted, LIMIT, now, self._rate_limit)
        call.counted_at = now
        if failing:
            return int(failing) if failing.isdecimal() else 500, None
        if self.refusing:
            return REFUSALS[self.refusing]
        if self.tokens.get(headers.get("x-token", ""), 0) <= now:
            return 401, {"success": False, "error": "Invalid token"}
        return self._order(call.method, call.path.removeprefix("/orders/").partition("?")[0])

    def _order(self, method: str, order_id: str) -> tuple[int, Any]:
        status = self.orders.get(order_id)
        if status is None:
            return 404, {"success": False, "error": "not_found"}
        if method == "PUT":
            if status != "PENDING" and (status != "IGNORE" or self.is_strict):
                return 400, {
                    "success": False,
                    "error": "validation_failed",
                    "message": "Status is not allowed",
                }
            self.orders[order_id] = status = "IGNORE"
        return 200, {"success": True, "data": {"id": order_id, "status": status}}

    def _rate_limit(self) -> dict[str, str]:
        counted, now = self.counted, self.scheduler.now
        reset_s = counted[0] + WINDOW_S - now if counted else 0
        return {
            "RateLimit-Limit": str(LIMIT),
            "RateLimit-Remaining": str(LIMIT - len(counted)),
            "RateLimit-Reset": str(math.ceil(reset_s)),
        }

    def use_quota(self, calls: int) -> None:
        """Let another integration of the brand make calls."""
        for _ in range(calls):
            try:
                _count(self.counted, LIMIT, self.scheduler.now, dict)
            except _Throttled:
                return


def _count(counted: deque[float], limit: int, now: float, headers: Callable[[], dict[str, str]]) -> None:
    while counted and counted[0] <= now - WINDOW_S:
        counted.popleft()
    if len(counted) >= limit:
        raise _Throttled(headers())
    counted.append(now)


class _Throttled(Exception):
    """The quota is used up; with the headers of the answer."""


class _NoAnswer(Exception):
    """No whole answer came; with the failure as `Answer` names it."""


class _Patience:
    """The time that the caller has for one exchange."""

    def __init__(self, scheduler: Scheduler, left_s: float) -> None:
        self._scheduler = scheduler
        self._until = scheduler.now + min(left_s, CONNECT_TIMEOUT_S + READ_TIMEOUT_S)

    def wait(self, seconds: float) -> None:
        left_s = self._until - self._scheduler.now
        if seconds > left_s:
            self._scheduler.sleep(left_s)
            raise _NoAnswer("clopos_timeout")
        self._scheduler.sleep(seconds)
