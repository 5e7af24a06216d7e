"""Read new log lines of the functions."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

OVERLAP_MS = 2000  # lines with the same timestamp may become visible at different times


class NewLogLines:
    """Reads log groups incrementally: reading everything each second would take longer and longer.

    Parameters
    ----------
    logs : boto3 client
        A client of CloudWatch Logs.
    groups : sequence of str
        Names of the log groups.
    """

    def __init__(self, logs: Any, groups: Sequence[str]) -> None:
        self._logs = logs
        self._ids = itertools.count(1)
        self._seen: dict[str, set[str]] = {group: set() for group in groups}
        self._since_ms = dict.fromkeys(groups, 0)

    def __iter__(self) -> Iterator[Json]:
        """Yield the JSON objects that are new, with a number (`id`) and their time (`at`, Unix seconds)."""
        for group, seen in self._seen.items():
            pages = self._logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=self._since_ms[group]
            )
            read = [event for page in pages for event in page["events"]]
            for event in read:
                if event["message"] not in seen and event["message"].startswith("{"):
                    yield json.loads(event["message"]) | {
                        "id": str(next(self._ids)),
                        "at": event["timestamp"] / 1000,
                    }
            if read:
                self._seen[group] = {event["message"] for event in read}
                self._since_ms[group] = read[-1]["timestamp"] - OVERLAP_MS
