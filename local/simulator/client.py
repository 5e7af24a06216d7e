"""A client for the controls of a simulator, which are called over HTTP."""

import dataclasses
import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import requests

from local.simulator.answers import Call
from local.simulator.faults import AnyFault, Fault
from local.simulator.settings import BASE_PATH
from local.simulator.state import CONTROLS, State

CONTROLS_PATH = "/_simulator/"


class SimulatorClient:
    """The controls of the simulator at an address: the methods of `State` that are named in `CONTROLS`.

    A fault is a `Fault`, its fields as a dict, or its name: see `find`. New faults are added after those that
    are still pending, and the last one is repeated for `repeat` calls (None: without end). A call with an
    invalid token, or over the quota, is rejected as usual and uses up no fault. Arguments that the simulator
    does not accept are a ValueError.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # never through a proxy

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in CONTROLS:
            raise AttributeError(f"the simulator has no control {name!r}")
        return partial(self._send, name)

    def calls(self, order_id: int | str | None = None, method: str | None = "PUT") -> list[Call]:
        """Return the calls received, oldest first. None means any order, or any method."""
        return [Call(**call) for call in self._send("calls", order_id, method)]

    def fail(self, order_id: int | str, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next PUTs of an order with these faults, one each."""
        self._send("script", f"PUT {order_id}", faults, repeat)

    def fail_all(self, *faults: AnyFault, repeat: int | None = None) -> None:
        """Answer the next PUTs of all orders with these faults. They come before those of `fail`."""
        self._send("script", "PUT", faults, repeat)

    def fail_get(self, order_id: int | str, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next GETs of an order with these faults, one each."""
        self._send("script", f"GET {order_id}", faults, repeat)

    def fail_all_gets(self, *faults: AnyFault, repeat: int | None = None) -> None:
        """Answer the next GETs of all orders with these faults. They come before those of `fail_get`."""
        self._send("script", "GET", faults, repeat)

    def fail_auth(self, *faults: AnyFault, repeat: int | None = 1) -> None:
        """Answer the next calls of /auth with these faults, one each."""
        self._send("script", "auth", faults, repeat)

    def _send(self, name: str, /, *positional: Any, **named: Any) -> Any:
        bound = inspect.signature(getattr(State, name)).bind(None, *positional, **named)
        arguments = {key: value for key, value in bound.arguments.items() if key != "self"}
        arguments |= arguments.pop("fields", {}) | arguments.pop("settings", {})
        body = json.dumps(arguments, default=_as_json)
        answer = self._session.post(
            self.url.removesuffix(BASE_PATH) + CONTROLS_PATH + name, data=body, timeout=30
        )
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        answer.raise_for_status()
        return answer.json()


def _as_json(value: Any) -> Any:
    if isinstance(value, Fault):
        return dataclasses.asdict(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")  # `Answer.content` turns it into bytes again
    return list(value)  # any other iterable; raises TypeError for the rest
