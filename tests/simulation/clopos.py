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
ADDRESS_TIMEOUT_S, READ_TIMEOUT_S, EXCHANGE_S = 2.0, 10.0, 16.0  # of functions/cancellation/exchange.py

# How a call fails while Clopos does.
FAILURES = ("500", "502", "503", "504", "no answer", "refused", "unreachable")

# How Clopos refuses our access: the status, the identifier and the sentence.
REFUSALS = {
    "module": (403, "forbidden", "brand does not have access to module call_center"),
    "integrator": (401, "invalid_integrator_id", "Invalid integrator_id"),
    "test mode": (200, "test_mode_mismatch", "Integrator is in test mode. But brand is not in test mode"),
    "every token": (401, "unauthorized", "Invalid token"),
}
# The statuses of a live brand that mean: too late to cancel.
TOO_LATE = ("RECEIVED", "IN_PROGRESS", "READY", "DELIVERED", "COMPLETED", "CANCELLED")
FORMS = ("sentence", "identifier", "list")  # of an error


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
    created: dict[str, float] = field(default_factory=dict)  # id: when
    tokens: dict[str, float] = field(default_factory=dict)  # token: until when it is good
    calls: list[Call] = field(default_factory=list)
    counted: deque[float] = field(default_factory=deque)  # in the current window
    auth_counted: deque[float] = field(default_factory=deque)
    changes: dict[str, tuple[float, str | None]] = field(default_factory=dict)  # id: when, from which status

    is_strict: bool = False  # refuses to set an order to IGNORE that is there already
    form: str = "sentence"  # one of FORMS
    list_status: int = 0  # the HTTP status of an error that is a list of objects; 0 for that of the error
    latency_s: tuple[float, float] = (0.2, 0.4)
    failing: str | None = None  # one of FAILURES
    auth_failing: str | None = None
    broken: frozenset[str] = frozenset()  # ids of orders for which every call fails
    flaky: float = 0.0  # share of calls that fail, each in its own way
    lost: float = 0.0  # share of answers that get lost
    garbled: float = 0.0  # share of answers in whose place another one comes
    closed: float = 0.0  # share of calls whose kept connection turns out to be closed
    lag_s: float = 0.0  # so old is what GET reads
    refusing: str | None = None  # one of REFUSALS

    def set_status(self, order_id: str, status: str = "PENDING") -> None:
        """Create an order, or change it."""
        self.created.setdefault(order_id, self.scheduler.now)
        self.changes[order_id] = self.scheduler.now, self.orders.get(order_id)
        self.orders[order_id] = status

    def connections(self, make_exchange: Callable[..., Any]) -> Any:
        """Return what replaces the class `Connections`."""

        clopos = self

        class Connections:
            is_kept = False  # a connection; the code has one for each thread

            def __init__(self, _: Any) -> None:
                pass

            def exchange(self, method: str, url: str, headers: Any, body: Any, deadline: Any) -> Any:
                path = url.partition("/v2")[2]
                found = clopos._answer(method, path, headers, deadline.left(), self.is_kept)
                self.is_kept = found["status"] == 200
                return make_exchange(method, "clopos.example", **found)

            def disconnect(self) -> None:
                self.is_kept = False

        return Connections

    def _answer(self, method: str, path: str, headers: Any, left_s: float, is_kept: bool) -> dict[str, Any]:
        scheduler = self.scheduler
        process = scheduler.process.name
        call = Call(scheduler.now, process.partition(" ")[0], process, method, path)
        self.calls.append(call)
        patience = _Patience(scheduler, left_s)
        found: dict[str, Any] = {"was_kept": is_kept, "started_at": call.at}
        try:
            if is_kept and scheduler.random.random() < self.closed:
                raise _NoAnswer("clopos_unavailable")
            call.status, found["headers"], content = self._serve(call, headers, patience)
            found["body"] = None if content is None else json.dumps(content).encode()
        except _NoAnswer as exc:
            call.failure = exc.args[0]
        return found | {
            "status": call.status,
            "failure": call.failure,
            "duration_s": scheduler.now - call.at,
        }

    def _serve(
        self, call: Call, headers: dict[str, str], patience: "_Patience"
    ) -> tuple[int, dict[str, str], Any]:
        random = self.scheduler.random
        failing = self.auth_failing if call.path == "/auth" else self.failing
        if _order_id(call.path) in self.broken:
            failing = "500"
        if failing is None and random.random() < self.flaky:
            failing = random.choice(FAILURES)
        if failing == "refused":
            patience.wait(0.05)
            raise _NoAnswer("clopos_unavailable")
        if failing == "unreachable":
            patience.wait(2 * ADDRESS_TIMEOUT_S)
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
        if random.random() < self.garbled:
            other = {"success": True, "data": {"id": "other", "status": "IGNORE"}}
            status, content = random.choice(((200, None), (200, other), (400, None), (404, None)))
        return status, answer_headers, content

    def _decide(self, call: Call, headers: dict[str, str], failing: str | None) -> tuple[int, Any]:
        now = self.scheduler.now
        if call.path == "/auth":
            _count(self.auth_counted, AUTH_LIMIT, now, lambda: {"Retry-After": "30"})
        else:
            _count(self.counted, LIMIT, now, self._rate_limit)
            call.counted_at = now
        if failing:
            return int(failing) if failing.isdecimal() else 500, None
        if self.refusing and (call.path != "/auth" or self.refusing in ("integrator", "test mode")):
            return self._refuse(*REFUSALS[self.refusing])
        if call.path == "/auth":
            token = f"token-{len(self.tokens)}-{self.scheduler.random.getrandbits(32):08x}"
            self.tokens[token] = now + TOKEN_LIFE_S
            return 200, {"success": True, "token": token, "expires_at": math.floor(self.tokens[token])}
        if self.tokens.get(headers.get("x-token", ""), 0) <= now:
            return self._refuse(401, "unauthorized", "Invalid token")
        return self._order(call.method, _order_id(call.path))

    def _order(self, method: str, order_id: str) -> tuple[int, Any]:
        status = self.orders.get(order_id)
        changed_at, before = self.changes.get(order_id, (-math.inf, None))
        if method == "GET" and self.scheduler.now < changed_at + self.lag_s:
            status = before
        if status is None:
            return self._refuse(404, "not_found", "No query results for model [App\\Models\\Order] 1000")
        if method == "PUT":
            if status != "PENDING" and (status != "IGNORE" or self.is_strict):
                return self._refuse(400, "validation_failed", "Status is not allowed")
            if status != "IGNORE":
                self.set_status(order_id, status := "IGNORE")
        return 200, {"success": True, "data": {"id": order_id, "status": status}}

    def _refuse(self, status: int, identifier: str, sentence: str) -> tuple[int, Any]:
        said: dict[str, Any] = {"success": False, "message": sentence}
        if self.form == "list":
            code = 401 if status == 200 else status
            entry = {"message": sentence, "exception": "HttpException", "http_code": code}
            return self.list_status or status, {"success": False, "error": [entry]}
        return status, said | {"error": identifier if self.form == "identifier" else sentence}

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


def _order_id(path: str) -> str:
    return path.removeprefix("/orders/").partition("?")[0]


def _count(counted: deque[float], limit: int, now: float, headers: Callable[[], dict[str, str]]) -> None:
    while counted and counted[0] <= now - WINDOW_S:
        counted.popleft()
    if len(counted) >= limit:
        raise _Throttled(headers())
    counted.append(now)


class _Throttled(Exception):
    """The quota is used up; with the headers of the answer."""


class _NoAnswer(Exception):
    """No whole answer came; with the failure as `Exchange` names it."""


class _Patience:
    """The time that the caller has for one exchange."""

    def __init__(self, scheduler: Scheduler, left_s: float) -> None:
        self._scheduler = scheduler
        self._until = scheduler.now + min(left_s, EXCHANGE_S)

    def wait(self, seconds: float) -> None:
        left_s = self._until - self._scheduler.now
        self._scheduler.sleep(min(seconds, left_s))
        if seconds > left_s:
            raise _NoAnswer("clopos_timeout")
