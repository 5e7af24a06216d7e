"""The alarms: none misses its case, or sends an e-mail for each retry."""

import re

import pytest

from local.emulator.alarms import alarm_states
from tests.infrastructure.cloudformation import ROOT, Stack

STACK = Stack(EventBusName="orders")
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")
MINUTE_S, HOUR_S = 60, 3600


def mails(name, points, until_s):
    """Return the minutes in which an alarm changes its state, and to what: it sends a mail for each.

    Parameters
    ----------
    name : str
        Logical id of the alarm.
    points : list of tuple
        What is measured: seconds, value.
    until_s : int
        When to stop looking.
    """
    template = {"Resources": {name: {"Type": "AWS::CloudWatch::Alarm", "Properties": ALARMS[name]}}}
    changes, state = [], "OK"
    for now in range(0, until_s, MINUTE_S):
        [found] = alarm_states(template, {ALARMS[name]["MetricName"]: points}, now)
        if found["state"] != state:
            state = found["state"]
            changes.append((now // MINUTE_S, state))
    return changes


def repeated(every_s, until_s, value=lambda at_s: 1, first_s=0):
    return [(at_s, value(at_s)) for at_s in range(first_s, until_s, every_s)]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_and_has_actions(name):
    alarm = ALARMS[name]
    assert len(re.findall(r"[.?)](?: |$)", alarm["AlarmDescription"])) >= 2
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    if "Version" not in name:
        assert name in alarm["AlarmDescription"], "it says where the manual has more"


def test_the_manual_names_every_alarm():
    manual = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in ALARMS if f"`{name}`" not in manual] == []


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_costs_what_a_standard_alarm_costs_and_looks_back_a_day_at_most(name):
    alarm = ALARMS[name]
    assert alarm["Period"] % 60 == 0
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 24 * HOUR_S
    assert 1 <= alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


@pytest.mark.parametrize("name", [name for name in ALARMS if name != "TokenExpiryAlarm"])
def test_an_alarm_is_ok_when_nothing_is_measured(name):
    assert ALARMS[name]["TreatMissingData"] == "notBreaching"
    assert mails(name, [], HOUR_S) == []


# What keeps an alarm up for two hours: the slowest repetition that there is. A mail at its beginning, a mail at its end.
LONGEST_BACKOFF_S, LONGEST_INVOCATION_S = 300, 170
TWO_HOURS_S = 2 * HOUR_S


@pytest.mark.parametrize(
    ("name", "points", "first_minutes", "last_minutes"),
    [
        ("AccessDeniedAlarm", repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S), 1, 15),
        ("OutcomesUnpublishedAlarm", repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S), 1, 15),
        # The orders of a worker that crashed come back after the visibility timeout, and crash the next one at its end.
        ("QueueErrorsAlarm", repeated(180 + LONGEST_INVOCATION_S, TWO_HOURS_S), 1, 10),
        ("QueueVersionBugAlarm", repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S), 1, 10),
        # A message in the dead-letter queue that is read now and then, which hides it for half a minute.
        ("DeadLetterAlarm", [(at, int(at % 240 >= 60)) for at in range(0, TWO_HOURS_S, 60)], 2, 5),
        # A refresh every 20 minutes, each with Lambda's two retries, after one and two minutes.
        (
            "TokenRefreshAlarm",
            [(at + retry, 1) for at in range(0, TWO_HOURS_S, 1200) for retry in (0, 75, 210)],
            2,
            25,
        ),
        ("ThrottledAlarm", repeated(60, TWO_HOURS_S, lambda _: 30), 3, 15),
        ("ApiErrorsAlarm", repeated(60, TWO_HOURS_S, lambda _: 3), 2, 15),
        ("WebhooksRefusedAlarm", repeated(60, TWO_HOURS_S), 10, 60),
        ("UnreadOrdersAlarm", repeated(60, TWO_HOURS_S, lambda at_s: at_s), 16, 6),
    ],
)
def test_a_lasting_problem_is_one_mail_when_it_begins_and_one_when_it_is_over(
    name, points, first_minutes, last_minutes
):
    end = TWO_HOURS_S // MINUTE_S
    [(begins, alarm), (ends, ok)] = mails(name, points, 2 * TWO_HOURS_S)
    assert (alarm, ok) == ("ALARM", "OK")
    assert begins <= first_minutes
    assert end - 7 <= ends <= end + last_minutes, "OK means that it is well again, and soon after it is"


@pytest.mark.parametrize("held_s", [0, LONGEST_INVOCATION_S])
def test_an_outage_is_one_mail_after_a_quarter_of_an_hour_and_one_when_no_order_waits(held_s):
    """One message that is deferred at its longest intervals; `held_s` is how long a worker keeps it."""
    waits = LONGEST_BACKOFF_S + held_s if not held_s else 90 + held_s
    ages = repeated(waits, TWO_HOURS_S, lambda at_s: at_s, first_s=20)
    [(begins, _), (ends, _)] = mails("WaitingOrdersAlarm", ages, 2 * TWO_HOURS_S)
    assert 15 <= begins <= 21
    assert 120 - 6 <= ends <= 120 + 16


def test_an_order_that_is_deferred_a_few_times_is_no_alarm():
    assert (
        mails("WaitingOrdersAlarm", [(at, at) for at in (2, 6, 14, 30, 60, 120, 250, 500, 800)], HOUR_S) == []
    )


def test_one_failed_refresh_that_succeeds_when_lambda_retries_it_is_no_alarm():
    assert mails("TokenRefreshAlarm", repeated(1200, TWO_HOURS_S), TWO_HOURS_S) == []


def test_a_token_that_expires_stays_an_alarm_until_a_newer_one_is_used():
    """The metric has data only when an order needs a token: an hour without data is not a recovery."""
    points = [(60, 2400), (1200, 700), (5000, 3500)]
    assert mails("TokenExpiryAlarm", points, TWO_HOURS_S) == [(20, "ALARM"), (84, "OK")]


def test_a_crash_of_a_new_version_is_still_an_alarm_when_codedeploy_looks():
    [(begins, _), (ends, _)] = mails("ApiVersionCrashAlarm", [(30, 1)], HOUR_S)
    assert begins == 1
    assert ends - begins == 5  # minutes; a canary takes as long


def test_no_alarm_about_a_token_refresh_that_is_switched_off():
    assert "TokenRefreshAlarm" not in Stack(TokenRefresh="DISABLED").resources


def test_no_alarm_about_outcomes_that_are_not_published():
    assert "OutcomesUnpublishedAlarm" not in Stack().resources
