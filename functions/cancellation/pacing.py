"""Share Clopos's quota between workers that only see its `RateLimit-*` headers.

Each worker claims its share of the calls that are left, and no more at a time. When nothing is left it
waits until Clopos's `RateLimit-Reset` and makes one call, which says how things stand. A small reserve is
left alone, so that such a call of every worker still fits.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

DEFAULT_WAIT_S = 5.0  # after a 429 that does not say how long: a twelfth of the one-minute window
MAX_WAIT_S = 60.0  # the window: a longer wait is garbage, or a clock that is not ours
RESERVE = 2  # calls left alone: one for each worker
RECHECK_S = 0.05  # how soon to look again where calls of our own are under way; their answers wake us anyway


class NotInTime(Exception):
    """The turn comes after the deadline; `wait` is how many seconds from now it comes."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"the next call to Clopos may start in {wait:.1f} s")
        self.wait = wait


class Pacer:
    """Decide when this worker may call Clopos next.

    Parameters
    ----------
    workers : int
        How many share the quota, this one included.
    clock, jitter, condition
        Time in seconds, randomness from 0 to 1, and the means to wait: for tests.

    Examples
    --------
    >>> pacer = Pacer(workers=2)
    >>> with pacer.turn(deadline=time.monotonic() + 80):  # raises NotInTime
    ...     response = session.put(...)
    ...     pacer.observe(response.headers, response.status_code)
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        condition: threading.Condition | None = None,
    ) -> None:
        self._workers = workers
        self._clock = clock
        self._jitter = jitter
        self._changed = condition or threading.Condition()
        self._in_flight = 0
        self._remaining = math.inf  # nothing known: no pacing
        self._resume_at = -math.inf

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for a turn to make one call; it ends with the block."""
        with self._changed:
            while (wait := self.start()) > 0:
                now = self._clock()
                if now + wait > deadline:
                    raise NotInTime(wait)
                self._changed.wait(wait)
        try:
            yield
        finally:
            self.finish()

    def start(self) -> float:
        """Start a call and return 0, or return the seconds after which to ask again."""
        with self._changed:
            wait = self.delay(self._clock())
            if wait <= 0:
                self._in_flight += 1
            return wait

    def finish(self) -> None:
        """End a call."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def delay(self, now: float) -> float:
        """Return the seconds until one more call may start, 0 for now."""
        if math.isinf(self._remaining) or self._in_flight < (self._remaining - RESERVE) // self._workers:
            return 0.0
        return max(RECHECK_S if self._in_flight else 0.0, self._resume_at - now)

    def observe(self, headers: Mapping[str, str], status: int) -> None:
        """Learn from an answer's headers (a mapping that ignores case, as requests' does)."""
        remaining = _number(headers, "RateLimit-Remaining")
        wait = _number(headers, "RateLimit-Reset")
        with self._changed:
            if status == 429:
                remaining = 0.0
                if wait is None:
                    wait = _number(headers, "Retry-After")
                if wait is None:
                    wait = DEFAULT_WAIT_S
            if remaining is None or wait is None:
                return
            self._remaining = remaining
            self._resume_at = self._clock() + min(wait, MAX_WAIT_S) * (1 + 0.01 * self._jitter())
            self._changed.notify_all()


def _number(headers: Mapping[str, str], name: str) -> float | None:
    """Return a header's value if it is a finite number that is not negative."""
    try:
        value = float(headers.get(name, ""))
    except ValueError:  # missing, or not a number
        return None
    return value if 0 <= value < math.inf else None
