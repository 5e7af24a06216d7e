"""The state of Clopos. The methods that `CONTROLS` names are what tests use, through `SimulatorClient`."""

import dataclasses
import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import jwt

from local.simulator.answers import Call, Json, timestamp
from local.simulator.faults import AnyFault, Fault, find
from local.simulator.rate_limits import Window
from local.simulator.settings import CREDENTIALS, Settings

CONTROLS = (
    *("reset", "configure", "add_order", "add_orders", "order", "statuses", "calls"),
    *("script", "heal", "issue_token", "expire_tokens", "revoke_tokens"),
)
STATUSES = (
    *("PENDING", "RECEIVED", "DELIVERED", "IGNORE"),  # documented; the others were seen on a live brand
    *("NEW", "SCHEDULED", "IN_PROGRESS", "READY", "PICKED_UP", "CONFIRMED", "COMPLETED", "CANCELLED"),
)
NEW_ORDER: Json = {"type": "CALL_CENTER_ORDER", "integration": "call_center_new"}
NEW_ORDER |= {"integration_status": "CREATED", "customer_ref_id": None}
NEW_ORDER |= {"integration_uuid": None, "integration_id": None, "integration_response": None}
# The personal data of every order. Nothing else contains these texts, so that tests can search for them.
CUSTOMER = {
    "name": "Obviously Fake Customer",
    "phone": "+000 000 000 108",
    "address": "1 Nonexistent Street, Nowhere",
}


class State:
    """Orders, tokens, quotas, and the faults to come."""

    def __init__(self, settings: Settings) -> None:
        self._first_settings = settings
        self._signing_key = secrets.token_bytes(32)
        self.tokens: dict[str, tuple[int, int]] = {}  # token: (expires_at in Unix seconds, venue id)
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: settings, orders, calls, faults and quotas. Tokens stay valid."""
        self.orders: dict[str, Json] = {}
        self.receipts: dict[str, Json] = {}
        self._exists_at: dict[str, float] = {}  # monotonic
        self._cancelled_at: dict[str, float] = {}  # monotonic
        self.recorded: list[Call] = []
        self.settings = self._first_settings
        self.all_calls = self.failed_calls = self.auth_calls = Window(0, 0)
        self.configure()
        self.heal()
        self.add_orders(range(1, self.settings.seed_orders + 1))

    def configure(self, **settings: Any) -> Json:
        """Change some `Settings`, and return all. If a quota changes, its count starts at zero again."""
        self.settings = now = dataclasses.replace(self.settings, **settings)
        self.all_calls = self.all_calls.resized(now.quota, now.window)
        self.failed_calls = self.failed_calls.resized(now.failed_quota, now.window)
        self.auth_calls = self.auth_calls.resized(now.auth_quota, now.window)
        return dataclasses.asdict(now)

    # -- orders

    def add_order(
        self,
        order_id: int | str,
        venue_id: int | None = None,
        status: str = "PENDING",
        receipt_id: int | None = None,
        auto_order_accept: bool = False,
        exists_in: float = 0,
        **fields: Any,
    ) -> Json:
        """Create an order, or replace the one with this id. An id that has only digits is a number.

        `receipt_id` is that of its receipt. With `auto_order_accept` the restaurant accepts it at once, and
        `exists_in` seconds pass before Clopos knows it. `fields` are other values, or more of them.
        """
        if status not in STATUSES:
            raise ValueError(f"status is one of {list(STATUSES)}")
        if auto_order_accept:
            status, receipt_id = "RECEIVED", receipt_id or 10950
        key, now = str(order_id), timestamp(time.time())
        self.orders[key] = {
            "id": int(key) if key.isdecimal() and str(int(key)) == key else key,
            "venue_id": venue_id or self.settings.venue_id,
            "status": status,
            "created_at": now,
            "updated_at": now,
            **NEW_ORDER,
            **fields,
        }
        self._exists_at[key] = time.monotonic() + exists_in
        self._cancelled_at.pop(key, None)
        self.receipts.pop(key, None)
        if receipt_id is not None:
            self.receipts[key] = {"id": receipt_id, "service_notification_id": None, "status": "OPEN"}
        return self.orders[key]

    def add_orders(self, order_ids: Iterable[int | str]) -> None:
        """Create many orders."""
        for order_id in order_ids:
            self.add_order(order_id)

    def order(self, order_id: int | str) -> Json | None:
        """Return an order as it is now, without personal data and receipt; None if there is none."""
        return self.orders.get(str(order_id))

    def statuses(self) -> dict[str, str]:
        """Return the status of every order by its id."""
        return {order_id: order["status"] for order_id, order in self.orders.items()}

    def cancel(self, order_id: str, cancelled: Json) -> None:
        """Replace an order by what it is when it is cancelled."""
        self.orders[order_id] = cancelled
        self._cancelled_at.setdefault(order_id, time.monotonic())

    def as_seen(self, order_id: str, *, is_read: bool) -> Json:
        """Return an order as a call sees it: nothing before it exists, and a read may lag behind."""
        now = time.monotonic()
        if now < self._exists_at.get(order_id, math.inf):
            return {}
        lags_until = self._cancelled_at.get(order_id, -math.inf) + self.settings.read_lag
        return self.orders[order_id] | ({"status": "PENDING"} if is_read and now < lags_until else {})

    # -- calls and faults

    def calls(self, order_id: int | str | None = None, method: str | None = "PUT") -> list[Json]:
        """Return the calls received, oldest first. None means any order, or any method."""
        found = (call for call in self.recorded if method in (None, call.method))
        found = (call for call in found if order_id is None or call.order_id == str(order_id))
        return [vars(call) | {"headers": dict(call.headers)} for call in found]

    def script(self, calls: str, faults: Sequence[AnyFault], repeat: int | None) -> None:
        """Add faults for some calls: ``auth``, ``PUT`` or ``GET`` (of all orders), ``PUT 108``."""
        if not faults:
            raise ValueError("at least one fault is needed")
        *script, last = (find(fault) for fault in faults)
        self._scripts[calls] += [*script, last if repeat == 1 else dataclasses.replace(last, repeat=repeat)]

    def heal(self) -> None:
        """Remove all faults."""
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def next_fault(self, call: Call) -> Fault | None:
        """Return the fault for this call, and count it as used."""
        keys = ("auth",) if call.method == "POST" else (call.method, f"{call.method} {call.order_id}")
        for script in (self._scripts[key] for key in keys if self._scripts[key]):
            fault = script.popleft()
            if fault.repeat != 1:
                script.appendleft(dataclasses.replace(fault, repeat=fault.repeat and fault.repeat - 1))
            return fault
        return None

    # -- tokens

    def issue_token(self, expires_in: float | None = None, venue_id: int | None = None) -> str:
        """Return a new token; the others stay valid. With a negative `expires_in`, it has already expired."""
        lifetime = self.settings.token_lifetime if expires_in is None else expires_in
        expires_at = math.ceil(time.time() + lifetime)
        claims: Json = {
            "token": f"oauth_{secrets.token_urlsafe(24)}",  # the upstream's own token
            "brand": CREDENTIALS["brand"],
            "stage": "production",
            "venue_id": venue_id or self.settings.venue_id,
            "integrator_id": CREDENTIALS["integrator_id"],
            "iat": int(time.time()),
            "exp": expires_at,
        }
        token = jwt.encode(claims, self._signing_key, "HS256")
        self.tokens[token] = (expires_at, claims["venue_id"])
        return token

    def expire_tokens(self) -> None:
        """Reject every token issued so far as expired, whatever its `expires_at` was."""
        self.tokens = {token: (int(time.time()), venue) for token, (_, venue) in self.tokens.items()}

    def revoke_tokens(self, token: str | None = None) -> None:
        """Reject every token issued so far, or this one, as invalid."""
        self.tokens = {known: value for known, value in self.tokens.items() if token not in (None, known)}
