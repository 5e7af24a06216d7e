"""Run seeds: ``python -m tests.simulation.run 1000 2000`` for many, ``... run 17`` for the details of one."""

import sys
import time
from dataclasses import dataclass

from tests.simulation.checkers import problems
from tests.simulation.clopos import Call
from tests.simulation.load import Load, settings_of
from tests.simulation.stack import Line, Settings, Stack

# What is left when nothing goes wrong any more: the longest sleep of a message (BACKOFF_CAP_S, 300 s), or the queue's
# visibility timeout and a round of an invocation; then what the quota needs.
WAIT_LIMIT_S = 300 + 60


@dataclass
class Run:
    """The result of a seed."""

    seed: int
    settings: Settings
    story: list[str]
    problems: list[str]
    calls: list[Call]
    lines: list[Line]
    late_s: float

    def report(self) -> str:
        """Return a summary."""
        return "\n".join([f"seed {self.seed}: {self.settings}", *self.story, "", *self.problems[:10]])


def run_seed(seed: int) -> Run:
    """Run a seed until everything has ended, and check it."""
    stack = Stack(settings_of(seed))
    load = Load(stack, seed)
    try:
        stack.scheduler.run(until=load.calm_at)
        share = 300 - stack.settings.api_reserve
        timeout_s = WAIT_LIMIT_S + 60 * (stack.queue.waiting / share)
        stack.scheduler.run(until=load.calm_at + timeout_s, done=lambda: not stack.queue.waiting)
        late_s = stack.scheduler.now - load.calm_at
        stack.scheduler.run(until=stack.scheduler.now + 30)  # the last callers of the API
        found = problems(stack)
        if stack.queue.waiting:
            found.append(f"{stack.queue.waiting} messages still wait {timeout_s:.0f} s after the last fault")
        return Run(seed, stack.settings, load.story, found, stack.clopos.calls, stack.history.lines, late_s)
    finally:
        stack.close()


def main(first: int, last: int) -> int:
    """Run seeds and print those that fail."""
    started, failed, latest = time.monotonic(), 0, 0.0
    for seed in range(first, last):
        run = run_seed(seed)
        latest = max(latest, run.late_s)
        if run.problems or last - first == 1:
            failed += bool(run.problems)
            print(run.report())
    took_s = time.monotonic() - started
    print(
        f"{last - first} seeds in {took_s:.1f} s, {failed} failed; the last order was done {latest:.0f} s after the last fault"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]] or [0, 1000]
    sys.exit(main(numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1))
