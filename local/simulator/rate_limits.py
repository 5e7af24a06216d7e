"""The quotas: calls counted in sliding windows, and the rate-limit headers."""

import math
import time
from typing import Any

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from local.simulator.answers import Headers
from local.simulator.settings import CREDENTIALS, Settings

RATE_LIMIT_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")

Counted = tuple[Any, ...]  # a tier, and the keys that are counted separately in it


class _Tier(RateLimitItemPerSecond):
    """A number of calls per window. Unlike in `limits`, a window may be a fraction of a second."""

    __slots__ = ("window",)

    def __init__(self, name: str, amount: int, window: float) -> None:
        super().__init__(amount, namespace=name)
        self.window = window

    def get_expiry(self) -> float:  # type: ignore[override]
        return self.window


class RateLimits:
    """The three documented tiers and their counts."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Apply new quotas. If the quota of a tier changes, its count starts at zero again."""
        self._all = _Tier("all", settings.quota, settings.window)
        self._failed = _Tier("failed", settings.failed_quota, settings.window)
        self._auth = _Tier("auth", settings.auth_quota, settings.window)

    def all_calls(self) -> Counted:
        """Return the tier of all authenticated calls of the brand."""
        return self._all, CREDENTIALS["integrator_id"], CREDENTIALS["brand"]

    def failed_calls(self, client_ip: str) -> Counted:
        """Return the tier of the failed calls from an address."""
        return self._failed, client_ip

    def auth_calls(self, client_ip: str) -> Counted:
        """Return the tier of the calls of /auth from an address."""
        return self._auth, client_ip

    def has_room(self, counted: Counted) -> bool:
        """Return whether one more call fits into a tier, without counting it."""
        return self._limiter.test(*counted)

    def count(self, counted: Counted) -> bool:
        """Count a call in a tier, unless it is full."""
        return self._limiter.hit(*counted)

    def headers(self, *tiers: Counted) -> Headers:
        """Return the headers for the tier that is closest to its limit; none without tiers."""
        if not tiers:
            return {}
        closest = min(tiers, key=lambda counted: self._limiter.get_window_stats(*counted).remaining)
        # A sliding window resets when its oldest call leaves it: then one more call is allowed.
        reset_at, remaining = self._limiter.get_window_stats(*closest)
        digits = 0 if closest[0].window >= 60 else 3
        reset = math.ceil(max(0, reset_at - time.time()) * 10**digits) / 10**digits
        values = (str(closest[0].amount), str(max(0, remaining)), f"{reset:.{digits}f}")
        return dict(zip(RATE_LIMIT_HEADERS, values, strict=True))
