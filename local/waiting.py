"""Waiting for something to happen."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_s: float, *, interval_s: float = 0.1) -> T:
    """Call a function until it returns a true value, or until the time is up.

    Parameters
    ----------
    condition : callable
        The function to call.
    timeout_s : float
        How long to try. The function is called at least once.
    interval_s : float
        The pause between two calls.

    Returns
    -------
    object
        The value that the last call returned: a false one if the time is up.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(interval_s)
    return result
