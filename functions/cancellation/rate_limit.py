"""Read the rate-limit headers of Clopos's answers.

Source: developer.clopos.com, "Rate limits": every authenticated answer carries `RateLimit-Limit`,
`RateLimit-Remaining` and `RateLimit-Reset`; after a 429, wait at least `RateLimit-Reset` seconds.
"""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

# SQS cannot hide a message for longer than this. A longer time must be a mistake, and is ignored.
MAX_WAIT_S = 12 * 60 * 60


class RateLimit(NamedTuple):
    """The rate-limit headers of one answer; a missing or invalid value is None.

    Attributes
    ----------
    limit, remaining : float or None
        Calls per window, and calls left in the current one.
    reset_s : float or None
        Seconds until the window resets.
    wait_s : float or None
        Seconds that Clopos asks to wait before the next call.
    """

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None
    wait_s: float | None = None


def read_rate_limit(status: int | None, headers: Mapping[str, str]) -> RateLimit:
    """Read the headers of an answer.

    Parameters
    ----------
    status : int or None
        HTTP status. Every answer has `RateLimit-Reset`, but only with a 429 does it ask to wait.
    headers : mapping
        The headers; the mapping ignores case.
    """
    reset_s = _number(headers.get("RateLimit-Reset"))
    waits = [_number(headers.get("Retry-After")) or _seconds_until(headers.get("Retry-After"))]
    if status == 429:
        waits.append(reset_s)
    return RateLimit(
        limit=_number(headers.get("RateLimit-Limit")),
        remaining=_number(headers.get("RateLimit-Remaining")),
        reset_s=reset_s,
        wait_s=max((wait for wait in waits if wait is not None), default=None),
    )


def _number(text: str | None) -> float | None:
    """Return a number from 0 to `MAX_WAIT_S`."""
    try:
        value = float(text) if text and len(text) <= 20 else math.nan
    except ValueError:  # not a number
        return None
    return value if 0 <= value <= MAX_WAIT_S else None


def _seconds_until(date: str | None) -> float | None:
    """Return the seconds until an HTTP date."""
    try:
        wait_s = parsedate_to_datetime(date or "").timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):  # not a date, or one out of range
        return None
    return min(max(wait_s, 0.0), MAX_WAIT_S) if wait_s <= MAX_WAIT_S else None
