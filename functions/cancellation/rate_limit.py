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
    """The rate-limit headers of one answer; a missing or invalid value is None."""

    limit: float | None = None  # calls per window
    remaining: float | None = None  # calls left in the current window
    reset_s: float | None = None  # until the window resets
    retry_after_s: float | None = None  # that Clopos asks to wait before the next call


def read_rate_limit(status: int | None, headers: Mapping[str, str]) -> RateLimit:
    """Read the headers of an answer; only with a 429 does `RateLimit-Reset` ask to wait."""
    reset_s = _number(headers.get("RateLimit-Reset"))
    retry_after = headers.get("Retry-After")
    waits = [_number(retry_after), _seconds_until(retry_after), reset_s if status == 429 else None]
    return RateLimit(
        limit=_number(headers.get("RateLimit-Limit")),
        remaining=_number(headers.get("RateLimit-Remaining")),
        reset_s=reset_s,
        retry_after_s=max((wait for wait in waits if wait is not None), default=None),
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
    return max(wait_s, 0.0) if wait_s <= MAX_WAIT_S else None
