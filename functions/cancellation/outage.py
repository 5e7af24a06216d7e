"""Detect an outage of Clopos, and say when to probe: a circuit breaker that can wait.

After three failures in a row, a worker stops calling Clopos. It keeps its messages inside the invocation and
lets one of them probe now and then; the first probe that Clopos answers ends the outage
(`queue_worker.cancel_all`). Why the messages wait there is in docs/design.md, "An outage of Clopos".

An execution environment knows only its own calls. The interval between its probes grows with the number of
workers, so that all of them together make about twelve calls a minute, whether there are two or ten.
"""

import random
import threading
import time

from cancellation.deadline import Deadline
from cancellation.exchange import MIN_CALL_S

FAILURES = 3  # in a row; fewer may be a coincidence
# The first interval is 1 s. Each probe multiplies it by the number of workers, up to 5 s per worker: two
# workers probe after 1, 2, 4, 8, 10, 10 ... s, ten after 1, 10, 50, 50 ... s.
FIRST_INTERVAL_S = 1.0
INTERVAL_S_PER_WORKER = 5.0
JITTER = 0.2  # so that workers that stopped at the same moment do not probe at the same moments


class Outage:
    """The state of Clopos, as this worker sees it.

    Parameters
    ----------
    workers : int
        The number of queue workers, this one included.
    """

    def __init__(self, *, workers: int) -> None:
        self._workers = workers
        self._max_interval_s = INTERVAL_S_PER_WORKER * workers
        self._lock = threading.Lock()
        self._failures = 0
        self._interval_s = FIRST_INTERVAL_S
        self._probe_at = 0.0  # on the wall clock: the monotonic one may stop while Lambda freezes the process

    @property
    def is_on(self) -> bool:
        """Whether Clopos has failed too often in a row."""
        return self._failures >= FAILURES

    def answered(self) -> None:
        """Clopos answered a call: there is no outage, or it is over."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """Clopos failed a call."""
        with self._lock:
            self._failures += 1
            if self._failures == FAILURES:
                self._interval_s = FIRST_INTERVAL_S
                self._schedule_probe()

    def wait_for_probe(self, deadline: Deadline) -> bool:
        """Wait until the next probe is due; return False if the deadline leaves no time for it."""
        longest_s = self._max_interval_s * (1 + JITTER)  # it is longer only if the clock was set back
        wait_s = min(max(0.0, self._probe_at - time.time()), longest_s)
        is_in_time = wait_s + MIN_CALL_S <= deadline.left()
        time.sleep(wait_s if is_in_time else max(0.0, deadline.left() - MIN_CALL_S))
        if is_in_time:
            with self._lock:
                self._interval_s = min(self._max_interval_s, self._interval_s * self._workers)
                self._schedule_probe()
        return is_in_time

    def _schedule_probe(self) -> None:
        self._probe_at = time.time() + self._interval_s * random.uniform(1 - JITTER, 1 + JITTER)
