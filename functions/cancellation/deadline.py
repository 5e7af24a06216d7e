"""Deadlines for operations that may block."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from aws_lambda_powertools.utilities.typing import LambdaContext

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """The moment after which a result is no longer waited for."""

    at: float  # seconds on the clock of `time.monotonic`

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that is `seconds` away."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of(cls, context: LambdaContext, *, margin_s: float) -> "Deadline":
        """Return the deadline that leaves `margin_s` seconds before Lambda ends the invocation."""
        return cls.after(context.get_remaining_time_in_millis() / 1000 - margin_s)

    def at_most(self, seconds: float) -> "Deadline":
        """Return this deadline, or the one that is `seconds` away if that is earlier."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    def left(self) -> float:
        """Return the seconds left, 0 if it has passed."""
        return max(0.0, self.at - time.monotonic())

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that may block, such as a DNS lookup, and stop waiting at the deadline.

        It runs in another thread. If the deadline passes, that is left behind, and `TimeoutError` is raised.
        """
        future: Future[T] = Future()

        def job() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits
                future.set_exception(exc)

        run_in_thread(job)
        return future.result(timeout=self.left())


_idle_threads: list[SimpleQueue[Callable[[], None]]] = []


def run_in_thread(job: Callable[[], None]) -> None:
    """Run a job in an idle thread, or in a new one: to start one takes a fifth of a warm call's CPU time."""
    try:
        jobs = _idle_threads.pop()
    except IndexError:  # none is idle
        jobs = SimpleQueue()
        threading.Thread(target=_work, args=(jobs,), daemon=True).start()
    jobs.put(job)


def _work(jobs: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        jobs.get()()
        _idle_threads.append(jobs)
