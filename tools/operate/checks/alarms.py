"""Checks of the alarms: their states, and who is notified."""

from datetime import UTC

from tools.operate.checks.findings import Findings, ok, problem
from tools.operate.stack import Deployed


def alarms(stack: Deployed) -> Findings:
    """No alarm is in ALARM, and the actions of all of them are enabled."""
    names = stack.physical_ids("AWS::CloudWatch::Alarm")
    pages = stack.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=[*names.values()])
    found = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    for logical_id, name in names.items():
        alarm = found.get(name)
        if alarm is None:
            yield problem(f"{logical_id} has been deleted", f"Deploy again: {stack.deploy_command}")
            continue
        # The emulator ignores dimensions and periods: a metric of one function sets the alarms of all.
        if alarm["StateValue"] == "ALARM" and not stack.endpoint:
            since = f"{alarm['StateUpdatedTimestamp'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            help_ = alarm.get("AlarmDescription", "").rstrip(".")
            yield problem(f"{logical_id} has been in ALARM since {since}", help_)
        if not alarm["ActionsEnabled"]:
            enable = f"aws cloudwatch enable-alarm-actions --alarm-names {name}"
            yield problem(f"the actions of {logical_id} are disabled, so it tells nobody", f"Run: {enable}")
    states = "the local emulator does not evaluate them" if stack.endpoint else "none is in ALARM"
    yield ok(f"the actions of all {len(names)} are enabled; {states}")


def subscriptions(stack: Deployed) -> Findings:
    """The subscriptions to alarms are confirmed."""
    topic, email = stack.physical_id("AlarmTopic"), stack.parameters["AlarmEmail"]
    attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    confirmed, pending = int(attributes["SubscriptionsConfirmed"]), int(attributes["SubscriptionsPending"])
    address = email or "ops@example.com"
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint {address}"
    if pending:
        text = f"{pending} of {confirmed + pending} subscriptions to alarms are not confirmed"
        again = f"To get it again, run: {subscribe}"
        yield problem(text, f"Open the link in the e-mail from AWS Notifications. {again}")
    elif email and not confirmed:
        yield problem(f"{email} does not get the alarms any more", f"Run: {subscribe}")
    none = "none, as AlarmEmail is empty: nobody is told of alarms"
    yield ok(f"{confirmed} confirmed" if confirmed or email else none)
