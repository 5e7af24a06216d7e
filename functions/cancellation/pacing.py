"""Share Clopos's quota between the queue workers, and leave a part of it to the callers of the API.

Each worker knows only its own calls and the rate-limit headers of Clopos's answers. It makes at most its
share of the quota in any window: `(limit - reserve) / workers` calls. So all workers together never use the
last `reserve` calls, without knowing of each other. If the quota is nearly used up even so (by others, or by
an earlier worker), they wait until the window resets.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.transport import MIN_CALL_S, Answer

WINDOW_S = 60.0  # Clopos's windows are a minute long (developer.clopos.com, "Rate limits")
DEFAULT_WAIT_S = 5.0  # after a 429 that does not say how long: a twelfth of the window
RECHECK_S = 0.05  # how soon to check again while calls of our own are in flight
MARGIN_S = 0.5  # Clopos counts a call when it arrives, and network delays may differ by this much
FIRST_ANSWER_S = 2.0  # for how long a new worker waits for its first answer before it makes more calls


class Pacer:
    """Decide when this worker may call Clopos next.

    Times are measured on the wall clock: the monotonic one may stop while Lambda freezes the process, and
    then a window that ended long ago would seem to be the current one.

    Parameters
    ----------
    workers : int
        The number of workers that share the quota, this one included.
    reserve : int
        Calls of each window that are left to others.
    clock, sleep : callable
        `time.time` and `time.sleep`; tests replace them.
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
        self._calls: deque[float] = deque()  # the start times of those in the current window
        self._in_flight = 0
        self._limit: float | None = None
        self._has_answer = False
        self._remaining = math.inf  # according to the last answer
        self._resume_at = 0.0
        self._window_s = 0.0  # the longest that an answer gave; 0 before the first

    def take_turn(self, deadline: Deadline) -> None:
        """Wait until a call may be made. Its answer must then be passed to `observe`.

        Raises
        ------
        CancelError
            `rate_limited` if there is no time left for a call by then.
        """
        while (wait_s := self.start_call()) > 0:
            if wait_s + MIN_CALL_S > deadline.left():
                raise CancelError(
                    "rate_limited", "Clopos's rate limit leaves no time for this call", retry_after_s=wait_s
                )
            self._sleep(wait_s)

    def start_call(self) -> float:
        """Start a call and return 0, or return the seconds after which to try again."""
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
            self._calls.popleft()  # the window has passed, or the clock was set back
        if self._resume_at - now > WINDOW_S:  # the clock was set back
            self._resume_at = now
        if self._in_flight and not self._has_answer and now - self._calls[0] < FIRST_ANSWER_S:
            return RECHECK_S  # an earlier worker may have used up the quota
        if self._in_flight >= max(0.0, self._remaining - self._reserve) // self._workers:
            # Only the reserve is left. At the end of the window, a single call finds out what is left then.
            if self._in_flight:
                return RECHECK_S  # the answers to our own calls will tell
            if now < self._resume_at:
                return self._resume_at - now
        if self._limit is None:
            return 0.0
        share = max(1, int(self._limit - self._reserve) // self._workers)
        return self._calls[-share] + window_s - now if len(self._calls) >= share else 0.0

    def observe(self, answer: Answer) -> None:
        """End a call, and use the rate-limit headers of its answer."""
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
