"""Measure one call at a time: cold starts, warm calls, batches, memory."""

import re
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.common import ROOT
from tools.bench.builds import Build
from tools.bench.machine import UNLIMITED, Machine
from tools.bench.processes import COLD, FLOOR, RUNTIME, Run
from tools.progress import Progress

EVENT = ROOT / "events" / "api.json"
COLD_ROUNDS = 15
WARM_ROUNDS = 3
WARM_CALLS = 500  # in each round
MEMORY_CALLS = 100
BATCH_ORDERS = 10
BATCH_ROUNDS = 5
CLOPOS_LATENCY_S = 0.3  # as far as we know


@dataclass
class Spread:
    """A median and an interquartile range."""

    median: float
    quartiles: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Summarize values."""
        low, middle, high = statistics.quantiles(values, n=4)
        return cls(middle, high - low)

    def ms(self) -> str:
        """Return it in milliseconds."""
        return f"{self.median * 1000:.0f} ms ± {self.quartiles * 500:.0f}"


@dataclass
class Cold:
    """The duration of a start with the first cancellation, for one kind of process.

    Attributes
    ----------
    wall_s, cpu_s : Spread
        Seconds.
    instructions : int or None
        Counted by callgrind; None without valgrind.
    """

    wall_s: Spread
    cpu_s: Spread
    instructions: int | None


def cold_starts(
    machine: Machine, builds: Sequence[Build], plain: Path, libraries: Path, *, callgrind: bool
) -> dict[str, Cold]:
    """Measure cold starts of the builds, of `plain` and of the `floor`, one after the other in each round."""
    machine.reset(**UNLIMITED)
    kinds: dict[str, tuple[Any, ...]] = {
        **{build.name: (build.artifact, COLD, EVENT) for build in builds},
        "floor": (libraries, FLOOR),
        "plain": (plain, COLD, EVENT),
    }
    runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
    progress = Progress()
    for number in range(1 + COLD_ROUNDS):
        for kind, start in kinds.items():
            progress.show(f"Cold starts: round {number} of {COLD_ROUNDS}")
            run = machine.aws.run(*start)
            if number:  # the first round only fills the machine's file cache
                runs[kind].append(run)
    counts: dict[str, int | None] = dict.fromkeys(kinds)
    for kind, start in kinds.items():
        if callgrind:
            progress.show(f"Cold starts: counting the instructions of {kind}")
            counts[kind] = instructions(machine, start)
    progress.clear()
    return {
        kind: Cold(
            Spread.of([run.wall_s for run in runs[kind]]),
            Spread.of([run.cpu_s for run in runs[kind]]),
            counts[kind],
        )
        for kind in kinds
    }


def instructions(machine: Machine, start: tuple[Any, ...]) -> int:
    """Count the instructions of one cold start; the load of the machine does not affect them."""
    with tempfile.NamedTemporaryFile(mode="r") as output:
        valgrind = machine.under("valgrind", "--tool=callgrind", f"--callgrind-out-file={output.name}")
        valgrind.run(*start)
        return int(re.findall(r"^(?:summary|totals): (\d+)", output.read(), re.MULTILINE)[0])


def warm_calls(machine: Machine, builds: Sequence[Build], libraries: Path) -> list[dict[str, float]]:
    """Measure the CPU seconds of warm calls of each build (`handler`), and of bare calls."""
    machine.reset(**UNLIMITED)
    runs: list[list[dict[str, float]]] = [[] for _ in builds]
    for _ in range(WARM_ROUNDS):
        for build, results in zip(builds, runs, strict=True):
            run = machine.aws.run(build.artifact, RUNTIME, "warm", WARM_CALLS, libraries)
            results.append(run.result)
    return [
        {kind: statistics.median(result[kind] for result in results) for kind in results[0]}
        for results in runs
    ]


def memory(machine: Machine, build: Build) -> dict[str, int]:
    """Return `peak_kib` after a cold start and many calls, and the `connections` that were opened."""
    machine.reset(**UNLIMITED)
    result: dict[str, int] = machine.aws.run(build.artifact, RUNTIME, "memory", MEMORY_CALLS).result
    return result


def batches(machine: Machine, build: Build) -> dict[str, Mapping[str, float]]:
    """Measure batches of one and of ten messages."""
    machine.reset(**UNLIMITED, latency=CLOPOS_LATENCY_S)
    return {
        name: machine.aws.run(build.artifact, RUNTIME, "batch", orders, BATCH_ROUNDS).result
        for name, orders in (("one", 1), ("ten", BATCH_ORDERS))
    }


def has_valgrind() -> bool:
    """Whether instructions can be counted."""
    try:
        return (
            subprocess.run(["valgrind", "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0
        )
    except FileNotFoundError:  # valgrind is not installed
        return False
