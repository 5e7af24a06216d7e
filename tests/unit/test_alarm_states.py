"""The state in which CloudWatch would have an alarm, as the tests compute it."""

import pytest

from tests.infrastructure.alarms import alarm_states


def alarm(**properties):
    defaults = {
        "AlarmDescription": "",
        "MetricName": "Metric",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": defaults | properties}}}


@pytest.mark.parametrize(
    ("properties", "points", "state", "value"),
    [
        ({}, [(999, 3), (950, 3)], "ALARM", 6),
        ({}, [(999, 3), (939, 3)], "OK", 3),
        ({}, [(999, 5)], "OK", 5),
        ({"ComparisonOperator": "GreaterThanOrEqualToThreshold"}, [(999, 5)], "ALARM", 5),
        (
            {"Statistic": "Minimum", "ComparisonOperator": "LessThanThreshold"},
            [(999, 9), (998, 4)],
            "ALARM",
            4,
        ),
        ({"EvaluationPeriods": 2}, [(999, 6)], "OK", 6),
        ({"EvaluationPeriods": 2}, [(999, 6), (930, 6)], "ALARM", 6),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 1}, [(830, 6)], "ALARM", None),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 1}, [(820, 6)], "OK", None),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, [(999, 6), (830, 6)], "ALARM", 6),
        ({"TreatMissingData": "ignore"}, [(500, 6)], "ALARM", 6),
        ({"TreatMissingData": "ignore"}, [(500, 6), (600, 4)], "OK", 4),
        ({"TreatMissingData": "ignore"}, [], "INSUFFICIENT_DATA", None),
        ({}, [], "OK", None),
        ({}, None, "INSUFFICIENT_DATA", None),
    ],
)
def test_an_alarm_compares_the_statistic_of_its_periods(properties, points, state, value):
    metrics = {} if points is None else {"Metric": points}
    [told] = alarm_states(alarm(**properties), metrics, now=1000)
    assert (told["state"], told["value"]) == (state, value)
