"""Checks of the alarms: their states, and who is notified."""

from __future__ import annotations

from datetime import UTC

from tools.operate.checks.findings import Findings, ok, problem
from tools.operate.stack import Deployed


def alarms(stack: Deployed) -> Findings:
    """No alarm is in ALARM, and the actions of all of them are enabled."""
    names = stack.physical_ids("AWS::CloudWatch::Alarm")
    pages = (
        stack.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=list(names.values()))
    )
    found = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    for logical_id, name in names.items():
        alarm = found.get(name)
        if alarm is None:
            yield problem(f"{logical_id} has been deleted", f"Deploy again: {stack.deploy_command}")
            continue
        if alarm["StateValue"] == "ALARM":
            since = alarm["StateUpdatedTimestamp"].astimezone(UTC)
            yield problem(
                f"{logical_id} has been in ALARM since {since:%Y-%m-%d %H:%M} UTC",
                alarm.get("AlarmDescription", "").rstrip("."),
            )
        if not alarm["ActionsEnabled"]:
            yield problem(
                f"the actions of {logical_id} are disabled, so it tells nobody",
                f"Run: aws cloudwatch enable-alarm-actions --alarm-names {name}",
            )
    if stack.endpoint:
        yield ok(f"the actions of all {len(names)} are enabled; the local emulator does not evaluate them")
    else:
        yield ok(f"none of {len(names)} is in ALARM, and their actions are enabled")


def subscriptions(stack: Deployed) -> Findings:
    """The subscriptions to alarms are confirmed."""
    topic, email = stack.physical_id("AlarmTopic"), stack.parameters["AlarmEmail"]
    attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    confirmed, pending = int(attributes["SubscriptionsConfirmed"]), int(attributes["SubscriptionsPending"])
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint"
    if pending:
        yield problem(
            f"{pending} of {confirmed + pending} subscriptions to alarms are not confirmed",
            "Open the link in the e-mail from AWS Notifications. "
            f"To get it again, run: {subscribe} {email or 'ops@example.com'}",
        )
    elif email and not confirmed:
        yield problem(f"{email} does not get the alarms any more", f"Run: {subscribe} {email}")
    if not confirmed and not email:
        yield ok("none, as AlarmEmail is empty: nobody is told of alarms")
    else:
        yield ok(f"{confirmed} confirmed")
