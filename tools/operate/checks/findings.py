"""The findings of the checks of `make doctor`."""

from collections import Counter
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


def significant(findings: Findings) -> list[Finding]:
    """Return what to show to the operator: everything but `ok`, or the `ok` if there is nothing else."""
    found = list(findings)
    return [finding for finding in found if finding.state != "ok"] or found[-1:]


def in_words(counts: Counter[str]) -> str:
    """Return counts in words, the largest first: ``deferred 3, failed 1``."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
