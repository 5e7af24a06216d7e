"""Detect an outage of Clopos, and probe until it is over: a circuit breaker.

After three failures in a row, a worker stops calling Clopos. Its messages wait inside the invocation and take
turns to probe: one call at a time, the first after 1 s, then less and less often. The first probe that Clopos
answers ends the outage for all of them at once.

Why messages wait inside the invocation, calculated for two workers and an outage of a weekend (60 h):

- In this way, two workers keep twenty messages for 157 s and then hide them for 75 s on average. Each message
  is received at most 216,000 s / 232 s = 931 times, of the 1,000 times that the queue allows (simulated: 935
  with two messages waiting, 816 with twenty). The rest of the backlog stays visible on the queue: it is not
  received, and it is ready when Clopos is back. The two invocations, of 0.75 GB each, cost
  2 x 0.75 x 216,000 x $0.0000133 = $4.3.
- Deferring messages at once would hide the whole backlog for up to five minutes and count every receive, and
  in between nothing would notice that Clopos is back.

An execution environment knows only its own calls. The interval between its probes grows with the number of
workers, so that all of them together make about twelve calls a minute, whether there are two or ten. A new
environment starts with failing calls of its own: seven, because its threads start on further messages before
the third failure is known; up to fourteen if connections break, because those calls are made twice.
(tests/simulation)
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cancellation.deadline import Deadline
from cancellation.errors import OUTAGE_ERRORS, CancelError
from cancellation.transport import MIN_CALL_S, Answer

T = TypeVar("T")

FAILURES = 3  # in a row; fewer may be a coincidence
# The first interval is 1 s. Each failed probe multiplies it by the number of workers, up to 5 s per worker:
# two workers probe after 1, 2, 4, 8, 10, 10 ... s, ten after 1, 10, 50, 50 ... s. After the first 30 s, all
# of them together make about twelve calls a minute.
FIRST_INTERVAL_S = 1.0
INTERVAL_S_PER_WORKER = 5.0
JITTER = 0.2  # so that workers that stopped at the same moment do not probe at the same moments


@dataclass(frozen=True)
class Turn:
    """The permission to make one call; `probe` is whether that call is the probe."""

    probe: bool


class Outage:
    """The state of Clopos, as this worker sees it.

    Parameters
    ----------
    workers : int
        The number of queue workers, this one included.
    clock : callable
        The time in seconds, on the wall clock: the monotonic one may stand still while Lambda freezes the
        process.
    changed : threading.Condition
        What threads wait on; tests replace it.
    """

    def __init__(
        self,
        *,
        workers: int,
        clock: Callable[[], float] = time.time,
        changed: threading.Condition | None = None,
    ) -> None:
        self._workers = workers
        self._max_interval_s = INTERVAL_S_PER_WORKER * workers
        self._clock = clock
        self._changed = changed or threading.Condition()
        self._waiting: deque[object] = deque()  # probe in this order, so that a bad one blocks no other
        self._failures = 0
        self._probing = False
        self._interval_s = FIRST_INTERVAL_S
        self._next_probe_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether Clopos has failed too often in a row."""
        return self._failures >= FAILURES

    def call(self, function: Callable[[], T], attempts: list[Answer], deadline: Deadline) -> T:
        """Call a function that calls Clopos. In an outage, let it probe, and repeat it until it succeeds.

        Parameters
        ----------
        function : callable
            May be called several times.
        attempts : list of Answer
            The function appends its calls to Clopos to this list.
        deadline : Deadline
            No call is started or waited for after it.

        Raises
        ------
        CancelError
            The function's error, or one that says that Clopos was not called.
        """
        problem: CancelError | None = None
        while turn := self.take_turn(deadline):
            attempts_before, failed = len(attempts), None
            try:
                result = function()
                failed = False
                return result
            except CancelError as exc:
                problem = exc
                called = len(attempts) > attempts_before
                if exc.code in OUTAGE_ERRORS and (called or deadline.left() > MIN_CALL_S):
                    failed = True  # if no order was called for, then /auth was, and failed
                elif called:
                    failed = False
            finally:
                self.observe(turn, failed=failed)
            if not (failed and self.is_on):
                raise problem
        if problem:
            raise problem
        if self.is_on:
            raise CancelError("clopos_unavailable", "Clopos is failing; the order waits until it works")
        raise CancelError("clopos_timeout", "no time was left to call Clopos")

    def take_turn(self, deadline: Deadline) -> Turn | None:
        """Wait for the permission to call Clopos; None if it does not come before the deadline."""
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                while deadline.left() > MIN_CALL_S:
                    if not self.is_on:
                        return Turn(probe=False)
                    wait_s = self._next_probe_at - self._clock()
                    if wait_s > self._max_interval_s * (1 + JITTER):  # the clock was set back
                        self._next_probe_at, wait_s = self._clock(), 0
                    if self._waiting[0] is me and not self._probing and wait_s <= 0:
                        self._probing = True
                        return Turn(probe=True)
                    # Changes wake this thread earlier. Nothing else wakes it when its probe is due.
                    wait_s = wait_s if wait_s > 0 else self._max_interval_s
                    self._changed.wait(min(wait_s, max(0.0, deadline.left() - MIN_CALL_S)))
                return None
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def observe(self, turn: Turn, *, failed: bool | None) -> None:
        """Use the result of a turn: whether Clopos failed, or None if it was not called."""
        with self._changed:
            if turn.probe:
                self._probing = False
            if failed is False:
                self._failures = 0
            elif failed:
                was_on = self.is_on
                self._failures += 1
                if turn.probe:
                    self._interval_s = min(self._max_interval_s, self._interval_s * self._workers)
                elif not was_on:
                    self._interval_s = FIRST_INTERVAL_S
                if turn.probe or not was_on:
                    interval_s = self._interval_s * random.uniform(1 - JITTER, 1 + JITTER)
                    self._next_probe_at = self._clock() + interval_s
            self._changed.notify_all()
