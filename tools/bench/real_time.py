"""Two scenes in real time: a backlog while others call the API, and an outage.

Nothing is scaled down: 300 calls in 60 s, and 300 ms for each. Two builds are compared at the same time, each
with its own simulator and emulator; for most of the time they wait.
"""

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygal  # type: ignore[import-untyped]
from pygal.style import LightGreenStyle  # type: ignore[import-untyped]

from local.emulator.clients import Queue
from local.simulator import Call, Settings
from tools.bench.builds import Build
from tools.bench.machine import Machine
from tools.bench.processes import RUNTIME, Process
from tools.progress import Progress

QUOTA, WINDOW_S = Settings().quota, Settings().window
LATENCY_S = 0.3  # of Clopos, as far as we know
BACKLOG = 900  # messages
#: Each caller has its own environment. An answer takes less than 30 s, so they make 20 calls a minute.
CALLERS, CALLER_INTERVAL_S = 10, 30
FIRST_API_ORDER = 10_001
OUTAGE = 600  # messages
OUTAGE_S = 120
SETTLED_S = 30  # the time in which a worker must detect an outage
POLL_S = 0.25
TIMEOUT_S = 600  # a scene is stopped after this time
BIN_S = 5  # of the plot


@dataclass
class Scene:
    """The result of a scene.

    Attributes
    ----------
    build : Build
        The build that ran.
    messages : int
        The number of messages, for the orders from 1 to this number.
    calls : list of Call
        Every call that Clopos received, oldest first.
    api_calls : list of dict
        Calls of the API that were made while messages waited: `at`, `seconds`, `status`.
    healed_at : float
        When the outage ended; 0 if there was none.
    dead_letters, left : int
        Messages that were dead-lettered, and that were still on the queue at the end.
    """

    build: Build
    messages: int
    calls: list[Call]
    api_calls: list[dict[str, Any]]
    healed_at: float
    dead_letters: int
    left: int

    def __post_init__(self) -> None:
        self.started_at = self.calls[0].time
        done: dict[str | None, float] = {}
        for call in self.calls:
            if call.status == 200 and int(call.order_id or 0) <= self.messages:
                done.setdefault(call.order_id, call.time)
        self.done_at = list(done.values())
        self.api_calls = [call for call in self.api_calls if call["at"] < self.done_at[-1]]

    @property
    def seconds(self) -> float:
        """From the first call to the last order of the queue."""
        return self.done_at[-1] - self.started_at

    @property
    def seconds_after_outage(self) -> float:
        """From the end of the outage to the last order of the queue."""
        return self.done_at[-1] - self.healed_at

    def quota_share(self, per_window: int) -> float:
        """The share of this quota that the queue used, in whole windows from its first order on.

        With a quota of 270 in 60 s, order 811 cannot be done sooner than 180 s after the first one.
        """
        windows = (len(self.done_at) - 1) // per_window
        return windows * WINDOW_S / (self.done_at[windows * per_window] - self.done_at[0])

    @property
    def throttled_share(self) -> float:
        """The share of the calls that were answered 429."""
        return sum(call.status == 429 for call in self.calls) / len(self.calls)

    @property
    def served_share(self) -> float:
        """The share of the API calls that were answered 200."""
        statuses = [call["status"] for call in self.api_calls]
        return statuses.count(200) / len(statuses)

    def api_seconds(self, share: float) -> float:
        """Return the time within which this share of the API's calls was answered."""
        taken: list[float] = sorted(call["seconds"] for call in self.api_calls)
        return taken[math.ceil(share * len(taken)) - 1]

    @property
    def calls_at_first(self) -> int:
        """The calls in the first seconds of the outage."""
        return sum(call.time < self.started_at + SETTLED_S for call in self.calls)

    @property
    def calls_in_worst_minute(self) -> int:
        """The most calls in any minute of the outage, after its first seconds."""
        times = [
            call.time for call in self.calls if self.started_at + SETTLED_S <= call.time < self.healed_at
        ]
        return max((sum(start <= at < start + 60 for at in times) for start in times), default=0)


Steps = Generator[int, None, Scene]  # yields how many messages are left


def backlog(machine: Machine, build: Build) -> Steps:
    """Run a scene: the workers empty the queue while others call the API."""
    machine.reset(latency=LATENCY_S)
    machine.clopos.add_orders(range(FIRST_API_ORDER, FIRST_API_ORDER + 1000))
    queue, dead_letters = fill_queue(machine, build, BACKLOG)
    with contextlib.ExitStack() as running:
        callers = [
            running.enter_context(
                started(
                    machine,
                    build,
                    "call_api",
                    build.api_timeout_s,
                    number * CALLER_INTERVAL_S / CALLERS,
                    CALLER_INTERVAL_S,
                    FIRST_API_ORDER + number,
                    CALLERS,
                )
            )
            for number in range(CALLERS)
        ]
        workers = start_workers(running, machine, build, queue, dead_letters)
        yield BACKLOG
        start = go(*workers, *callers)
        while (left := sum(queue.counts())) and time.monotonic() - start < TIMEOUT_S:
            yield left
        for caller in callers:
            caller.tell("stop")
        api_calls = [call for caller in callers for call in caller.finish(start).result["calls"]]
        calls = machine.clopos.calls(method=None)
    return Scene(build, BACKLOG, calls, api_calls, 0, sum(dead_letters.counts()), left)


def outage(machine: Machine, build: Build) -> Steps:
    """Run a scene: Clopos fails while messages wait, and the workers empty the queue when it works again."""
    machine.reset(latency=LATENCY_S)
    machine.clopos.fail_all("unavailable")
    queue, dead_letters = fill_queue(machine, build, OUTAGE)
    with contextlib.ExitStack() as running:
        workers = start_workers(running, machine, build, queue, dead_letters)
        yield OUTAGE
        start, healed_at = go(*workers), 0.0
        while (left := sum(queue.counts())) and time.monotonic() - start < TIMEOUT_S:
            if not healed_at and time.monotonic() - start >= OUTAGE_S:
                machine.clopos.heal()
                healed_at = time.monotonic()
            yield left
        calls = machine.clopos.calls(method=None)
    return Scene(build, OUTAGE, calls, [], healed_at, sum(dead_letters.counts()), left)


def fill_queue(machine: Machine, build: Build, messages: int) -> tuple[Queue, Queue]:
    """Return a new queue with a message for each order, and its dead-letter queue."""
    orders = range(1, messages + 1)
    machine.clopos.add_orders(orders)
    dead_letters = Queue.create(machine.sqs)
    redrive = {
        "deadLetterTargetArn": dead_letters.attribute("QueueArn"),
        "maxReceiveCount": build.max_receives,
    }
    queue = Queue.create(
        machine.sqs, VisibilityTimeout=str(build.visibility_s), RedrivePolicy=json.dumps(redrive)
    )
    queue.send_many(*({"order_id": order} for order in orders))
    return queue, dead_letters


def start_workers(
    running: contextlib.ExitStack, machine: Machine, build: Build, queue: Queue, dead_letters: Queue
) -> list[Process]:
    """Start the workers of a queue."""
    urls = {"QUEUE_URL": queue.url, "DEAD_LETTER_QUEUE_URL": dead_letters.url}
    return [
        running.enter_context(started(machine, build, "work", build.queue_timeout_s, **urls))
        for _ in range(build.workers)
    ]


@contextlib.contextmanager
def started(machine: Machine, build: Build, *arguments: object, **variables: str) -> Iterator[Process]:
    """Start a process that has imported its handler and waits for `go`; it is killed at the end."""
    process = machine.aws.start(build.artifact, RUNTIME, *arguments, **variables)
    try:
        if process.read() is None:
            raise RuntimeError(f"{arguments[0]} of {build.name} did not start; the reason is above")
        yield process
    finally:
        process.kill()


def go(*processes: Process) -> float:
    """Tell processes to begin, and return the time."""
    for process in processes:
        process.tell("go")
    return time.monotonic()


def play(
    title: str,
    expected_s: float,
    scene: Callable[[Machine, Build], Steps],
    sets: Sequence[tuple[Machine, Build]],
) -> list[Scene]:
    """Play a scene with all builds at the same time, and show the progress."""
    progress, start = Progress(interval_s=15), time.monotonic()
    left, scenes = {}, {}
    with contextlib.ExitStack() as running:
        steps = {
            build: running.enter_context(contextlib.closing(scene(machine, build))) for machine, build in sets
        }
        while steps:
            for build, step in list(steps.items()):
                try:
                    left[build.name] = next(step)
                except StopIteration as end:  # the scene has ended
                    scenes[build] = end.value
                    left[build.name] = 0
                    del steps[build]
            waiting = ", ".join(f"{count} left ({name})" for name, count in left.items())
            progress.show(f"{title}: {time.monotonic() - start:.0f} of about {expected_s:.0f} s, {waiting}")
            time.sleep(POLL_S)
    progress.clear()
    return [scenes[build] for _, build in sets]


# --- Plots --------------------------------------------------------------------------------------------------

GREEN, RED, ORANGE, GRAY = "#1b7837", "#b2182b", "#f4a582", "#dddddd"


def draw_outage(path: Path, scenes: Sequence[Scene]) -> None:
    """Draw the calls over time, with the outage shaded."""
    bins = [Counter(int((call.time - scene.started_at) / BIN_S) for call in scene.calls) for scene in scenes]
    top = max(count for counts in bins for count in counts.values())
    chart = _chart(f"Calls to Clopos in each {BIN_S} s", [GRAY, GREEN, RED])
    chart.add("Clopos fails", [(0, top), (OUTAGE_S, top), (OUTAGE_S, 0)], fill=True)
    for scene, counts in zip(scenes, bins, strict=True):
        points = [(number * BIN_S, counts[number]) for number in range(max(counts) + 2)]
        chart.add(scene.build.name, points)
    path.write_bytes(chart.render())


def draw_callers(path: Path, scenes: Sequence[Scene]) -> None:
    """Draw how long each caller of the API waited while the backlog was worked off."""
    chart = _chart("Seconds until a caller of the API was answered", [GREEN, RED, ORANGE], stroke=False)
    for scene in scenes:
        for name, is_served in ((scene.build.name, True), (f"{scene.build.name}: not cancelled", False)):
            points = [
                (call["at"] - scene.started_at, call["seconds"])
                for call in scene.api_calls
                if (call["status"] == 200) is is_served
            ]
            if points:
                chart.add(name, points)
    path.write_bytes(chart.render())


def _chart(title: str, colors: Sequence[str], *, stroke: bool = True) -> Any:
    return pygal.XY(
        title=title,
        style=LightGreenStyle(background="white", plot_background="white", colors=colors),
        width=800,
        height=360,
        stroke=stroke,
        show_dots=not stroke,
        legend_at_bottom=True,
        x_title="seconds",
        js=[],  # nothing is loaded from elsewhere
    )
