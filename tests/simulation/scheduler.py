"""Threads that take turns on a virtual clock, so that a run depends on nothing but its seed.

A thread is a greenlet. It runs until it blocks; then the clock jumps to whatever is due next. Several that are due at
the same time run in a random order: that of the seed. What blocks is made of two steps, `park` and `wake`.
"""

import heapq
import itertools
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import GenericAlias, SimpleNamespace
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet


class Process:
    """Threads that freeze and die together, as those of a Lambda environment do."""

    def __init__(self, name: str, *, clock_stops: bool = False) -> None:
        self.name = name
        self.clock_stops = clock_stops  # whether the monotonic clock stands still while it is frozen
        self.threads: dict[Thread, None] = {}
        self.is_dead = False
        self.frozen_at: float | None = None
        self.frozen_s = 0.0
        self.held: list[tuple[Thread, int]] = []  # due while it was frozen


class Thread(greenlet):
    """A thread; `turn` tells the newest entry in the agenda from those that are out of date."""

    process: Process
    turn = 0
    is_woken = False


class Scheduler:
    """The clock, and what is due when."""

    def __init__(self, seed: object, starts_at: float = 1_800_000_000.0) -> None:
        self.random = random.Random(f"{seed}")
        self.now = self.started_at = starts_at
        self.world = Process("world")
        self._agenda: list[tuple[float, float, int, Thread, int]] = []
        self._numbers = itertools.count()
        self._hub = getcurrent()
        self.Lock, self.Condition, self.Future, self.ThreadPoolExecutor = (
            type(kind.__name__, (kind,), {"scheduler": self})
            for kind in (Lock, Condition, Future, ThreadPoolExecutor)
        )

    # -- threads

    def start(self, function: Callable[..., Any], *args: Any, process: Process | None = None) -> Thread:
        """Start a thread, in the process of the one that starts it if none is given."""
        thread = Thread(function, self._hub)
        thread.process = process or self.process
        thread.process.threads[thread] = None
        thread.is_woken = True
        thread.args = args  # type: ignore[attr-defined]
        self._push(thread, self.now)
        return thread

    @property
    def process(self) -> Process:
        """The process of the thread that runs."""
        current = getcurrent()
        return current.process if isinstance(current, Thread) else self.world

    def at(self, moment: float, function: Callable[..., Any], *args: Any) -> None:
        """Run a function of the world at some time."""

        def wait() -> None:
            self.sleep(max(0.0, moment - self.now))
            function(*args)

        self.start(wait, process=self.world)

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

    def wake(self, thread: Thread) -> None:
        """Let a blocked thread continue."""
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
            if thread:  # it has begun
                thread.switch()
            else:
                thread.switch(*thread.args)  # type: ignore[attr-defined]
            if thread.dead:
                process.threads.pop(thread, None)
        if until < math.inf and not done():
            self.now = max(self.now, until)

    def freeze(self, process: Process) -> None:
        """Stop a process, as Lambda does between two invocations."""
        process.frozen_at = self.now

    def thaw(self, process: Process) -> None:
        """Let it continue; what was due meanwhile is due now."""
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

    # -- the modules that the code gets in place of time, threading, concurrent.futures and random

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.park(seconds)

    def monotonic(self) -> float:
        """Return the time of the process's own clock."""
        process = self.process
        return self.now - self.started_at - (process.frozen_s if process.clock_stops else 0.0)

    def modules(self) -> dict[str, Any]:
        """Return the replacements by the modules' names."""

        return {
            "time": SimpleNamespace(time=lambda: self.now, monotonic=self.monotonic, sleep=self.sleep),
            "random": self.random,
            "threading": SimpleNamespace(
                Lock=self.Lock,
                Condition=self.Condition,
                local=threading.local,  # only the transport keeps something in it, which is not run here
                Thread=lambda target, daemon: SimpleNamespace(start=lambda: self.start(target)),
            ),
            "concurrent.futures": SimpleNamespace(
                Future=self.Future, ThreadPoolExecutor=self.ThreadPoolExecutor
            ),
        }


class _Blocking:
    """What may block a thread of the scheduler."""

    scheduler: Scheduler  # each scheduler has subclasses of its own


class Lock(_Blocking):
    """`threading.Lock`."""

    def __init__(self) -> None:
        self._is_held = False
        self._waiting: deque[Thread] = deque()

    def acquire(self, timeout: float = -1) -> bool:
        until = math.inf if timeout < 0 else self.scheduler.now + timeout
        while self._is_held:
            thread = getcurrent()
            self._waiting.append(thread)
            is_woken = self.scheduler.park(until - self.scheduler.now)
            if thread in self._waiting:
                self._waiting.remove(thread)
            if not is_woken:
                return False
        self._is_held = True
        return True

    def release(self) -> None:
        self._is_held = False
        if self._waiting:
            self.scheduler.wake(self._waiting.popleft())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition(_Blocking):
    """`threading.Condition`. It needs no lock: no other thread runs until this one blocks, which only `wait` does."""

    def __init__(self) -> None:
        self._waiting: list[Thread] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout: float = math.inf) -> bool:
        thread = getcurrent()
        self._waiting.append(thread)
        is_woken = self.scheduler.park(timeout)
        if not is_woken:
            self._waiting.remove(thread)
        return is_woken

    def notify_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for thread in waiting:
            self.scheduler.wake(thread)


class Future(_Blocking):
    """`concurrent.futures.Future`."""

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self) -> None:
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._waiting: list[Thread] = []

    def done(self) -> bool:
        return self._outcome is not None

    def set_result(self, result: Any) -> None:
        self._set(result, None)

    def set_exception(self, exception: BaseException) -> None:
        self._set(None, exception)

    def _set(self, result: Any, exception: BaseException | None) -> None:
        if self._outcome is None:
            self._outcome = result, exception
            for thread in self._waiting:
                self.scheduler.wake(thread)

    def result(self, timeout: float | None = None) -> Any:
        until = math.inf if timeout is None else self.scheduler.now + timeout
        while self._outcome is None:
            thread = getcurrent()
            self._waiting.append(thread)
            self.scheduler.park(until - self.scheduler.now)
            self._waiting.remove(thread)
            if self._outcome is None:
                raise TimeoutError
        result, exception = self._outcome
        if exception:
            raise exception
        return result


class ThreadPoolExecutor(_Blocking):
    """`concurrent.futures.ThreadPoolExecutor`, as far as `map` goes, and one `map` at a time."""

    def __init__(self, max_workers: int) -> None:
        self._max_workers = max_workers

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        calls = deque((self.scheduler.Future(), args) for args in zip(*iterables, strict=True))
        futures = [future for future, _ in calls]

        def work() -> None:
            while calls:
                future, args = calls.popleft()
                try:
                    future.set_result(function(*args))
                except Exception as exc:  # noqa: BLE001 - raised again when the result is read
                    future.set_exception(exc)

        for _ in range(min(self._max_workers, len(calls))):
            self.scheduler.start(work)
        return (future.result() for future in futures)
