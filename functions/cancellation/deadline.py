"""How much time is left, for whatever may block."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment after which nobody waits for the result any more.

    Parameters
    ----------
    at : float
        Seconds on the clock of `time.monotonic`.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that is `seconds` away."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds left, 0 where it has passed."""
        return max(0.0, self.at - time.monotonic())
