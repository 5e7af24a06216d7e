"""Run seeds: ``python -m tests.simulation.run 1000 2000`` for many, ``... run 17`` for the details of one."""

import sys
import time

from tests.simulation.checkers import problems
from tests.simulation.clopos import LIMIT
from tests.simulation.load import Load, settings_of
from tests.simulation.stack import Stack

# What is left when nothing goes wrong any more: the longest sleep of a message (BACKOFF_CAP_S, 300 s), or the queue's
# visibility timeout and a round of an invocation; then what the quota needs.
WAIT_LIMIT_S = 300 + 60


class Run:
    """A seed that was run until everything had ended, and what is wrong with it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.stack = stack = Stack(settings_of(seed))
        self.load = load = Load(stack, seed)
        try:
            stack.scheduler.run(until=load.calm_at)
            share = LIMIT - stack.settings.api_reserve
            timeout_s = WAIT_LIMIT_S + 60 * (stack.queue.waiting / share)
            stack.scheduler.run(until=load.calm_at + timeout_s, done=lambda: not stack.queue.waiting)
            self.late_s = stack.scheduler.now - load.calm_at
            stack.scheduler.run(until=stack.scheduler.now + 30)  # the last callers of the API
            self.problems = problems(stack)
            if stack.queue.waiting:
                self.problems.append(f"{stack.queue.waiting} wait {timeout_s:.0f} s after the last fault")
        finally:
            stack.close()

    def report(self) -> str:
        return "\n".join(
            [f"seed {self.seed}: {self.stack.settings}", *self.load.story, "", *self.problems[:10]]
        )


def main(first: int, last: int) -> int:
    started, failed, latest_s = time.monotonic(), 0, 0.0
    for seed in range(first, last):
        run = Run(seed)
        latest_s = max(latest_s, run.late_s)
        failed += bool(run.problems)
        if run.problems or last - first == 1:
            print(run.report())
    took = f"{last - first} seeds in {time.monotonic() - started:.1f} s"
    print(f"{took}, {failed} failed; the last order was done {latest_s:.0f} s after the last fault")
    return 1 if failed else 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]] or [0, 1000]
    sys.exit(main(numbers[0], numbers[-1] if len(numbers) > 1 else numbers[0] + 1))
