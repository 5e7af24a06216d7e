"""``make bench``: measure everything that has a target, and print each target with what was measured."""

import argparse
import datetime
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from local.artifact import archive
from local.bench import backlog, cost, single
from local.bench.backlog import OURS, PLAIN, Drain
from local.bench.machine import Machine, machine
from local.bench.plain import library_artifact, plain_artifact
from local.bench.processes import HERE, read_only_copy
from local.bench.single import Cold
from local.console import run_command, say
from local.errors import StackError
from local.paths import BUILD, ROOT, STATE

BACKLOGS = (300, 1_000, 3_000, 10_000)  # messages
COMPARED = 3_000  # the backlog that the plain worker is given too
SAM_COMPRESSION = 6  # zlib's level when sam uploads the package
COLD_CALL_S = 1.0  # a back end's user notices more


class Report:
    """A Markdown page that is printed as it grows; `missed` counts targets."""

    def __init__(self) -> None:
        self._targets: list[tuple[str, ...]] = []
        self._tables: list[str] = []
        self.missed = 0

    def target(self, name: str, measured: str, value: float, at_most: float, shown: str) -> None:
        """Add a target: `value` is what is to be at most `at_most`."""
        met = value <= at_most
        self.missed += not met
        self._targets.append((name, shown, measured, "PASS" if met else "MISS"))
        say(f"  {'PASS' if met else 'MISS'}  {name}: {measured}; target {shown}")

    def table(self, title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Add a table of its own."""
        self._tables.append(f"### {title}\n\n{_markdown(head, rows)}")

    def text(self) -> str:
        """Return the page."""
        targets = _markdown(("what", "target", "measured", ""), self._targets)
        return "\n\n".join([f"### Targets\n\n{targets}", *self._tables])


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def report_cold(report: Report, kinds: dict[str, Cold]) -> None:
    """Compare cold starts."""
    ours = kinds["ours"]
    for other, limit in (("floor", 0.85), ("plain", 0.4)):
        than = kinds[other]
        pairs = [
            ("wall clock", ours.wall_s.median, than.wall_s.median, "ms", 1e-3),
            ("CPU", ours.cpu_s.median, than.cpu_s.median, "ms", 1e-3),
        ]
        if ours.instructions and than.instructions:
            pairs.append(("instructions", ours.instructions, than.instructions, "million", 1e6))
        for name, value, base, unit, scale in pairs:
            report.target(
                f"cold start / {'the floor' if other == 'floor' else 'a plain sam build'}, {name}",
                f"{value / base:.2f} x ({value / scale:,.0f} / {base / scale:,.0f} {unit})",
                value / base,
                limit,
                f"≤ {limit} x",
            )
    names = {"ours": "this build", "floor": "the floor", "plain": "plain `sam build`"}
    report.table(
        f"Cold start: median of {single.COLD_ROUNDS} ± half of the interquartile range",
        ("", "wall clock", "CPU", "instructions"),
        [
            (
                names[kind],
                one.wall_s.ms(),
                one.cpu_s.ms(),
                f"{one.instructions / 1e6:,.0f} million" if one.instructions else "not counted",
            )
            for kind, one in kinds.items()
        ],
    )


def report_single(report: Report, running: Machine, artifact: Path, plain: Path, libraries: Path) -> None:
    """Measure and compare what one call takes, and what memory buys."""
    if not (callgrind := single.has_valgrind()):
        say("  valgrind is not installed: instructions are not counted")
    cold = single.cold_starts(running, artifact, plain, libraries, callgrind=callgrind)
    report_cold(report, cold)

    say(f"Step 3 of 6: warm calls: {single.WARM_ROUNDS} in turn with bare ones")
    warm = single.warm_calls(running, artifact, libraries)
    added_ms = (warm["handler"] - warm["bare"]) * 1000
    measured = f"{added_ms:.2f} ms ({warm['handler'] * 1000:.2f} - {warm['bare'] * 1000:.2f})"
    report.target("warm call - a bare `Session.put`, CPU", measured, added_ms, 0.4, "≤ 0.4 ms")

    say("Step 4 of 6: package and memory")
    zipped_mb = len(archive(artifact, SAM_COMPRESSION)) / single.MB
    report.target("package, zipped", f"{zipped_mb:.1f} MB", zipped_mb, 8, "≤ 8 MB")
    memory = single.memory(running, artifact)
    peak_mb = memory["peak_kib"] * 1024 / single.MB
    report.target(
        f"peak memory, cold start and {single.MEMORY_CALLS} calls",
        f"{peak_mb:.0f} MB",
        peak_mb,
        90,
        "≤ 90 MB",
    )
    report.target(
        f"connections to Clopos for {single.MEMORY_CALLS} calls",
        str(memory["connections"]),
        memory["connections"],
        1,
        "1",
    )

    say("Step 5 of 6: batches")
    batch = single.batches(running, artifact)
    alone_s, ten_s = batch["one"]["seconds"], batch["ten"]["seconds"]
    ratio = ten_s / (single.BATCH_ORDERS * alone_s)
    report.target(
        f"batch of ten at {single.CLOPOS_LATENCY_S * 1000:.0f} ms / ten batches of one",
        f"{ratio:.2f} x ({ten_s:.2f} / {single.BATCH_ORDERS * alone_s:.2f} s)",
        ratio,
        0.5,
        "≤ 0.5 x",
    )

    rounds = math.ceil(ten_s / single.CLOPOS_LATENCY_S - 0.5)
    settings = cost.settings(
        cold["ours"].cpu_s.median,
        warm["handler"],
        batch["ten"]["cpu"],
        rounds * cost.CLOPOS_S,
    )
    report_cost(report, settings)


def report_cost(report: Report, settings: list[cost.Setting]) -> None:
    """Show what each memory setting takes and costs."""
    chosen = cost.chosen_mb()
    rows = []
    for one in settings:
        rows.append(
            (
                f"**{one.memory_mb} MB**" if one.memory_mb == chosen else f"{one.memory_mb} MB",
                f"{one.cold_s * 1000:,.0f} ms",
                f"{one.warm_s * 1000:,.0f} ms",
                f"${one.per_million(one.warm_s):.2f}",
                f"{one.batch_s * 1000:,.0f} ms",
                f"${one.per_million(one.batch_s, single.BATCH_ORDERS):.2f}",
            )
        )
    head = ("memory", "cold call", "warm call", "a million calls", "batch of ten", "a million messages")
    report.table(
        "Memory: computed from the CPU seconds above, Clopos at 300 ms; Lambda's share alone", head, rows
    )
    at = next(one for one in settings if one.memory_mb == chosen)
    report.target(
        f"cold call at {chosen} MB (template.yaml), Clopos at 300 ms, computed",
        f"{at.cold_s:.2f} s",
        at.cold_s,
        COLD_CALL_S,
        f"≤ {COLD_CALL_S:.0f} s",
    )
    say(
        f"  Lambda for a million cancellations at {chosen} MB:\n"
        f"    API    1,000,000 x {at.warm_s:.4f} s x {chosen / 1024:g} GB x ${cost.PRICE_PER_GB_S:.10f}"
        f" + ${cost.PRICE_PER_MILLION_REQUESTS:.2f} = ${at.per_million(at.warm_s):.2f}\n"
        f"    queue    100,000 x {at.batch_s:.4f} s x {chosen / 1024:g} GB x ${cost.PRICE_PER_GB_S:.10f}"
        f" + ${cost.PRICE_PER_MILLION_REQUESTS / 10:.2f}"
        f" = ${at.per_million(at.batch_s, single.BATCH_ORDERS):.2f}\n"
        "    (list prices, us-east-1, arm64, as remembered: they could not be checked here)"
    )


def report_backlog(report: Report, running: Machine, artifact: Path, libraries: Path) -> dict[str, Drain]:
    """Drain backlogs, ours and with the plain worker."""
    drains = []
    for messages in BACKLOGS:
        say(f"  {messages:,} messages, at least {messages / backlog.QUOTA * backlog.WINDOW_S:.0f} s")
        drains.append(backlog.drain(running, artifact, OURS, messages))
    say(f"  {COMPARED:,} messages with the plain worker")
    plain = backlog.drain(running, libraries, PLAIN, COMPARED)

    longest = drains[-1]
    share, throttled = longest.quota_share, longest.throttled_share
    report.target(
        f"quota less `ApiReserve`, {longest.messages:,} messages", f"{share:.1%}", -share, -0.97, "≥ 97 %"
    )
    report.target("calls answered 429", f"{throttled:.2%}", throttled, 0.01, "≤ 1 %")
    dead, left = sum(one.dead_letters for one in drains), sum(one.messages - one.cancelled for one in drains)
    report.target("dead-lettered", str(dead), dead, 0, "0")
    report.target("not cancelled", str(left), left, 0, "0")
    slope, straight = backlog.straightness(drains)
    measured = (
        f"R² = {straight:.5f}, {slope * longest.quota / backlog.WINDOW_S:.3f} x the time that the quota takes"
    )
    # It is a line with steps: if the last calls fall into the next window, a backlog takes one window more.
    report.target("time is a straight line", measured, -straight, -0.995, "R² ≥ 0.995")
    workers = running.aws.variables["QUEUE_WORKERS"]
    report.table(
        f"Backlog: {workers} workers, {backlog.QUOTA} calls in {backlog.WINDOW_S:.0f} s,"
        f" of which `ApiReserve` leaves {longest.quota}; time runs {backlog.SCALE:.0f} times as fast",
        ("", "messages", "took", "of the quota", "429", "cancelled", "dead-lettered", "left"),
        [
            (
                name,
                f"{one.messages:,}",
                f"{one.seconds:.1f} s",
                f"{one.quota_share:.1%}" if one.messages >= 3 * one.quota else "",
                f"{one.throttled_share:.2%}",
                f"{one.cancelled:,}",
                str(one.dead_letters),
                str(one.left),
            )
            for name, one in [*(("ours", one) for one in drains), ("plain Powertools", plain)]
        ],
    )
    return {"this worker": drains[BACKLOGS.index(COMPARED)], "a plain Powertools worker": plain}


def main() -> None:
    """Measure, print, and exit with 0: a miss is a result."""
    parser = argparse.ArgumentParser(prog="python -m local.bench", description=__doc__)
    parser.add_argument("--plots", action="store_true", help="draw into docs/, not into .local/bench/")
    folder = ROOT / "docs" if parser.parse_args().plots else STATE / "bench"
    if sys.version_info[:2] != (3, 13):
        raise StackError(
            "The functions run on Python 3.13, and so must this: make clean, make PYTHON=python3.13"
        )
    started, report = time.monotonic(), Report()
    say("Step 1 of 6: building the functions as a plain sam build does, and installing plain libraries")
    plain, libraries = plain_artifact(), library_artifact()
    with tempfile.TemporaryDirectory() as scratch, machine() as running:
        ours = read_only_copy(BUILD / "ApiFunction", Path(scratch, "ours"))
        worker = Path(scratch, "worker")
        shutil.copytree(libraries, worker)
        shutil.copy(HERE / "powertools_worker.py", worker)
        say("Step 2 of 6: cold starts")
        report_single(report, running, ours, read_only_copy(plain, Path(scratch, "plain")), worker)
        say("Step 6 of 6: backlogs")
        backlog.plot(folder, report_backlog(report, running, ours, worker))
    minutes = (time.monotonic() - started) / 60
    load = os.getloadavg()[2]
    say(
        f"\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()},"
        f" {os.cpu_count()} processors, Python {platform.python_version()},"
        f" load {load:.1f} over 15 minutes, {minutes:.1f} minutes\n\n{report.text()}\n\n"
        f"{'Every target is met.' if not report.missed else f'{report.missed} missed.'}"
    )


if __name__ == "__main__":
    run_command(main)
