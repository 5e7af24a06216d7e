"""The states that CloudWatch would give a template's alarms; the emulator ignores periods and dimensions."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Points = list[tuple[float, float]]  # Unix seconds, value

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max, "Minimum": min}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}


def alarm_states(template: Json, metrics: Mapping[str, Points], now: float) -> list[Json]:
    """Return the state that CloudWatch would give each alarm of a template.

    Periods end now, while CloudWatch's end with the minute. Missing data counts as not breaching, or is
    ignored: these are the two treatments that the template's alarms use.

    `metrics` has the data points by the names of the metrics, and `now` is in Unix seconds. The `state` is `ALARM`,
    `OK`, or `INSUFFICIENT_DATA` if the metric is not measured, or has no data yet and missing data is ignored;
    `value` is that of the latest period.
    """
    return [
        _state(resource["Properties"], metrics, now)
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]


def _state(alarm: Json, metrics: Mapping[str, Points], now: float) -> Json:
    breaches = COMPARISONS[alarm["ComparisonOperator"]]
    threshold, periods, period_s = alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]
    points = [(at, value) for at, value in metrics.get(alarm["MetricName"], []) if at <= now]
    end, measured = now, alarm["MetricName"] in metrics
    if alarm.get("TreatMissingData") == "ignore":  # the state stays that of the last data
        end, measured = max((at for at, _ in points), default=now), bool(points)
    values: list[float | None] = []
    for last in (end - period_s * number for number in range(periods)):
        inside = [value for at, value in points if last - period_s < at <= last]
        values.append(STATISTICS[alarm["Statistic"]](inside) if inside else None)
    breaching = sum(value is not None and breaches(value, threshold) for value in values)
    state = "ALARM" if breaching >= int(alarm.get("DatapointsToAlarm") or periods) else "OK"
    return {"value": values[0], "state": state if measured else "INSUFFICIENT_DATA"}
