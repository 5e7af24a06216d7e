"""Checks of the queue and the dead-letter queue."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from tools.operate.checks.findings import Findings, ok, problem, unknown
from tools.operate.dead_letters import error_code, message_counts, put_back, take
from tools.operate.stack import Deployed, duration

WAITING_LONG_S = 900  # the threshold of WaitingOrdersAlarm
DEAD_LETTERS_READ = 100
DEAD_LETTERS_HIDDEN_S = 30  # reading them takes a second or two


def queue(stack: Deployed) -> Findings:
    """No message has been waiting for long."""
    visible, hidden = message_counts(stack.client("sqs"), stack.outputs["QueueUrl"])
    if not visible + hidden:
        yield ok("empty")
        return
    waiting = f"{visible + hidden} waiting, {hidden} of them in progress or deferred"
    age_s = oldest_message_s(stack)
    if age_s is None:
        without = "the local emulator measures no ages" if stack.endpoint else "no age has been measured yet"
        yield ok(f"{waiting}; {without}")
    elif age_s >= WAITING_LONG_S:
        yield problem(
            f"{waiting}; the oldest has been waiting for {duration(age_s)}",
            "Nothing is lost. Fix the problems above; if there are none, read why orders are deferred: "
            f".venv/bin/sam logs --stack-name {stack.name} --name QueueFunction --filter deferred",
        )
    else:
        yield ok(f"{waiting}; the oldest has been waiting for {duration(age_s)}")


def oldest_message_s(stack: Deployed) -> float | None:
    """Return the age of the oldest message, as SQS or (for deferred messages) the worker last measured it."""
    queue_name = stack.outputs["QueueArn"].rpartition(":")[2]
    metrics = (
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"Name": "QueueName", "Value": queue_name}),
        ("CloposOrders", "MessageAge", {"Name": "service", "Value": stack.name}),
    )
    now = datetime.now(UTC)
    answer = stack.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(minutes=10),
        EndTime=now,
        ScanBy="TimestampDescending",
        MetricDataQueries=[
            {
                "Id": f"age{number}",
                "MetricStat": {
                    "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": [dimension]},
                    "Period": 300,
                    "Stat": "Maximum",
                },
            }
            for number, (namespace, name, dimension) in enumerate(metrics)
        ],
    )
    return max(
        (series["Values"][0] for series in answer["MetricDataResults"] if series["Values"]), default=None
    )


def dead_letters(stack: Deployed) -> Findings:
    """No message is in the dead-letter queue."""
    sqs, url = stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"]
    count = sum(message_counts(sqs, url))
    if not count:
        yield ok("none")
        return
    sample = take(sqs, url, limit=min(count, DEAD_LETTERS_READ), hidden_s=DEAD_LETTERS_HIDDEN_S)
    put_back(sqs, url, sample)
    if not sample:
        yield unknown(
            f"about {count}, all of them hidden: somebody is reading them", "Run the doctor again in a minute"
        )
        return
    codes = ", ".join(f"{code} {number}" for code, number in Counter(map(error_code, sample)).most_common())
    read = f" among the {len(sample)} that were read" if len(sample) < count else ""
    oldest_s = time.time() - min(int(message["Attributes"]["SentTimestamp"]) for message in sample) / 1000
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])[
        "Attributes"
    ]
    left_s = int(attributes["MessageRetentionPeriod"]) - oldest_s
    yield problem(
        f"about {count}: {codes}{read}; SQS deletes the oldest of them in {duration(left_s)}",
        f"To see them, and to send them through the queue again: make redrive STACK={stack.name}",
    )
