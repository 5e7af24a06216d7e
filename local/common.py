"""What the commands of ``make`` share: folders, the local address, errors, output, and waiting."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"  # what sam build writes
STATE = ROOT / ".local"  # what the local stack and the benchmarks write

#: The only address that anything listens on, so that other machines cannot reach it.
HOST = "127.0.0.1"


class StackError(Exception):
    """The local stack cannot run. The text tells the user why, and what to do about it."""


def say(line: str) -> None:
    """Print a line at once, even if the output is a pipe."""
    print(line, flush=True)


def run_command(command: Callable[[], int | None]) -> None:
    """Run a command and exit with its status.

    SIGINT, SIGTERM and SIGHUP raise an exception, so that the command stops everything that it has started.
    """
    # Background jobs of a shell ignore SIGINT by default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(command())
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # Ctrl-C, with the status that a shell expects
        sys.exit(128 + signal.SIGINT)


def wait_for(condition: Callable[[], T], timeout_s: float, *, interval_s: float = 0.1) -> T:
    """Call a function until it returns a true value or the time is up, and return its last value."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(interval_s)
    return result
