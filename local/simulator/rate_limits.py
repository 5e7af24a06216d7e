"""A quota: calls counted in a sliding window, and the rate-limit headers."""

import math
import time
from collections import deque

from local.simulator.answers import Headers


class Window:
    """The calls of one tier. One count is enough: there is one brand, and all callers have one address."""

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit, self.length_s = limit, length_s
        self._calls: deque[float] = deque()  # when they came, oldest first

    def resized(self, limit: int, length_s: float) -> "Window":
        """Return this window, or an empty one if its size changes."""
        return self if (limit, length_s) == (self.limit, self.length_s) else Window(limit, length_s)

    def left(self) -> int:
        """Return how many more calls fit into the window now."""
        while self._calls and self._calls[0] <= time.monotonic() - self.length_s:
            self._calls.popleft()
        return self.limit - len(self._calls)

    def count(self) -> bool:
        """Count a call, unless the window is full; return whether it was counted."""
        has_room = self.left() > 0
        if has_room:
            self._calls.append(time.monotonic())
        return has_room

    def headers(self) -> Headers:
        """Return the rate-limit headers. The window resets when its oldest call leaves it."""
        left, now = self.left(), time.monotonic()
        reset_s = self._calls[0] + self.length_s - now if self._calls else 0.0
        digits = 0 if self.length_s >= 60 else 3
        reset = f"{math.ceil(reset_s * 10**digits) / 10**digits:.{digits}f}"
        names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
        return dict(zip(names, (str(self.limit), str(left), reset), strict=True))
