"""What CloudWatch would measure for the template's alarms, as far as the logs and the queues say it.

The emulator measures none of it. What Lambda itself would count as `Errors` is in no log.
"""

from collections.abc import Iterable
from typing import Any

from local.alarms import Points

Json = dict[str, Any]


def measure(template: Json, records: Iterable[Json], queue: Json, now: float) -> dict[str, Points]:
    """Return the points of each metric.

    Parameters
    ----------
    template : dict
        Whose alarms look at the metrics.
    records : iterable of dict
        The functions' log lines, oldest first.
    queue : dict
        How many messages are `visible`, `hidden` and `dead` now.
    now : float
        Unix seconds.
    """
    alarms = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    # A metric that the functions write themselves is measured even if nothing was written yet.
    metrics: dict[str, Points] = {
        alarm["MetricName"]: [] for alarm in alarms if not alarm["Namespace"].startswith("AWS/")
    }
    failed_calls: Points = []
    for record in records:
        for directive in record.get("_aws", {}).get("CloudWatchMetrics", []):
            at = record["_aws"]["Timestamp"] / 1000
            for metric in directive["Metrics"]:
                values = record[metric["Name"]]
                points = metrics.setdefault(metric["Name"], [])
                points += [(at, value) for value in (values if isinstance(values, list) else [values])]
        # Of the error codes of a failed call, all but this one are 5xx answers.
        if record.get("outcome") == "failed" and record["result"]["error"] != "rate_limited":
            failed_calls.append((record["at"], 1))
    metrics["5XXError"] = failed_calls
    metrics["ApproximateNumberOfMessagesVisible"] = [(now, queue["dead"])]
    return metrics
