"""The findings of the checks of `make doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the result.

    Attributes
    ----------
    state : str
        ``ok``, ``problem``, or ``unknown`` if it could not be checked, for a reason that is not a problem of
        the stack.
    text : str
        What was found.
    fix : str
        How to fix it: the command to run, if there is one.
    """

    state: str
    text: str
    fix: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something has to be fixed."""
        return self.state == "problem"

    def line(self, check: str) -> str:
        """Return the line that an operator reads."""
        return f"{self.state:<8} {check}: {self.text}" + (f". {self.fix}" if self.fix else "")


#: What a check yields: its problems, and at the end an `ok`, which is only shown if there are no problems.
Findings = Iterator[Finding]


def significant(findings: Findings) -> list[Finding]:
    """Return what to show to the operator: everything but `ok`, or the `ok` if there is nothing else."""
    found = list(findings)
    return [finding for finding in found if finding.state != "ok"] or found


def ok(text: str) -> Finding:
    """Return a finding that is not a problem."""
    return Finding("ok", text)


def problem(text: str, fix: str) -> Finding:
    """Return a problem and its fix, which is a sentence: ``Run: make doctor REFRESH=1``."""
    return Finding("problem", text, fix)


def unknown(text: str, fix: str = "") -> Finding:
    """Return why something could not be checked."""
    return Finding("unknown", text, fix)
