"""``make bench``: measure everything that has a target, and print the targets with the results."""

import argparse
import contextlib
import datetime
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from local.common import ROOT, STATE, StackError, run_command, say
from local.emulator.deploy import archive
from tools.bench import builds, cost, real_time, single
from tools.bench.builds import Build
from tools.bench.machine import Machine, machine
from tools.bench.real_time import Scene
from tools.bench.report import Report
from tools.bench.single import Cold

#: What can be measured, and about how many minutes that takes if two builds are compared.
PARTS = {"cold": 2.0, "calls": 0.7, "backlog": 3.3, "outage": 4.2}
MB = 1_000_000
SAM_COMPRESSION = 6  # zlib's level when sam uploads the package
MAX_COLD_TO_FLOOR, MAX_COLD_TO_PLAIN = 0.85, 0.4
MAX_ADDED_MS = 0.4
MAX_ZIPPED_MB, MAX_PEAK_MB = 8, 90
MAX_BATCH_RATIO = 0.5
COLD_CALL_S = 1.0  # users of a back end notice longer waits
MIN_QUOTA_SHARE, MAX_THROTTLED_SHARE = 0.97, 0.01
MIN_SERVED_SHARE, MAX_API_S = 0.99, 1.5
MAX_PROBES = 15  # in a minute
MAX_OVER_IDEAL, GRACE_S = 1.15, 15

Running = Sequence[tuple[Machine, Build]]  # this build, then the earlier one if there is one


def measure_cold(report: Report, running: Running, libraries: Path) -> dict[str, Cold]:
    """Compare cold starts."""
    if not (callgrind := single.has_valgrind()):
        say("  valgrind is not installed: instructions are not counted")
    plain = builds.plain_artifact()
    built = [build for _, build in running]
    kinds = single.cold_starts(running[0][0], built, plain, libraries, callgrind=callgrind)
    ours = kinds[built[0].name]
    for other, limit in (("floor", MAX_COLD_TO_FLOOR), ("plain", MAX_COLD_TO_PLAIN)):
        than = kinds[other]
        pairs = [
            ("wall clock", ours.wall_s.median, than.wall_s.median, "ms", 1e-3),
            ("CPU", ours.cpu_s.median, than.cpu_s.median, "ms", 1e-3),
        ]
        if ours.instructions and than.instructions:
            pairs.append(("instructions", ours.instructions, than.instructions, "million", 1e6))
        for name, value, base, unit, scale in pairs:
            report.target(
                f"cold start / {'the floor' if other == 'floor' else 'a plain `sam build`'}, {name}",
                f"{value / base:.2f} x ({value / scale:,.0f} / {base / scale:,.0f} {unit})",
                value / base <= limit,
                f"≤ {limit} x",
            )
    compared = [kinds[build.name] for build in built]
    report.compare("cold start, wall clock", [one.wall_s.median for one in compared], _ms)
    report.compare("cold start, CPU", [one.cpu_s.median for one in compared], _ms)
    if callgrind:
        counts = [one.instructions or 0 for one in compared]
        report.compare("cold start, instructions", counts, lambda count: f"{count / 1e6:,.0f} million")
    report.table(
        f"Cold start: median of {single.COLD_ROUNDS} ± half of the interquartile range",
        ("", "wall clock", "CPU", "instructions"),
        [
            (
                {"floor": "the floor", "plain": "plain `sam build`"}.get(kind, kind),
                one.wall_s.ms(),
                one.cpu_s.ms(),
                f"{one.instructions / 1e6:,.0f} million" if one.instructions else "not counted",
            )
            for kind, one in kinds.items()
        ],
    )
    return kinds


def measure_calls(report: Report, running: Running, libraries: Path, cold: dict[str, Cold]) -> None:
    """Measure single calls and batches, and report the effect of the memory setting."""
    on, built = running[0][0], [build for _, build in running]
    say(f"Warm calls: {single.WARM_ROUNDS} rounds of {single.WARM_CALLS}, in turn with bare ones")
    warm = single.warm_calls(on, built, libraries)
    now = warm[0]
    added = [(one["handler"] - one["requests"]) * 1000 for one in warm]
    report.target(
        "CPU that the handler adds to a bare `Session.put`, tracing on",
        f"{added[0]:.2f} ms ({now['handler'] * 1000:.2f} - {now['requests'] * 1000:.2f})",
        added[0] <= MAX_ADDED_MS,
        f"≤ {MAX_ADDED_MS} ms",
    )
    report.compare("CPU that the handler adds to a bare `Session.put`", added, "{:.2f} ms".format)
    report.compare("CPU of a warm call", [one["handler"] * 1000 for one in warm], "{:.2f} ms".format)
    report.table(
        "CPU of a warm call",
        ("", "CPU"),
        [
            *(
                (f"handler, {build.name}", f"{one['handler'] * 1000:.2f} ms")
                for build, one in zip(built, warm, strict=True)
            ),
            ("bare `requests.Session.put`", f"{now['requests'] * 1000:.2f} ms"),
            ("bare `urllib3.PoolManager.request`", f"{now['urllib3'] * 1000:.2f} ms"),
        ],
    )

    say("Package and memory")
    zipped_mb = [len(archive(build.artifact, SAM_COMPRESSION)) / MB for build in built]
    report.target(
        "package, zipped", f"{zipped_mb[0]:.1f} MB", zipped_mb[0] <= MAX_ZIPPED_MB, f"≤ {MAX_ZIPPED_MB} MB"
    )
    report.compare("package, zipped", zipped_mb, "{:.1f} MB".format)
    memory = [single.memory(on, build) for build in built]
    peak_mb = [one["peak_kib"] * 1024 / MB for one in memory]
    what = f"peak memory, cold start and {single.MEMORY_CALLS} calls"
    report.target(what, f"{peak_mb[0]:.0f} MB", peak_mb[0] <= MAX_PEAK_MB, f"≤ {MAX_PEAK_MB} MB")
    report.compare(what, peak_mb, "{:.0f} MB".format)
    connections = [one["connections"] for one in memory]
    what = f"connections to Clopos for {single.MEMORY_CALLS} calls"
    report.target(what, str(connections[0]), connections[0] <= 1, "1")
    report.compare(what, connections, "{:.0f}".format)

    say("Batches")
    batches = [single.batches(on, build) for build in built]
    alone_s, ten_s = batches[0]["one"]["seconds"], batches[0]["ten"]["seconds"]
    ratio = ten_s / (single.BATCH_ORDERS * alone_s)
    at = f"at {single.CLOPOS_LATENCY_S * 1000:.0f} ms"
    report.target(
        f"batch of ten {at} / ten batches of one",
        f"{ratio:.2f} x ({ten_s:.2f} / {single.BATCH_ORDERS * alone_s:.2f} s)",
        ratio <= MAX_BATCH_RATIO,
        f"≤ {MAX_BATCH_RATIO} x",
    )
    report.compare(f"batch of ten {at}", [one["ten"]["seconds"] for one in batches], _ms)
    report.compare("batch of ten, CPU", [one["ten"]["cpu"] for one in batches], _ms)
    if cold:
        rounds = math.ceil(ten_s / single.CLOPOS_LATENCY_S - 0.5)
        report_cost(
            report,
            cost.settings(
                cold[built[0].name].cpu_s.median,
                now["handler"],
                batches[0]["ten"]["cpu"],
                rounds * cost.CLOPOS_S,
            ),
        )


def report_cost(report: Report, settings: list[cost.Setting]) -> None:
    """Report the durations and costs of each memory setting."""
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
        at.cold_s <= COLD_CALL_S,
        f"≤ {COLD_CALL_S:.0f} s",
    )


def measure_backlog(report: Report, running: Running, folder: Path) -> None:
    """Measure how the workers empty a queue while others call the API."""
    now = running[0][1]
    per_window = real_time.QUOTA - now.reserve
    expected_s = real_time.BACKLOG / per_window * real_time.WINDOW_S
    scenes = real_time.play("Backlog", expected_s, real_time.backlog, running)
    real_time.draw_callers(folder / "callers.svg", scenes)
    first = scenes[0]
    served, p95_s = first.served_share, first.api_seconds(0.95)
    report.target(
        f"API calls served while {first.messages} messages drain",
        f"{served:.1%} of {len(first.api_calls)}",
        served >= MIN_SERVED_SHARE,
        f"≥ {MIN_SERVED_SHARE:.0%}",
    )
    report.target(
        "the same, 95th percentile of their time", f"{p95_s:.2f} s", p95_s <= MAX_API_S, f"≤ {MAX_API_S} s"
    )
    share = first.quota_share(per_window)
    report.target(
        f"use of the quota without the reserve ({per_window} calls in {real_time.WINDOW_S:.0f} s)",
        f"{share:.1%}",
        share >= MIN_QUOTA_SHARE,
        f"≥ {MIN_QUOTA_SHARE:.0%}",
    )
    throttled = first.throttled_share
    report.target(
        "calls answered 429",
        f"{throttled:.2%}",
        throttled <= MAX_THROTTLED_SHARE,
        f"≤ {MAX_THROTTLED_SHARE:.0%}",
    )
    report_ends(report, "backlog", first)
    report.compare("backlog: API calls refused", [1 - one.served_share for one in scenes], "{:.1%}".format)
    for percent in (50, 95):
        waits = [one.api_seconds(percent / 100) for one in scenes]
        report.compare(f"backlog: {percent}th percentile of an API call", waits, "{:.2f} s".format)
    report.compare("backlog: calls answered 429", [one.throttled_share for one in scenes], "{:.2%}".format)
    report.compare(
        f"backlog: {first.messages} messages took", [one.seconds for one in scenes], "{:.0f} s".format
    )


def measure_outage(report: Report, running: Running, folder: Path) -> None:
    """Measure an outage of Clopos while messages wait."""
    now = running[0][1]
    # The quota without the reserve allows so many calls at once, and as many again in each later window.
    ideal_s = (real_time.OUTAGE - 1) // (real_time.QUOTA - now.reserve) * real_time.WINDOW_S
    scenes = real_time.play("Outage", real_time.OUTAGE_S + ideal_s, real_time.outage, running)
    real_time.draw_outage(folder / "outage.svg", scenes)
    first = scenes[0]
    report.target(
        f"calls in any minute of an outage, after its first {real_time.SETTLED_S} s",
        str(first.calls_in_worst_minute),
        first.calls_in_worst_minute <= MAX_PROBES,
        f"≤ {MAX_PROBES}",
    )
    limit_s = MAX_OVER_IDEAL * ideal_s + GRACE_S
    report.target(
        f"{first.messages} messages done after the outage (ideal: {ideal_s:.0f} s)",
        f"{first.seconds_after_outage:.0f} s",
        first.seconds_after_outage <= limit_s,
        f"≤ {limit_s:.0f} s",
    )
    report_ends(report, "outage", first)
    early = [one.calls_at_first for one in scenes]
    report.compare(f"outage: calls in its first {real_time.SETTLED_S} s", early, "{:.0f}".format)
    worst = [one.calls_in_worst_minute for one in scenes]
    report.compare("outage: calls in the worst minute after that", worst, "{:.0f}".format)
    after = [one.seconds_after_outage for one in scenes]
    report.compare("outage: all done after it", after, "{:.0f} s".format)


def report_ends(report: Report, name: str, scene: Scene) -> None:
    """Report whether every message was processed."""
    lost = scene.messages - len(scene.done_at)
    report.target(
        f"{name}: dead-lettered; not cancelled",
        f"{scene.dead_letters}; {lost}",
        not scene.dead_letters + lost,
        "0; 0",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def main() -> None:
    """Measure, and print the results; a missed target is not an error."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--baseline", default="", help="a commit to build and to measure side by side")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--plots", action="store_true", help="draw into docs/, not into .local/bench/")
    options = parser.parse_args()
    folder = ROOT / "docs" if options.plots else STATE / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    if sys.version_info[:2] != (3, 13):
        raise StackError(
            "The functions run on Python 3.13, so the benchmark must too: make clean, make PYTHON=python3.13"
        )
    parts = [part for part in PARTS if part in options.only]
    say(
        f"This takes about {sum(PARTS[part] for part in parts):.0f} min, and a few more the first time: "
        + ", ".join(f"{part} {PARTS[part]:g} min" for part in parts)
    )
    start = time.monotonic()
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as scratch:
        built = [builds.this_build(Path(scratch, "now"))]
        if options.baseline:
            say(f"Building {options.baseline}")
            built.append(builds.earlier_build(options.baseline))
        say("Starting a simulator and an emulator for each build")
        sets = [(running.enter_context(machine()), build) for build in built]
        report = Report(built[-1].name if options.baseline else "")
        libraries = builds.library_artifact()
        cold = measure_cold(report, sets, libraries) if "cold" in parts else {}
        if "calls" in parts:
            measure_calls(report, sets, libraries, cold)
        if "backlog" in parts:
            measure_backlog(report, sets, folder)
        if "outage" in parts:
            measure_outage(report, sets, folder)
    minutes = (time.monotonic() - start) / 60
    load = os.getloadavg()[2]
    say(
        f"\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.system()} {platform.machine()},"
        f" {os.cpu_count()} processors, Python {platform.python_version()},"
        f" load {load:.1f} over 15 minutes, {minutes:.1f} minutes\n\n{report.text()}\n\n"
        f"{'Every target is met.' if not report.missed else f'{report.missed} missed.'}"
    )


if __name__ == "__main__":
    run_command(main)
