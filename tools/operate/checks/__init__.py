"""The checks of `make doctor`, and what they find."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the result: ``ok``, ``problem``, or ``unknown``, if something could not be checked.

    `fix` is a sentence, with the command to run if there is one.
    """

    state: str
    text: str
    fix: str = ""

    def line(self, check: str) -> str:
        """Return the line that an operator reads."""
        return f"{self.state:<8} {check}: {self.text}" + (f". {self.fix}" if self.fix else "")


ok, problem, unknown = (partial(Finding, state) for state in ("ok", "problem", "unknown"))

#: What a check yields: its problems, and at the end an `ok`, which is only shown if there are no problems.
Findings = Iterator[Finding]
