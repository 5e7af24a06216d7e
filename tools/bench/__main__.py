"""``make bench``: measure this build, beside an earlier one if there is a BASELINE, and print two tables.

What is measured in processes is kept in ``.local/bench/*.json``; ``python -m pyperf`` shows more of it.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyperf

from local.common import ROOT, STATE, StackError, run_command, say
from local.emulator.deploy import archive
from tools.bench import builds, real_time
from tools.bench.machine import COLD, FLOOR, RUNTIME, UNLIMITED, Machine, machine
from tools.build import RUNTIME as PYTHON
from tools.progress import Progress

#: What can be measured, and about how many minutes that takes if two builds are compared.
PARTS = {"cold": 2.0, "warm": 1.0, "backlog": 3.5, "outage": 4.5}
PAGE, START, END = ROOT / "docs" / "performance.md", "<!-- make bench -->\n", "<!-- end -->\n"
RESULTS = STATE / "bench"
COLD_ROUNDS = 15
WARM_ROUNDS, WARM_CALLS = 4, 150
BATCH_ROUNDS = 5
MEMORY_MB, VCPU_MB = (256, 512, 768, 1024, 1769), 1769
ACCEPTED = 109  # an order that cannot be cancelled
SAM_COMPRESSION = 6  # zlib's level when sam uploads the package
Kinds = dict[str, tuple[Machine, bool]]  # the builds by name, and whether they speak TLS
Values = defaultdict[tuple[str, str], list[float]]  # by what was measured, and of which kind


def measure_cold(values: Values, kinds: Kinds, batch: Path) -> None:
    """Measure fresh processes, one of each kind in every round."""
    starts: dict[str, tuple[str, Path, tuple[Path, ...], float]] = {
        "cold call": ("ApiFunction", COLD, (ROOT / "events" / "api.json",), 0),
        "cold call, bare boto3 and requests": ("ApiFunction", FLOOR, (), 0),
        "cold batch of ten": ("QueueFunction", COLD, (batch,), real_time.LATENCY_S),
    }
    for name, (function, script, arguments, latency_s) in starts.items():
        say(f"{name}: {COLD_ROUNDS} rounds")
        for on, _ in kinds.values():
            on.reset(**UNLIMITED, latency=latency_s)
        for number in range(1 + COLD_ROUNDS):
            for kind, (on, tls) in kinds.items():
                run = on.start(function, script, *arguments, tls=tls).finish()
                if not number:  # the first round only fills the machine's file cache
                    continue
                values[f"{name}, CPU", kind].append(run.cpu_s)
                values[f"{name}, wall clock", kind].append(run.wall_s)
                if script == COLD:
                    values[f"{name}, peak memory", kind].append(run.result * 1024)


def measure_warm(values: Values, kinds: Kinds, batch: Path) -> None:
    """Measure many calls in one process, in turn with bare ones."""
    names = (
        "warm call, bare requests, CPU",
        "warm call, CPU",
        "call refused with 404, CPU",
        "call refused with 400 and checked, CPU",
    )
    progress = Progress()
    for number in range(WARM_ROUNDS):
        for kind, (on, tls) in kinds.items():
            progress.show(f"warm calls: round {number + 1} of {WARM_ROUNDS}")
            on.reset(**UNLIMITED)
            on.clopos.add_order(ACCEPTED, status="RECEIVED")
            arguments = ("warm", WARM_CALLS, 108, 404, ACCEPTED)
            times = on.start("ApiFunction", RUNTIME, *arguments, tls=tls).finish().result
            for name, taken in zip(names, times, strict=True):
                values[name, kind] += taken
    progress.clear()
    for kind, (on, tls) in kinds.items():
        on.reset(**UNLIMITED, latency=real_time.LATENCY_S)
        run = on.start("QueueFunction", RUNTIME, "batch", batch, BATCH_ROUNDS, tls=tls).finish()
        values["batch of ten, wall clock", kind], values["batch of ten, CPU", kind] = run.result
        values["package, zipped", kind] = [len(archive(on.build.artifact, SAM_COMPRESSION))]


def compare(values: Values, kinds: Kinds) -> str:
    """Keep the values, and return pyperf's comparison of their means with those of this build."""
    paths: list[Path] = []
    RESULTS.mkdir(parents=True, exist_ok=True)
    for kind in ("now", *(kind for kind in kinds if kind != "now")):
        suite = []
        for name, measured in ((name, of) for (name, which), of in values.items() if which == kind):
            unit = "second" if name.endswith(("CPU", "wall clock")) else "byte"
            metadata = {"name": name, "unit": unit}
            suite.append(pyperf.Benchmark([pyperf.Run(measured, metadata=metadata, collect_metadata=False)]))
        paths.append(RESULTS / f"{kind}.json")
        pyperf.BenchmarkSuite(suite).dump(str(paths[-1]), replace=True)
    command = [sys.executable, "-m", "pyperf", "compare_to", "--table", "--table-format=md"]
    output = subprocess.run([*command, *paths], check=True, stdout=subprocess.PIPE, text=True).stdout
    return "".join(line for line in output.splitlines(True) if "Geometric mean" not in line)  # of everything


def memory_table(values: Values) -> str:
    """Return how long calls take at each memory setting, with Clopos at 300 ms, computed from CPU seconds.

    Lambda gives processor time in proportion to the memory (developer guide, "Configure Lambda function
    memory"). A vCPU is taken to be as fast as a processor of this machine.
    """
    rounds = {"cold call": 1, "warm call": 1, "call refused with 404": 1, "batch of ten": 2}  # of waiting
    rows = [f"| memory | {' | '.join(rounds)} |", "| --- " * (1 + len(rounds)) + "|"]
    for memory_mb in MEMORY_MB:
        row = f"| {memory_mb} MB |"
        for name, waits in rounds.items():
            cpu_s = statistics.mean(values[f"{name}, CPU", "now"]) * max(1, VCPU_MB / memory_mb)
            row += f" {(cpu_s + waits * real_time.LATENCY_S) * 1000:,.0f} ms |"
        rows.append(row)
    return "\n".join(rows) + "\n"


def scenes_table(machines: Sequence[Machine], parts: Sequence[str]) -> str:
    """Play the scenes, and return a table with what came of them and the ratio of this build to the other."""
    head = ["", "promised", *(on.build.name for on in machines), *(["ratio"] if machines[1:] else [])]
    rows = [head, ["---"] * len(head)]
    for part in parts:
        figures = zip(*real_time.play(part, machines), strict=True)
        for (name, (shown, most)), measured in zip(real_time.ROWS[part].items(), figures, strict=True):
            promised = "" if most is None else f"≤ {shown.format(most)}"
            if most is not None and measured[0] > most:
                promised += " **missed**"
            ratio = [f"{measured[0] / measured[1]:.2f} x" if measured[1] else ""] if measured[1:] else []
            rows.append([name, promised, *map(shown.format, measured), *ratio])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def batch_of_ten() -> dict[str, Any]:
    """Return an event with ten messages about one order."""
    [record] = json.loads((ROOT / "events" / "queue-standard-webhooks.json").read_text())["Records"]
    return {"Records": [{**record, "messageId": str(n), "receiptHandle": str(n)} for n in range(10)]}


def main() -> None:
    """Measure, and print the results; a promise that is not kept is not an error."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--baseline", default="", help="a commit to build and to measure side by side")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/performance.md, too")
    options = parser.parse_args()
    if sys.version_info[:2] != PYTHON:
        raise StackError("This must run on the Python of the functions: make clean, make PYTHON=python3.13")
    say(f"This takes about {sum(map(PARTS.__getitem__, options.only)):.0f} min, more the first time")
    started, tables = time.monotonic(), []
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as scratch:
        built = [builds.this_build(), *([builds.earlier_build(options.baseline)] if options.baseline else [])]
        machines = [running.enter_context(machine(build, Path(scratch, build.name))) for build in built]
        batch = Path(scratch, "batch.json")
        kinds = {on.build.name: (on, True) for on in machines} | {"now without TLS": (machines[0], False)}
        batch.write_text(json.dumps(batch_of_ten()))
        values: Values = defaultdict(list)
        for part, measure in (("cold", measure_cold), ("warm", measure_warm)):
            if part in options.only:
                measure(values, kinds, batch)
        tables = [compare(values, kinds)] if values else []
        if {"cold", "warm"} <= set(options.only):
            tables.append(memory_table(values))
        if parts := [part for part in real_time.ROWS if part in options.only]:
            tables.append(scenes_table(machines, parts))
    text = (
        f"**{datetime.now(UTC):%Y-%m-%d}**, {platform.system()} {platform.machine()}, {os.cpu_count()}"
        f" processors, Python {platform.python_version()}, load {os.getloadavg()[2]:.1f} over 15 minutes,"
        f" {(time.monotonic() - started) / 60:.0f} minutes:\n\n" + "\n".join(tables)
    )
    say(f"\n{text}")
    if options.page:
        before, _, rest = PAGE.read_text().partition(START)
        PAGE.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    run_command(main)
