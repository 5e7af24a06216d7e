"""One call at a time: cold starts, warm calls, batches, the package."""

import re
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.bench.machine import UNLIMITED, Machine
from local.bench.processes import FLOOR, RUNTIME, Run
from local.console import say

COLD_ROUNDS = 15
WARM_ROUNDS = 1000
MEMORY_CALLS = 100
BATCH_ORDERS = 10
BATCH_ROUNDS = 5
CLOPOS_LATENCY_S = 0.3  # what Clopos takes, as far as we know
MB = 1_000_000


@dataclass
class Spread:
    """A median, and how far the middle half of the values lies apart."""

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
    """What starting and the first cancellation take, of one kind of process.

    Attributes
    ----------
    wall_s, cpu_s : Spread
        Seconds.
    instructions : int or None
        As callgrind counts them; None without valgrind.
    """

    wall_s: Spread
    cpu_s: Spread
    instructions: int | None


def cold_starts(
    machine: Machine, artifact: Path, plain: Path, libraries: Path, *, callgrind: bool
) -> dict[str, Cold]:
    """Measure cold starts of ours, of the floor, and of a plain build, one after the other in each round."""
    machine.reset(**UNLIMITED)
    kinds: dict[str, tuple[Any, ...]] = {
        "ours": (artifact, RUNTIME, "cold"),
        "floor": (libraries, FLOOR),
        "plain": (plain, RUNTIME, "cold"),
    }
    runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
    for number in range(1 + COLD_ROUNDS):
        say(f"  cold starts, round {number} of {COLD_ROUNDS}")
        for kind, start in kinds.items():
            run = machine.aws.run(*start)
            if number:  # the round before fills the machine's file cache
                runs[kind].append(run)
    return {
        kind: Cold(
            Spread.of([run.wall_s for run in runs[kind]]),
            Spread.of([run.cpu_s for run in runs[kind]]),
            instructions(machine, kind, start) if callgrind else None,
        )
        for kind, start in kinds.items()
    }


def instructions(machine: Machine, kind: str, start: tuple[Any, ...]) -> int:
    """Count the instructions of one cold start, which the load of the machine does not change."""
    say(f"  cold start under callgrind: {kind}")
    with tempfile.NamedTemporaryFile(mode="r") as output:
        valgrind = machine.under("valgrind", "--tool=callgrind", f"--callgrind-out-file={output.name}")
        valgrind.run(*start)
        return int(re.findall(r"^(?:summary|totals): (\d+)", output.read(), re.MULTILINE)[0])


def warm_calls(machine: Machine, artifact: Path, libraries: Path) -> dict[str, float]:
    """Measure warm calls: the CPU seconds of the `handler` and of a `bare` call."""
    machine.reset(**UNLIMITED)
    result: dict[str, float] = machine.aws.run(artifact, RUNTIME, "warm", WARM_ROUNDS, libraries).result
    return result


def memory(machine: Machine, artifact: Path) -> dict[str, int]:
    """Return `peak_kib` after a cold start and many calls, and the `connections` that those opened."""
    machine.reset(**UNLIMITED)
    result: dict[str, int] = machine.aws.run(artifact, RUNTIME, "memory", MEMORY_CALLS).result
    return result


def batches(machine: Machine, artifact: Path) -> dict[str, Mapping[str, float]]:
    """Measure batches of one and of ten messages."""
    machine.reset(**UNLIMITED, latency=CLOPOS_LATENCY_S)
    return {
        name: machine.aws.run(artifact, RUNTIME, "batch", orders, BATCH_ROUNDS).result
        for name, orders in (("one", 1), ("ten", BATCH_ORDERS))
    }


def has_valgrind() -> bool:
    """Whether instructions can be counted."""
    try:
        return (
            subprocess.run(["valgrind", "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0
        )
    except FileNotFoundError:  # it is not installed
        return False
