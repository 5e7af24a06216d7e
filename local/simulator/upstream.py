"""The state of Clopos. The public methods are the controls that tests use."""

import dataclasses
import math
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

import jwt

from local.simulator.answers import Json, timestamp
from local.simulator.calls import Call
from local.simulator.faults import AnyFault
from local.simulator.rate_limits import RateLimits
from local.simulator.scripts import FaultScripts
from local.simulator.settings import CREDENTIALS, Settings

LIFECYCLE = ("PENDING", "RECEIVED", "DELIVERED", "IGNORE")
# The personal data of every order. Nothing else contains these texts, so that tests can search for them.
CUSTOMER = {
    "name": "Obviously Fake Customer",
    "phone": "+000 000 000 108",
    "address": "1 Nonexistent Street, Nowhere",
}


class Upstream:
    """The state of Clopos. The controls are documented in `SimulatorClient`."""

    def __init__(self, settings: Settings) -> None:
        self._first_settings = settings
        self._signing_key = secrets.token_bytes(32)
        self.tokens: dict[str, tuple[int, int]] = {}  # token: (expires_at in Unix seconds, venue id)
        self.scripts = FaultScripts()
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: settings, orders, calls, faults and quotas. Tokens stay valid."""
        self.orders: dict[str, Json] = {}
        self.receipts: dict[str, Json] = {}
        self.recorded: list[Call] = []
        self.settings = self._first_settings
        self.rate_limits = RateLimits(self.settings)
        self.scripts.clear()
        self.add_orders(range(1, self.settings.seed_orders + 1))

    def configure(self, **settings: Any) -> Json:
        """Change some settings, and return all of them."""
        self.settings = dataclasses.replace(self.settings, **settings)
        self.rate_limits.configure(self.settings)
        return dataclasses.asdict(self.settings)

    def add_order(
        self,
        order_id: int | str,
        venue_id: int | None = None,
        status: str = "PENDING",
        receipt_id: int | None = None,
        **fields: Any,
    ) -> Json:
        """Create an order, or replace the one with this id."""
        if status not in LIFECYCLE:
            raise ValueError(f"status is one of {list(LIFECYCLE)}")
        key, now = str(order_id), timestamp(time.time())
        self.orders[key] = {
            "id": int(key) if key.isdecimal() and str(int(key)) == key else key,
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
        self.receipts.pop(key, None)
        if receipt_id is not None:
            self.receipts[key] = {"id": receipt_id, "service_notification_id": None, "status": "OPEN"}
        return self.orders[key]

    def add_orders(
        self, order_ids: Iterable[int | str], venue_id: int | None = None, status: str = "PENDING"
    ) -> None:
        """Create many orders."""
        for order_id in order_ids:
            self.add_order(order_id, venue_id, status)

    def order(self, order_id: int | str) -> Json | None:
        """Return an order as it is now, or None."""
        return self.orders.get(str(order_id))

    def statuses(self) -> dict[str, str]:
        """Return the status of every order by its id."""
        return {order_id: order["status"] for order_id, order in self.orders.items()}

    def fail(self, order_id: int | str, faults: Sequence[AnyFault], repeat: int | None = 1) -> None:
        """Script faults for the next PUTs of an order."""
        self.scripts.add(f"PUT {order_id}", faults, repeat)

    def fail_all(self, faults: Sequence[AnyFault], repeat: int | None = None) -> None:
        """Script faults for the next PUTs of all orders; they come before those of `fail`."""
        self.scripts.add("PUT", faults, repeat)

    def fail_get(self, order_id: int | str, faults: Sequence[AnyFault], repeat: int | None = 1) -> None:
        """Script faults for the next GETs of an order."""
        self.scripts.add(f"GET {order_id}", faults, repeat)

    def fail_all_gets(self, faults: Sequence[AnyFault], repeat: int | None = None) -> None:
        """Script faults for the next GETs of all orders; they come before those of `fail_get`."""
        self.scripts.add("GET", faults, repeat)

    def fail_auth(self, faults: Sequence[AnyFault], repeat: int | None = 1) -> None:
        """Script faults for the next calls of /auth."""
        self.scripts.add("auth", faults, repeat)

    def fail_some(self, probability: float, faults: Sequence[AnyFault], seed: int = 0) -> None:
        """Answer PUTs without a scripted fault with one of these, at random, with this probability."""
        self.scripts.draw(probability, faults, seed)

    def heal(self) -> None:
        """Remove all pending faults."""
        self.scripts.clear()

    def calls(self, order_id: int | str | None = None, method: str | None = "PUT") -> list[Call]:
        """Return the calls received, oldest first. None means any order, or any method."""
        order_id = None if order_id is None else str(order_id)
        return [
            call
            for call in self.recorded
            if order_id in (None, call.order_id) and method in (None, call.method)
        ]

    def issue_token(self, expires_in: float | None = None, venue_id: int | None = None) -> str:
        """Return a new valid token; with a negative `expires_in`, it has already expired."""
        lifetime = self.settings.token_lifetime if expires_in is None else expires_in
        expires_at = math.ceil(time.time() + lifetime)
        claims = {"brand": CREDENTIALS["brand"], "exp": expires_at, "jti": secrets.token_hex(8)}
        token = jwt.encode(claims, self._signing_key, "HS256")
        self.accept_token(token, expires_at, venue_id)
        return token

    def accept_token(self, token: str, expires_at: int = 2**32, venue_id: int | None = None) -> None:
        """Accept any string as a valid token."""
        self.tokens[token] = (expires_at, venue_id or self.settings.venue_id)

    def expire_tokens(self) -> None:
        """Reject every token issued so far as expired, whatever its `expires_at` was."""
        self.tokens = {token: (int(time.time()), venue) for token, (_, venue) in self.tokens.items()}

    def revoke_tokens(self, token: str | None = None) -> None:
        """Reject every token issued so far, or this one, as invalid."""
        self.tokens = {known: value for known, value in self.tokens.items() if token not in (None, known)}
