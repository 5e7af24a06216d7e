"""Select the fault for each call."""

import dataclasses
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

from local.simulator.calls import Call
from local.simulator.catalogue import find
from local.simulator.faults import AnyFault, Fault


class FaultScripts:
    """The pending faults.

    A script is a queue of faults for some calls: those of /auth (``auth``), all PUTs or GETs (``PUT``,
    ``GET``), or those of one order (``PUT 108``).
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all faults."""
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.draw(0, [], seed=0)

    def add(self, key: str, faults: Sequence[AnyFault], repeat: int | None) -> None:
        """Add faults at the end of a script; the last one lasts for `repeat` calls (None: without end)."""
        if not faults:
            raise ValueError("at least one fault is needed")
        *script, last = (find(fault) for fault in faults)
        self._scripts[key] += [*script, last if repeat == 1 else dataclasses.replace(last, repeat=repeat)]

    def draw(self, probability: float, faults: Iterable[AnyFault], seed: int) -> None:
        """Answer PUTs without a script with one of the faults, at random."""
        self._probability, self._faults, self._seed = probability, [find(fault) for fault in faults], seed
        self._draws: Counter[str | None] = Counter()

    def next(self, call: Call) -> Fault | None:
        """Return the fault for this call, and count it as used."""
        keys = ("auth",) if call.method == "POST" else (call.method, f"{call.method} {call.order_id}")
        for key in keys:
            if self._scripts[key]:
                return self._take(self._scripts[key])
        return self._drawn(call.order_id) if call.method == "PUT" else None

    def _take(self, script: deque[Fault]) -> Fault:
        fault = script.popleft()
        if fault.repeat != 1:
            left = fault.repeat and fault.repeat - 1
            script.appendleft(dataclasses.replace(fault, repeat=left))
        return fault

    def _drawn(self, order_id: str | None) -> Fault | None:
        if not self._faults:
            return None
        # The result depends on the order and its number of draws, not on the timing of workers.
        self._draws[order_id] += 1
        chance = random.Random(f"{self._seed}/{order_id}/{self._draws[order_id]}")
        return chance.choice(self._faults) if chance.random() < self._probability else None
