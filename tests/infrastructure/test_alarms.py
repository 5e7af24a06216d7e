"""The alarms: none misses its case, sends an e-mail for each retry, or one that means nothing."""

import re

import pytest

from tests.infrastructure.alarms import alarm_states
from tests.infrastructure.cloudformation import ROOT, Stack

STACK = Stack(EventBusName="orders")
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")
ABOUT_A_VERSION = [name for name in ALARMS if "Version" in name]
BEGIN_ONLY = [*ABOUT_A_VERSION, "DeadLetterAlarm"]
MINUTE_S, HOUR_S = 60, 3600
CREATED = (-1, "OK")


def mails(name, points, until_s):
    """Return the minutes in which an alarm sends a mail, and the state that it tells, given (seconds, value) points.

    The alarm is created a minute before the first: without data, and in the state in which AWS creates alarms.
    """
    alarm = ALARMS[name]
    template = {"Resources": {name: {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}
    actions = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
    sent, state = [], "INSUFFICIENT_DATA"
    for now in range(-MINUTE_S, until_s, MINUTE_S):
        [found] = alarm_states(template, {alarm["MetricName"]: points}, now)
        if found["state"] != state:
            state = found["state"]
            if alarm.get(actions[state]):
                sent.append((now // MINUTE_S, state))
    return sent


def repeated(every_s, until_s, value=lambda at_s: 1):
    return [(at_s, value(at_s)) for at_s in range(0, until_s, every_s)]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_and_mails_it_and_the_manual_says_more(name):
    alarm = ALARMS[name]
    assert len(re.findall(r"[.?)](?: |$)", alarm["AlarmDescription"])) >= 2
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm.get("OKActions") == (None if name in BEGIN_ONLY else [{"Ref": "AlarmTopic"}])
    if name not in ABOUT_A_VERSION:
        assert name in alarm["AlarmDescription"]
    assert f"`{name}`" in (ROOT / "docs" / "operations.md").read_text()


def test_refused_access_sends_nobody_to_the_support_for_what_the_restaurant_can_do():
    text = ALARMS["AccessDeniedAlarm"]["AlarmDescription"]
    assert "The restaurant itself" in text
    assert "support" not in text


@pytest.mark.parametrize("name", ALARMS)
def test_a_new_alarm_that_nothing_is_measured_for_mails_its_ok_once_and_one_about_a_version_nothing(name):
    """The versions' alarms are new with every release. The others are as old as the stack."""
    silent = name in BEGIN_ONLY or name == "TokenExpiryAlarm"
    assert mails(name, [], HOUR_S) == ([] if silent else [CREATED])


# What keeps an alarm up for two hours: the slowest repetition that there is. A mail at its beginning, a mail at its end.
LONGEST_BACKOFF_S, LONGEST_INVOCATION_S = 300, 170
TWO_HOURS_S = 2 * HOUR_S
# A refresh every 20 minutes, each with Lambda's two retries, after one and two minutes.
REFRESHES = [(at + retry, 1) for at in range(0, TWO_HOURS_S, 1200) for retry in (0, 75, 210)]


@pytest.mark.parametrize(
    ("name", "points", "first_minutes", "last_minutes"),
    [
        ("AccessDeniedAlarm", repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S), 1, 15),
        ("OutcomesUnpublishedAlarm", repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S), 1, 15),
        # The orders of a worker that crashed come back after the visibility timeout, and crash the next one at its end.
        ("QueueErrorsAlarm", repeated(180 + LONGEST_INVOCATION_S, TWO_HOURS_S), 1, 10),
        ("TokenRefreshAlarm", REFRESHES, 2, 25),
        ("ThrottledAlarm", repeated(60, TWO_HOURS_S, lambda _: 30), 3, 15),
        ("ApiErrorsAlarm", repeated(60, TWO_HOURS_S, lambda _: 3), 2, 15),
        ("WebhooksRefusedAlarm", repeated(60, TWO_HOURS_S), 10, 60),
        ("UnreadOrdersAlarm", repeated(60, TWO_HOURS_S, lambda at_s: at_s), 16, 6),
        # A dead letter that SQS measures late, and that is read now and then, which hides it for half a minute.
        ("DeadLettersLeftAlarm", [(at, int(at % 240 >= 60)) for at in range(900, TWO_HOURS_S, 60)], 75, 6),
        # An outage: one message, deferred at its longest intervals, or held by a worker for as long as it can.
        ("WaitingOrdersAlarm", repeated(LONGEST_BACKOFF_S, TWO_HOURS_S, lambda at_s: at_s), 21, 16),
        ("WaitingOrdersAlarm", repeated(90 + LONGEST_INVOCATION_S, TWO_HOURS_S, lambda at_s: at_s), 21, 16),
    ],
)
def test_a_lasting_problem_is_one_mail_when_it_begins_and_one_when_it_is_over(
    name, points, first_minutes, last_minutes
):
    end = TWO_HOURS_S // MINUTE_S
    [created, (begins, alarm), (ends, ok)] = mails(name, points, 2 * TWO_HOURS_S)
    assert (created, alarm, ok) == (CREATED, "ALARM", "OK")
    assert begins <= first_minutes
    assert end - 7 <= ends <= end + last_minutes, "OK means that it is well again, and soon after it is"


def test_a_dead_letter_is_mailed_within_two_minutes_and_nobody_is_told_that_it_is_well_again():
    """SQS takes up to 15 minutes to measure a queue that was idle, so the function counts."""
    assert ALARMS["DeadLetterAlarm"]["MetricName"] == "OrdersDeadLettered"
    assert mails("DeadLetterAlarm", [(30, 1)], TWO_HOURS_S) == [(1, "ALARM")]
    assert mails("DeadLetterAlarm", [(30, 1), (930, 2)], TWO_HOURS_S) == [(1, "ALARM"), (16, "ALARM")]
    assert mails("DeadLetterAlarm", repeated(540, TWO_HOURS_S), TWO_HOURS_S) == [(0, "ALARM")], "no flood"


def test_a_dead_letter_that_somebody_sees_to_within_fifty_minutes_is_not_mailed_again():
    assert mails("DeadLettersLeftAlarm", repeated(60, 50 * MINUTE_S), TWO_HOURS_S) == [CREATED]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        (
            "WaitingOrdersAlarm",
            [(at, at) for at in (2, 6, 14, 30, 60, 120, 250, 500, 800)],
        ),  # a few deferrals
        (
            "TokenRefreshAlarm",
            repeated(1200, TWO_HOURS_S),
        ),  # runs that fail, but succeed when Lambda retries them
    ],
)
def test_what_mends_itself_is_no_alarm(name, points):
    assert mails(name, points, TWO_HOURS_S) == [CREATED]


def test_a_token_that_expires_stays_an_alarm_until_a_newer_one_is_used():
    """The metric has data only when an order needs a token: an hour without data is not a recovery."""
    points = [(60, 2400), (1200, 700), (5000, 3500)]
    assert mails("TokenExpiryAlarm", points, TWO_HOURS_S) == [(1, "OK"), (20, "ALARM"), (84, "OK")]


def test_a_fault_of_a_new_version_is_still_an_alarm_when_codedeploy_looks():
    """A canary takes five minutes. A message that met a bug comes back after up to five, and must not mail again."""
    points = repeated(LONGEST_BACKOFF_S + 20, TWO_HOURS_S)
    assert mails("QueueVersionBugAlarm", points, TWO_HOURS_S) == [(0, "ALARM")]
    assert mails("ApiVersionCrashAlarm", [(30, 1), (290, 1)], HOUR_S) == [(1, "ALARM")]
