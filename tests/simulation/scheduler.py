"""Threads that take turns on a virtual clock, so that a run depends on nothing but its seed.

A thread is a greenlet. It runs until it blocks; then the clock jumps to whatever is due next. Several that are due at
the same time run in a random order: that of the seed. What blocks is made of two steps, `park` and `wake`.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet


@dataclass(eq=False)
class Process:
    """Threads that freeze and die together, as those of a Lambda environment do."""

    name: str
    clock_stops: bool = False  # whether the monotonic clock stands still while it is frozen
    threads: dict["Thread", None] = field(default_factory=dict)
    is_dead: bool = False
    frozen_at: float | None = None
    frozen_s: float = 0.0
    held: list[tuple["Thread", int]] = field(default_factory=list)  # due while it was frozen


class Thread(greenlet):
    """A thread; `turn` tells the newest entry in the agenda from those that are out of date."""

    process: Process
    turn = 0
    is_woken = True


class Scheduler:
    """The clock, and what is due when."""

    def __init__(self, seed: object, starts_at: float = 1_800_000_000.0) -> None:
        self.random = random.Random(f"{seed}")
        self.now = self.started_at = starts_at
        self.world = Process("world")
        self._agenda: list[tuple[float, float, int, Thread, int]] = []
        self._numbers = itertools.count()
        self._hub = getcurrent()
        self.Lock, self.Future = partial(Lock, self), partial(Future, self)
        self.ThreadPoolExecutor = partial(ThreadPoolExecutor, self)

    def start(self, function: Callable[..., Any], *args: Any, process: Process | None = None) -> None:
        """Start a thread, in the process of the one that starts it if none is given."""
        thread = Thread(partial(function, *args), self._hub)
        thread.process = process or self.process
        thread.process.threads[thread] = None
        self._push(thread, self.now)

    @property
    def process(self) -> Process:
        """The process of the thread that runs."""
        return getattr(getcurrent(), "process", self.world)

    def at(self, moment: float, function: Callable[..., Any], *args: Any) -> None:
        """Run a function of the world at some time."""
        self.start(lambda: (self.sleep(moment - self.now), function(*args)), process=self.world)

    def park(self, timeout_s: float = math.inf) -> bool:
        """Block the thread that runs until it is woken or the time has passed; return whether it was woken."""
        thread = getcurrent()
        assert isinstance(thread, Thread), "only a thread may block"
        if thread.process.is_dead:
            raise GreenletExit
        thread.is_woken = False
        if timeout_s < math.inf:
            self._push(thread, self.now + max(0.0, timeout_s))
        self._hub.switch()
        return thread.is_woken

    sleep = park

    def wake(self, thread: Thread) -> None:
        if not thread.is_woken:
            thread.is_woken = True
            self._push(thread, self.now)

    def _push(self, thread: Thread, at: float) -> None:
        heapq.heappush(self._agenda, (at, self.random.random(), next(self._numbers), thread, thread.turn))

    def run(self, until: float = math.inf, done: Callable[[], bool] = lambda: False) -> None:
        """Run the threads until a time, or until `done` says so."""
        while self._agenda and self._agenda[0][0] <= until and not done():
            at, _, _, thread, turn = heapq.heappop(self._agenda)
            process = thread.process
            if turn != thread.turn or process.is_dead:
                continue
            if process.frozen_at is not None:
                process.held.append((thread, turn))
                continue
            self.now = max(self.now, at)
            thread.turn += 1
            thread.switch()
            if thread.dead:
                process.threads.pop(thread, None)
        if until < math.inf and not done():
            self.now = max(self.now, until)

    def freeze(self, process: Process) -> None:
        process.frozen_at = self.now

    def thaw(self, process: Process) -> None:
        if process.frozen_at is not None:
            process.frozen_s += self.now - process.frozen_at
            process.frozen_at = None
            for thread, turn in process.held:
                if turn == thread.turn:
                    self._push(thread, self.now)
            process.held.clear()

    def kill(self, process: Process) -> None:
        """End a process wherever it is. Its threads unwind, but nothing that they do then has an effect."""
        process.is_dead = True
        for thread in [*process.threads]:
            thread.parent = getcurrent()
            thread.throw(GreenletExit)
        process.threads.clear()

    def monotonic(self) -> float:
        """Return the time of the process's own clock."""
        process = self.process
        return self.now - self.started_at - (process.frozen_s if process.clock_stops else 0.0)


class Lock:
    """`threading.Lock`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._released: Future | None = None  # None if it is not held

    def acquire(self, timeout: float = -1) -> bool:
        until = math.inf if timeout < 0 else self._scheduler.now + timeout
        while self._released:
            try:
                self._released.result(until - self._scheduler.now)
            except TimeoutError:
                return False
        self._released = Future(self._scheduler)
        return True

    def release(self) -> None:
        released, self._released = self._released, None
        assert released
        released.set_result(None)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Future:
    """`concurrent.futures.Future`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._waiting: list[Any] = []

    def set_result(self, result: Any) -> None:
        self._set(result, None)

    def set_exception(self, exception: BaseException) -> None:
        self._set(None, exception)

    def _set(self, result: Any, exception: BaseException | None) -> None:
        self._outcome = self._outcome or (result, exception)
        for thread in self._waiting:
            self._scheduler.wake(thread)

    def result(self, timeout: float | None = None) -> Any:
        until = math.inf if timeout is None else self._scheduler.now + timeout
        while self._outcome is None:
            thread = getcurrent()
            self._waiting.append(thread)
            self._scheduler.park(until - self._scheduler.now)
            self._waiting.remove(thread)
            if self._outcome is None:
                raise TimeoutError
        result, exception = self._outcome
        if exception:
            raise exception
        return result


class ThreadPoolExecutor:
    """`concurrent.futures.ThreadPoolExecutor`, as far as `map` goes, and one `map` at a time."""

    def __init__(self, scheduler: Scheduler, max_workers: int) -> None:
        self._scheduler, self._max_workers = scheduler, max_workers

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        calls = deque((self._scheduler.Future(), item) for item in items)
        futures = [future for future, _ in calls]

        def work() -> None:
            while calls:
                future, item = calls.popleft()
                try:
                    future.set_result(function(item))
                except Exception as exc:  # noqa: BLE001 - raised again when the result is read
                    future.set_exception(exc)

        for _ in range(min(self._max_workers, len(calls))):
            self._scheduler.start(work)
        return (future.result() for future in futures)
