"""A client for the controls of a simulator in another thread or process."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import requests

from local.simulator.answers import Json
from local.simulator.calls import Call
from local.simulator.controls import CONTROLS_PATH
from local.simulator.faults import AnyFault, Fault
from local.simulator.settings import BASE_PATH


class SimulatorClient:
    """The controls of the simulator at an address.

    A fault is a `Fault`, its fields as a dict, or its name in `FAULTS` or `RUDE_FAULTS`. New faults are
    added after those that are still pending. A call with an invalid token, or over the quota, is rejected as
    usual and uses up no fault.

    Parameters
    ----------
    url
        The simulator's URL, with or without the base path.

    Raises
    ------
    ValueError
        Every method, if the simulator does not accept its arguments.
    """

    def __init__(self, url: str) -> None:
        self._root = url.rstrip("/").removesuffix(BASE_PATH)
        self.url = self._root + BASE_PATH
        self._session = requests.Session()
        self._session.trust_env = False  # never through a proxy

    def reset(self) -> None:
        """Restore the initial state: settings, orders, calls, faults and quotas. Tokens stay valid."""
        self._send("reset")

    def configure(self, **settings: Any) -> Json:
        """Change some `Settings`, and return all. If a quota changes, its count starts at zero again."""
        return dict(self._send("configure", **settings))

    def add_order(
        self,
        order_id: int | str,
        venue_id: int | None = None,
        status: str = "PENDING",
        receipt_id: int | None = None,
        **fields: Any,
    ) -> Json:
        """Create an order, or replace the one with this id.

        Parameters
        ----------
        order_id
            Its id. If it has only digits, it is a number in Clopos's answers.
        venue_id
            Its venue; None for the one in the settings.
        status
            ``PENDING``, ``RECEIVED``, ``DELIVERED`` or ``IGNORE``.
        receipt_id
            The id of its receipt (accepted orders have one); None for no receipt.
        **fields
            More fields of the order, or other values for the usual ones.
        """
        order = {"order_id": order_id, "venue_id": venue_id, "status": status, "receipt_id": receipt_id}
        return dict(self._send("add_order", **order, **fields))

    def add_orders(
        self, order_ids: Iterable[int | str], venue_id: int | None = None, status: str = "PENDING"
    ) -> None:
        """Create many orders."""
        self._send("add_orders", order_ids=list(order_ids), venue_id=venue_id, status=status)

    def order(self, order_id: int | str) -> Any:
        """Return an order as it is now, without personal data and receipt; None if there is none."""
        return self._send("order", order_id=order_id)

    def statuses(self) -> dict[str, str]:
        """Return the status of every order, by its id as a string."""
        return dict(self._send("statuses"))

    def fail(self, order_id: int | str, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next PUTs of an order with these faults, one each.

        The last one is repeated for `repeat` calls (None: without end).
        """
        self._send("fail", order_id=order_id, faults=_as_json(faults), repeat=repeat)

    def fail_all(self, *faults: AnyFault, repeat: int | None = None) -> None:
        """Answer the next PUTs of all orders with these faults. They come before those of `fail`."""
        self._send("fail_all", faults=_as_json(faults), repeat=repeat)

    def fail_get(self, order_id: int | str, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next GETs of an order with these faults, one each."""
        self._send("fail_get", order_id=order_id, faults=_as_json(faults), repeat=repeat)

    def fail_all_gets(self, *faults: AnyFault, repeat: int | None = None) -> None:
        """Answer the next GETs of all orders with these faults. They come before those of `fail_get`."""
        self._send("fail_all_gets", faults=_as_json(faults), repeat=repeat)

    def fail_auth(self, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next calls of /auth with these faults, one each."""
        self._send("fail_auth", faults=_as_json(faults), repeat=repeat)

    def fail_some(self, probability: float, *faults: AnyFault, seed: int = 0) -> None:
        """Answer other PUTs with one of the faults, at random, with this probability.

        Only the seed, the order and the number of its PUTs decide. So the same seed gives the same faults,
        regardless of the order in which the calls of several workers arrive.
        """
        self._send("fail_some", probability=probability, faults=_as_json(faults), seed=seed)

    def heal(self) -> None:
        """Remove all pending faults."""
        self._send("heal")

    def calls(self, order_id: int | str | None = None, method: str | None = "PUT") -> list[Call]:
        """Return the calls received, oldest first. None means any order, or any method."""
        return [Call(**call) for call in self._send("calls", order_id=order_id, method=method)]

    def issue_token(self, expires_in: float | None = None, venue_id: int | None = None) -> str:
        """Return a new token; the others stay valid. With a negative `expires_in`, it has already expired."""
        return str(self._send("issue_token", expires_in=expires_in, venue_id=venue_id))

    def accept_token(self, token: str, expires_at: int = 2**32, venue_id: int | None = None) -> None:
        """Accept any string as a valid token."""
        self._send("accept_token", token=token, expires_at=expires_at, venue_id=venue_id)

    def expire_tokens(self) -> None:
        """Reject every token issued so far as expired, whatever its `expires_at` was."""
        self._send("expire_tokens")

    def revoke_tokens(self, token: str | None = None) -> None:
        """Reject every token issued so far, or this one, as invalid."""
        self._send("revoke_tokens", token=token)

    def _send(self, name: str, **arguments: Any) -> Any:
        body = json.dumps(arguments, default=_bytes_as_text)
        answer = self._session.post(self._root + CONTROLS_PATH + name, data=body, timeout=30)
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        answer.raise_for_status()
        return answer.json()


def _as_json(faults: Iterable[AnyFault]) -> list[Json | str]:
    return [dataclasses.asdict(fault) if isinstance(fault, Fault) else fault for fault in faults]


def _bytes_as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")  # `Answer.content` turns it into bytes again
    raise TypeError(f"{type(value).__name__} is no JSON")
