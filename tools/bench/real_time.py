"""Two scenes in real time: a backlog while others call the API, and an outage.

Nothing is scaled down: 300 calls in 60 s, and 300 ms for each. Two builds are compared at the same time, each
with its own simulator and emulator; for most of the time they wait.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Generator, Sequence
from typing import Any

from local.emulator.clients import Queue
from local.simulator import Call, Settings
from tools.bench.machine import RUNTIME, Machine
from tools.progress import Progress

WINDOW_S = Settings().window
LATENCY_S = 0.3  # of Clopos, as far as we know
MESSAGES = {"backlog": 900, "outage": 600}
#: Each caller has its own environment. An answer takes less than 30 s, so they make 20 calls a minute.
CALLERS, CALLER_INTERVAL_S = 10, 30
FIRST_API_ORDER = 10_001
OUTAGE_S = 120
SETTLED_S = 30  # the time in which a worker must detect an outage
POLL_S = 0.25
TIMEOUT_S = 600  # a scene is stopped after this time


#: What a scene measures: how to show it, and what is promised at most.
ROWS: dict[str, dict[str, tuple[str, float | None]]] = {
    "backlog": {
        "900 messages drain: callers of the API refused": ("{:.1%}", 0.01),
        "95th percentile of their wait": ("{:.2f} s", 1.5),
        "calls that Clopos answers 429": ("{:.2%}", 0.01),
        "quota left unused, without the reserve": ("{:.1%}", 0.03),
        "all done after": ("{:.0f} s", None),
        "messages dead-lettered": ("{:.0f}", 0),
        "orders not cancelled": ("{:.0f}", 0),
    },
    "outage": {
        "two minutes of 503, 600 messages wait: calls in the first 30 s": ("{:.0f}", None),
        "calls in the worst minute after that": ("{:.0f}", 15),
        # The quota without the reserve allows 270 orders at once, 270 after 60 s, the last 60 after 120 s.
        "all done after its end (ideal: 120 s)": ("{:.0f} s", 153),
        "messages dead-lettered": ("{:.0f}", 0),
        "orders not cancelled": ("{:.0f}", 0),
    },
}


def backlog_figures(
    calls: Sequence[Call], done_at: Sequence[float], api_calls: Sequence[dict[str, Any]], per_window: int
) -> list[float]:
    """Return the first figures of a backlog.

    The use of the quota is that in whole windows, from the first order on: with 270 calls in 60 s, order 811
    cannot be done sooner than 180 s after the first one.
    """
    api_calls = [call for call in api_calls if call["at"] < done_at[-1]]  # made while messages waited
    windows = (len(done_at) - 1) // per_window
    return [
        sum(call["status"] != 200 for call in api_calls) / len(api_calls),
        statistics.quantiles([call["seconds"] for call in api_calls], n=20)[-1],
        sum(call.status == 429 for call in calls) / len(calls),
        1 - windows * WINDOW_S / (done_at[windows * per_window] - done_at[0]),
        done_at[-1] - calls[0].time,
    ]


def outage_figures(calls: Sequence[Call], done_at: Sequence[float], healed_at: float) -> list[float]:
    """Return the first figures of an outage."""
    settled_at = calls[0].time + SETTLED_S
    times = [call.time for call in calls if settled_at <= call.time < healed_at]
    return [
        sum(call.time < settled_at for call in calls),
        max((sum(start <= at < start + 60 for at in times) for start in times), default=0),
        done_at[-1] - healed_at,
    ]


def scene(name: str, machine: Machine) -> Generator[int, None, list[float]]:
    """Play a scene with one build; yields how many messages are left, and returns the figures of `ROWS`."""
    build, orders, healed_at = machine.build, range(1, MESSAGES[name] + 1), 0.0
    machine.reset(latency=LATENCY_S)
    machine.clopos.add_orders([*orders, *range(FIRST_API_ORDER, FIRST_API_ORDER + 1000)])
    if name == "outage":
        machine.clopos.fail_all("unavailable")
    dead_letters, settings = Queue.create(machine.sqs), build.properties("Queue")
    redrive = {
        "deadLetterTargetArn": dead_letters.attribute("QueueArn"),
        "maxReceiveCount": settings["RedrivePolicy"]["maxReceiveCount"],
    }
    queue = Queue.create(
        machine.sqs, VisibilityTimeout=str(settings["VisibilityTimeout"]), RedrivePolicy=json.dumps(redrive)
    )
    queue.send(*({"order_id": order} for order in orders))
    urls = {"QUEUE_URL": queue.url, "DEAD_LETTER_QUEUE_URL": dead_letters.url}
    timeout_s = {name: build.properties(name)["Timeout"] for name in ("ApiFunction", "QueueFunction")}
    with contextlib.ExitStack() as running:
        workers = [
            machine.start("QueueFunction", RUNTIME, "work", timeout_s["QueueFunction"], references=urls)
            for _ in range(build.parameter("QueueWorkers"))
        ]
        callers = [
            machine.start(
                *("ApiFunction", RUNTIME, "call_api", timeout_s["ApiFunction"]),
                *(number * CALLER_INTERVAL_S / CALLERS, CALLER_INTERVAL_S, FIRST_API_ORDER + number, CALLERS),
            )
            for number in range(CALLERS if name == "backlog" else 0)
        ]
        for process in (*workers, *callers):
            running.callback(process.kill)
            if process.read() != "ready":
                raise RuntimeError(f"a process of {build.name} did not start; the reason is above")
        yield len(orders)
        for process in (*workers, *callers):
            process.tell("go")
        start = time.monotonic()
        while (left := sum(queue.counts())) and time.monotonic() - start < TIMEOUT_S:
            if name == "outage" and not healed_at and time.monotonic() - start >= OUTAGE_S:
                machine.clopos.heal()
                healed_at = time.monotonic()
            yield left
        for caller in callers:
            caller.tell("stop")
        api_calls = [call for caller in callers for call in caller.finish().result]
    calls = machine.clopos.calls(method=None)
    done: dict[str | None, float] = {}
    for call in calls:
        if call.status == 200 and int(call.order_id or 0) in orders:
            done.setdefault(call.order_id, call.time)
    done_at = list(done.values())
    ends = [sum(dead_letters.counts()), len(orders) - len(done)]
    if name == "outage":
        return outage_figures(calls, done_at, healed_at) + ends
    per_window = Settings().quota - build.parameter("ApiReserve")
    return backlog_figures(calls, done_at, api_calls, per_window) + ends


def play(name: str, machines: Sequence[Machine]) -> list[list[float]]:
    """Play a scene on all machines at the same time, and show the progress."""
    progress, start = Progress(interval_s=15), time.monotonic()
    left: dict[str, int] = {}
    scenes: dict[str, list[float]] = {}
    with contextlib.ExitStack() as running:
        steps = {on.build.name: running.enter_context(contextlib.closing(scene(name, on))) for on in machines}
        while len(scenes) < len(steps):
            for build in steps.keys() - scenes.keys():
                try:
                    left[build] = next(steps[build])
                except StopIteration as end:  # the scene has ended
                    left[build], scenes[build] = 0, end.value
            waiting = ", ".join(f"{count} left ({build})" for build, count in sorted(left.items()))
            progress.show(f"{name}: {time.monotonic() - start:.0f} s, {waiting}")
            time.sleep(POLL_S)
    progress.clear()
    return [scenes[build] for build in steps]
