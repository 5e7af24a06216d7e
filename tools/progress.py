"""Show the progress of long operations."""

from __future__ import annotations

import sys
import time


class Progress:
    """Shows one line of progress: overwritten in a terminal, repeated every `interval_s` in a log."""

    def __init__(self, interval_s: float = 5) -> None:
        self._interval_s = interval_s
        self._is_terminal = sys.stderr.isatty()
        self._next_at = time.monotonic() + interval_s

    def show(self, text: str) -> None:
        """Show the current state."""
        if self._is_terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + self._interval_s
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line, so that a result can take its place."""
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
