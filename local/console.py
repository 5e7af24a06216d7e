"""Output and exit status, shared by the commands of ``make``."""

import signal
import sys
from collections.abc import Callable

from local.errors import StackError


def say(line: str) -> None:
    """Print a line at once, even if the output is a pipe."""
    print(line, flush=True)


def run_command(command: Callable[[], int | None]) -> None:
    """Run a command and exit with its status.

    SIGINT, SIGTERM and SIGHUP raise an exception, so that the command stops everything that it has started.
    """
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # background jobs of a shell ignore SIGINT by default
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(command())
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # Ctrl-C, with the status that a shell expects
        sys.exit(128 + signal.SIGINT)
