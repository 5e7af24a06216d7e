"""The workers drain a backlog against Clopos's rate limiter, in a model in which time runs faster.

Everything that depends on Clopos's window is scaled by the same factor: the window, the latency, the queue's
visibility timeout and the margin of the pacer. The time that this machine takes for a call is not, so the
model is harder on the workers than a real minute.
"""

import contextlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pygal  # type: ignore[import-untyped]
from pygal.style import LightGreenStyle  # type: ignore[import-untyped]

from local.artifact import built_template
from local.bench.machine import Machine
from local.bench.processes import RUNTIME
from local.console import say
from local.queues import Queue

QUOTA = 300  # Clopos's own
WINDOW_S = 6.0  # for its 60 s: 10,000 messages take less than four minutes
SCALE = 60 / WINDOW_S
#: 300 ms scaled are 30 ms, and a plain worker's own work takes some 5 ms of these here.
LATENCY_S = 0.025
POLL_S = 0.25
OURS, PLAIN = "queue_worker", "powertools_worker"
#: What AWS advises for a queue that Lambda reads.
PLAIN_MAX_RECEIVES = 5
#: A drain that takes this many times the quota's own time is broken off.
PATIENCE = 3


@dataclass
class Drain:
    """What became of a backlog.

    Attributes
    ----------
    messages : int
        How many there were.
    quota : int
        The calls per window that the workers may use.
    sent_s, granted_s : list of float
        When each call, and each that was not over the quota, reached Clopos: seconds from the first one.
    statuses : Counter
        The calls by their HTTP status.
    cancelled : int
        Orders that are.
    dead_letters, left : int
        Messages that were dead-lettered, and that were still on the queue when it was broken off.
    depth : list of tuple
        Seconds from the start, and the messages on the queue then.
    """

    messages: int
    quota: int
    sent_s: list[float]
    granted_s: list[float]
    statuses: Counter[int | None]
    cancelled: int
    dead_letters: int
    left: int
    depth: list[tuple[float, int]]

    @cached_property
    def seconds(self) -> float:
        """From the first call to the last."""
        return self.sent_s[-1]

    @property
    def quota_share(self) -> float:
        """How much of the quota was used from the first call to the beginning of the last burst.

        A sliding window lets a quota of calls through at once, and as many again one window later: calls come
        in bursts. Between the beginnings of two bursts lie whole windows, so that neither the first burst,
        which nobody waits for, nor the last one, when the backlog ends, changes the share.
        """
        recent = range(max(1, len(self.granted_s) - self.quota - 1), len(self.granted_s))
        last = max(recent, key=lambda number: self.granted_s[number] - self.granted_s[number - 1])
        return last / self.quota * WINDOW_S / self.granted_s[last]

    @property
    def throttled_share(self) -> float:
        """How many of the calls were answered 429."""
        return self.statuses[429] / len(self.sent_s)

    def per_window(self) -> list[int]:
        """Count the calls in each window from the first call on."""
        counts = Counter(int(second / WINDOW_S) for second in self.sent_s)
        return [counts[number] for number in range(max(counts) + 1)]


def drain(machine: Machine, artifact: Path, module: str, messages: int) -> Drain:
    """Put messages on a queue and let the workers do them."""
    machine.reset(quota=QUOTA, window=WINDOW_S, latency=LATENCY_S)
    machine.clopos.add_orders(list(range(1, messages + 1)))
    queue, dead_letters = create_queues(machine.sqs, module)
    queue.send_many(*({"order_id": order} for order in range(1, messages + 1)))
    depth: list[tuple[float, int]] = []
    patience_s = PATIENCE * WINDOW_S * max(1, messages / QUOTA)
    with workers(machine, artifact, module, QUEUE_URL=queue.url, DEAD_LETTER_QUEUE_URL=dead_letters.url):
        started = time.monotonic()
        while time.monotonic() - started < patience_s:
            left = sum(queue.counts())
            depth.append((time.monotonic() - started, left))
            if not left:
                break
            time.sleep(POLL_S)
    calls = sorted(machine.clopos.calls(), key=lambda call: call.time)
    first = calls[0].time
    return Drain(
        messages,
        QUOTA if module == PLAIN else QUOTA - int(machine.aws.variables["API_RESERVE"]),
        [call.time - first for call in calls],
        [call.time - first for call in calls if call.status != 429],
        Counter(call.status for call in calls),
        Counter(machine.clopos.statuses().values())["IGNORE"],
        sum(dead_letters.counts()),
        sum(queue.counts()),
        depth,
    )


def create_queues(sqs: Any, module: str) -> tuple[Queue, Queue]:
    """Return a new queue, with the properties that the template gives to ours, and its dead-letter queue."""
    properties = built_template()["Resources"]["Queue"]["Properties"]
    receives = PLAIN_MAX_RECEIVES if module == PLAIN else properties["RedrivePolicy"]["maxReceiveCount"]
    dead_letters = Queue.create(sqs)
    policy = {"deadLetterTargetArn": dead_letters.attribute("QueueArn"), "maxReceiveCount": receives}
    visibility_s = round(properties["VisibilityTimeout"] / SCALE)
    queue = Queue.create(sqs, VisibilityTimeout=str(visibility_s), RedrivePolicy=json.dumps(policy))
    return queue, dead_letters


@contextlib.contextmanager
def workers(machine: Machine, artifact: Path, module: str, **variables: str) -> Iterator[None]:
    """Run the workers, which start together once each of them has imported its handler."""
    with contextlib.ExitStack() as running:
        started = []
        scale = 1 if module == PLAIN else SCALE  # of the pacer's margin: only ours has one
        for _ in range(int(machine.aws.variables["QUEUE_WORKERS"])):
            worker = machine.aws.start(artifact, RUNTIME, "drain", module, scale, **variables)
            running.callback(worker.kill)
            started.append(worker)
        for worker in started:
            if worker.read() is None:
                raise RuntimeError(f"{module} did not start; its own words are above")
        for worker in started:
            worker.tell("go")
        yield


def straightness(drains: list[Drain]) -> tuple[float, float]:
    """Return seconds per message, and how straight the line is that the drains make (R squared)."""
    sizes, seconds = [drain.messages for drain in drains], [drain.seconds for drain in drains]
    return statistics.linear_regression(sizes, seconds).slope, statistics.correlation(sizes, seconds) ** 2


def plot(folder: Path, drains: dict[str, Drain]) -> None:
    """Draw the queue's depth and the calls in each window; the names are the legend."""
    style = LightGreenStyle(
        background="white", plot_background="white", colors=("#1b7837", "#b2182b", "#888")
    )
    common = {
        "style": style,
        "width": 800,
        "height": 360,
        "show_dots": False,
        "legend_at_bottom": True,
        "x_title": f"seconds ({SCALE:.0f} on the real clock)",
        "js": [],  # nothing is loaded from elsewhere
    }
    depth = pygal.XY(title="Messages on the queue", **common)
    calls = pygal.XY(title=f"Calls to Clopos per window of {WINDOW_S:.0f} s", **common)
    for name, one in drains.items():
        depth.add(name, one.depth)
        calls.add(name, [(number * WINDOW_S, count) for number, count in enumerate(one.per_window())])
    end = max(one.seconds for one in drains.values())
    calls.add("quota", [(0, QUOTA), (end, QUOTA)])
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in (("backlog", depth), ("calls", calls)):
        (folder / f"{name}.svg").write_bytes(chart.render())
        say(f"  {folder / name}.svg")
