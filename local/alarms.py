"""What CloudWatch would make of a template's alarms; the emulator looks at neither periods nor dimensions."""

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Points = list[tuple[float, float]]  # Unix seconds, value

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max, "Minimum": min}
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": (">", lambda value, threshold: value > threshold),
    "GreaterThanOrEqualToThreshold": ("≥", lambda value, threshold: value >= threshold),
    "LessThanThreshold": ("<", lambda value, threshold: value < threshold),
}


def alarm_states(template: Json, metrics: Mapping[str, Points], now: float) -> list[Json]:
    """Return the state in which CloudWatch would have each alarm of a template.

    Its periods end now, while CloudWatch's end with the minute; and each alarm treats missing data as not
    breaching, as all of this template do.

    Parameters
    ----------
    template : dict
        With the alarms among its resources.
    metrics : dict
        What was measured, by the metric's name.
    now : float
        Unix seconds.

    Returns
    -------
    list of dict
        `name`, `metric`, `breached` (when), `help`, `value` (of the latest period; None without data) and
        `state`: `ALARM`, `OK`, or `INSUFFICIENT_DATA` where nobody measures the metric.
    """
    states = []
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::CloudWatch::Alarm":
            continue
        alarm = resource["Properties"]
        points, period, threshold = metrics.get(alarm["MetricName"]), alarm["Period"], alarm["Threshold"]
        sign, breaches = COMPARISONS[alarm["ComparisonOperator"]]
        values: list[float | None] = []
        for end in (now - period * number for number in range(alarm["EvaluationPeriods"])):
            inside = [value for at, value in points or [] if end - period < at <= end]
            values.append(STATISTICS[alarm["Statistic"]](inside) if inside else None)
        is_breached = all(value is not None and breaches(value, threshold) for value in values)
        states.append(
            {
                "name": name.removesuffix("Alarm"),
                "metric": alarm["MetricName"],
                "breached": f"{sign} {threshold}",
                "help": alarm["AlarmDescription"],
                "value": values[0],
                "state": "INSUFFICIENT_DATA" if points is None else "ALARM" if is_breached else "OK",
            }
        )
    return states
