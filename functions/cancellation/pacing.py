"""Share Clopos's quota between the queue workers, and leave a part of it to the callers of the API.

Each worker knows only its own calls and what Clopos's answers say. It makes at most its share of the quota in
any window: `(limit - reserve) / workers` calls. All workers together then never use the last `reserve` calls,
whatever they know of each other. If Clopos says that the quota is nearly used up all the same (by somebody
else, or by a worker before this one), they wait until it is not.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.transport import Answer

WINDOW_S = 60.0  # Clopos's windows are a minute long (developer.clopos.com, "Rate limits")
DEFAULT_WAIT_S = 5.0  # after a 429 that does not say how long: a twelfth of the window
RECHECK_S = 0.05  # how soon to look again while calls of our own are under way
MARGIN_S = 0.5  # a call counts from when it arrives at Clopos: the way there may differ by this much
FIRST_ANSWER_S = 2.0  # how long the other calls of a fresh worker wait for the answer to its first
MIN_CALL_S = 1  # a turn that leaves less time than this is not taken


class Pacer:
    """Decide when this worker may call Clopos next.

    Times are those of the wall clock: the monotonic one may stand still while Lambda freezes the process, and
    then a window that has passed long ago would seem to go on.

    Parameters
    ----------
    workers : int
        How many share the quota, this one included.
    reserve : int
        Calls of each window that are left to others.
    clock, sleep : callable
        The time in seconds, and a wait for so many: for tests.
    """

    def __init__(
        self,
        *,
        workers: int,
        reserve: int,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._workers = workers
        self._reserve = reserve
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()  # when those of the current window were started
        self._in_flight = 0
        self._limit: float | None = None
        self._has_answer = False
        self._remaining = math.inf  # as the last answer said it
        self._resume_at = 0.0
        self._window_s = 0.0  # the longest that Clopos has told; 0 before it has

    def take_turn(self, deadline: Deadline) -> None:
        """Wait for the turn to make one call; its answer then goes to `observe`.

        Raises
        ------
        CancelError
            `rate_limited` if the turn comes too late for the deadline.
        """
        while (wait_s := self.start_call()) > 0:
            if wait_s + MIN_CALL_S > deadline.left():
                raise CancelError(
                    "rate_limited", "no turn within Clopos's rate limit came in time", retry_after_s=wait_s
                )
            self._sleep(wait_s)

    def start_call(self) -> float:
        """Start a call and return 0, or return the seconds after which to ask again."""
        with self._lock:
            now = self._clock()
            wait_s = self._delay_s(now)
            if wait_s <= 0:
                self._calls.append(now)
                self._in_flight += 1
            return wait_s

    def _delay_s(self, now: float) -> float:
        window_s = self._window_s or WINDOW_S
        while self._calls and not now - window_s < self._calls[0] <= now:
            self._calls.popleft()  # of a window that has passed, or of a clock that was set back
        if self._resume_at - now > WINDOW_S:  # the clock was set back
            self._resume_at = now
        if self._in_flight and not self._has_answer and now - self._calls[0] < FIRST_ANSWER_S:
            return RECHECK_S  # a worker before this one may have left nothing of the quota
        if self._in_flight >= max(0.0, self._remaining - self._reserve) // self._workers:
            # Nothing but the reserve is left. At the end of the window, one call asks how things stand.
            if self._in_flight:
                return RECHECK_S  # our own answers tell more
            if now < self._resume_at:
                return self._resume_at - now
        if self._limit is None:
            return 0.0
        share = max(1, int(self._limit - self._reserve) // self._workers)
        return self._calls[-share] + window_s - now if len(self._calls) >= share else 0.0

    def observe(self, answer: Answer) -> None:
        """End a call and learn from its answer."""
        limit, remaining, reset_s, wait_s = answer.rate_limit
        with self._lock:
            self._in_flight -= 1
            self._has_answer = True
            if answer.status == 429:
                remaining, reset_s = 0.0, DEFAULT_WAIT_S if wait_s is None else wait_s
            if limit is not None:
                self._limit = limit
            if remaining is None or reset_s is None:
                return
            reset_s = min(reset_s, WINDOW_S)
            self._window_s = max(self._window_s, reset_s + MARGIN_S)
            self._remaining = remaining
            self._resume_at = self._clock() + reset_s
