"""Notice that Clopos itself fails, and call it only now and then until it works again.

After some failures in a row a worker stops calling. Its messages stay with it, inside the invocation, and one
after the other they probe: one call at a time, first after 1 s, then less and less often. The first that
Clopos answers ends the outage for all of them at once.

Why they wait inside the invocation, computed for two workers and a weekend (60 h) of outage:

- Here, two workers keep twenty messages for 157 s and hide them for 75 s on average when they have no time
  left: at most 216,000 s / 232 s = 931 receives each, of the 1,000 that the queue allows (simulated: 935 if
  two messages wait, 816 if twenty do). The rest of the backlog stays on the queue: visible, not counted, and
  ready when Clopos is back. Two waiting invocations of 0.75 GB cost 2 x 0.75 x 216,000 x $0.0000133 = $4.3.
- Handing messages back at once would hide the whole backlog for up to five minutes, count every receive, and
  leave nobody to notice the recovery in between.

Every environment only knows itself. The time between its probes grows with the number of workers, so that all
of them together make about twelve calls a minute, be they two or ten. A fresh environment first makes its own
failing calls: seven, since its threads go on to other messages before the third failure is known; up to
fourteen if connections break, of which each is tried twice. (tests/simulation)
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
from cancellation.transport import Answer

T = TypeVar("T")

FAILURES = 3  # in a row; fewer may be chance
# The first probe comes after a second. With each that fails the time is multiplied by the number of workers,
# up to 5 s for each of them: two probe after 1, 2, 4, 8, 10, 10 ... s, ten after 1, 10, 50, 50 ... s. So all
# together make about twelve calls a minute after the first 30 s.
FIRST_INTERVAL_S = 1.0
INTERVAL_S_PER_WORKER = 5.0
JITTER = 0.2  # workers that met the outage at the same moment must not go on probing at the same moments
MIN_CALL_S = 1  # a turn that leaves less time than this is of no use


@dataclass(frozen=True)
class Turn:
    """The permission to make one call, perhaps as the probe."""

    probe: bool


class Outage:
    """Whether Clopos fails, as this worker knows it.

    Parameters
    ----------
    workers : int
        How many probe at the same time, this one included.
    clock : callable
        The time in seconds, on the wall clock: the monotonic one may stand still while Lambda freezes the
        process.
    changed : threading.Condition
        The means to wait: for tests.
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
        self._waiting: deque[object] = deque()  # each message probes in its turn: a bad one holds up no other
        self._failures = 0
        self._probing = False
        self._interval_s = FIRST_INTERVAL_S
        self._next_probe_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether Clopos has failed too often in a row."""
        return self._failures >= FAILURES

    def call(self, function: Callable[[], T], attempts: list[Answer], deadline: Deadline) -> T:
        """Call a function that calls Clopos as soon as that makes sense; in an outage, until Clopos works.

        Parameters
        ----------
        function : callable
            May be called several times.
        attempts : list of Answer
            To which it adds the calls that it makes.
        deadline : Deadline
            Nothing is begun or waited for beyond it.

        Raises
        ------
        CancelError
            What the function raised, or that Clopos was not called.
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
                    failed = True  # if it was not called, then /auth was, and fails
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
        """Wait until it makes sense to call Clopos; None if that is not before the deadline."""
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
                    # Woken when something changes; a probe that is due wakes nobody else.
                    wait_s = wait_s if wait_s > 0 else self._max_interval_s
                    self._changed.wait(min(wait_s, max(0.0, deadline.left() - MIN_CALL_S)))
                return None
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def observe(self, turn: Turn, *, failed: bool | None) -> None:
        """Learn what came of a turn: whether Clopos failed; None if it was not called."""
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
