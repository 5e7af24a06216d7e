"""Share Clopos's quota between the queue workers, and leave a part of it to the callers of the API.

Each worker knows only its own calls and the rate-limit headers of Clopos's answers. It makes at most its
share of the quota in any window: `(limit - reserve) / workers` calls. So all workers together never use the
last `reserve` calls, without knowing of each other. If others use the quota, or an earlier worker has used
it, `RateLimit-Remaining` says so, and this worker pauses until the window resets.
"""

import threading
import time
from collections import deque

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.exchange import MIN_CALL_S, Exchange

LIMIT = 300  # calls per window, unless an answer says otherwise (developer.clopos.com, "Rate limits")
# A window is a minute. Clopos counts a call when it arrives, and network delays may differ by half a second.
WINDOW_S = 60.5
# An earlier worker may have used up the quota: for so long, a new one makes no call beside its first.
FIRST_ANSWER_S = 2.0
RECHECK_S = 0.05
DEFAULT_PAUSE_S = 5.0  # after a 429 that does not say how long: a twelfth of the window


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
    """

    def __init__(self, *, workers: int, reserve: int) -> None:
        self._workers = workers
        self._reserve = reserve
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()  # when those in the current window were made
        self._limit: float | None = None
        self._paused_until = 0.0

    def wait(self, deadline: Deadline) -> None:
        """Wait until a call may be made; raises `rate_limited` if the deadline leaves no time for it."""
        while (wait_s := self._start_call()) > 0:
            if wait_s + MIN_CALL_S > deadline.left():
                raise CancelError(
                    "rate_limited", "Clopos's rate limit leaves no time for this call", retry_after_s=wait_s
                )
            time.sleep(wait_s)

    def _start_call(self) -> float:
        """Start a call and return 0, or return the seconds after which to try again."""
        with self._lock:
            now = time.time()
            if 0 < self._paused_until - now <= WINDOW_S:  # it is longer only if the clock was set back
                return self._paused_until - now
            while self._calls and not now - WINDOW_S < self._calls[0] <= now:
                self._calls.popleft()
            if self._limit is None and self._calls and now - self._calls[0] < FIRST_ANSWER_S:
                return RECHECK_S
            share = max(1, int((self._limit or LIMIT) - self._reserve) // self._workers)
            if len(self._calls) >= share:
                return self._calls[-share] + WINDOW_S - now
            self._calls.append(now)
            return 0

    def observe(self, exchange: Exchange) -> None:
        """Use the rate-limit headers of an answer."""
        limit, remaining, reset_s, retry_after_s = exchange.rate_limit
        pause_s: float | None = None
        if exchange.status == 429:
            pause_s = DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s
        elif remaining is not None and remaining <= self._reserve:
            pause_s = reset_s
        with self._lock:
            self._limit = limit or self._limit or LIMIT
            if pause_s is not None:
                self._paused_until = time.time() + min(pause_s, WINDOW_S)
