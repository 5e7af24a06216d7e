"""Calculate the metrics of the template's alarms from the logs and the queues, since the emulator has none.

Lambda's own metric `Errors` is not included: crashes are not in the logs.
"""

from collections.abc import Iterable
from typing import Any

from local.emulator.alarms import Points

Json = dict[str, Any]


def measure(template: Json, records: Iterable[Json], queue: Json, now: float) -> dict[str, Points]:
    """Return the points of each metric.

    Parameters
    ----------
    template : dict
        The template with the alarms.
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
    # A metric that the functions write is included even if it has no data yet.
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
        # Of the error codes of failed calls, all but this one have a 5xx status.
        if record.get("outcome") == "failed" and record["result"]["error"] != "rate_limited":
            failed_calls.append((record["at"], 1))
    metrics["5XXError"] = failed_calls
    metrics["ApproximateNumberOfMessagesVisible"] = [(now, queue["dead"])]
    return metrics
