"""The results as Markdown."""

from collections.abc import Callable, Sequence

from local.common import say


class Report:
    """Targets, comparisons of two builds, and other tables. `missed` is the number of missed targets.

    Parameters
    ----------
    earlier : str
        The name of the build to compare with; empty for none.
    """

    def __init__(self, earlier: str = "") -> None:
        self._earlier = earlier
        self._targets: list[tuple[str, ...]] = []
        self._compared: list[tuple[str, ...]] = []
        self._tables: list[str] = []
        self.missed = 0

    def target(self, name: str, measured: str, is_met: bool, limit: str) -> None:
        """Add a target and the measured value."""
        self.missed += not is_met
        self._targets.append((name, limit, measured, "met" if is_met else "**missed**"))
        say(f"  {'met   ' if is_met else 'MISSED'}  {name}: {measured}; target {limit}")

    def compare(self, name: str, values: Sequence[float], shown: Callable[[float], str]) -> None:
        """Add a comparison of two builds; does nothing if there is only one.

        Parameters
        ----------
        name : str
            What was measured; less is better.
        values : sequence of float
            The values of this build and of the earlier one.
        shown : callable
            Formats a value with its unit.
        """
        if len(values) == 2:
            now, before = values
            ratio = f"{now / before:.2f} x" if before else "the same" if now == before else "more"
            self._compared.append((name, shown(before), shown(now), ratio))
            say(f"  {name}: {shown(before)} before, {shown(now)} now, {ratio}")

    def table(self, title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Add a table."""
        self._tables.append(f"### {title}\n\n{_markdown(head, rows)}")

    def text(self) -> str:
        """Return the page."""
        parts = [f"### Targets\n\n{_markdown(('what', 'target', 'measured', ''), self._targets)}"]
        if self._compared:
            head = ("what", self._earlier, "now", "now / before")
            parts.append(f"### Side by side\n\n{_markdown(head, self._compared)}")
        return "\n\n".join([*parts, *self._tables])


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
