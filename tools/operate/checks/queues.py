"""Checks of the queue and the dead-letter queue."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from tools.operate.checks.findings import Findings, in_words, ok, problem, unknown
from tools.operate.checks.orders import oldest_deferred
from tools.operate.dead_letters import message_counts, put_back, take
from tools.operate.stack import Deployed, duration

WAITING_LONG_S = 900  # the threshold of WaitingOrdersAlarm and UnreadOrdersAlarm
DEAD_LETTERS_READ = 100
DEAD_LETTERS_HIDDEN_S = 30  # reading them takes a second or two


def queue(stack: Deployed) -> Findings:
    """No message has been waiting for long."""
    visible, hidden = message_counts(stack.client("sqs"), stack.outputs["QueueUrl"])
    if not visible + hidden:
        yield ok("empty")
        return
    text = f"{visible + hidden} waiting, {hidden} of them in progress or deferred"
    unread_s, (deferred_s, order) = oldest_unread_s(stack), oldest_deferred(stack)
    if order:
        text += f"; the oldest that was tried, order {order}, has waited for {duration(deferred_s)}"
    if unread_s:
        text += f"; the oldest that was not, for {duration(unread_s)}"
    if max(unread_s, deferred_s) >= WAITING_LONG_S:
        section = "WaitingOrdersAlarm" if deferred_s >= unread_s else "UnreadOrdersAlarm"
        yield problem(text, f"Nothing is lost. Fix the problems above (docs/operations.md, {section})")
    yield ok(text)


def oldest_unread_s(stack: Deployed) -> float:
    """Return the age that SQS has measured, which leaves out what was received three times; 0 without one."""
    name, now = stack.outputs["QueueArn"].rpartition(":")[2], datetime.now(UTC)
    measured = stack.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now,
        Period=600,
        Statistics=["Maximum"],
    )
    return max((point["Maximum"] for point in measured["Datapoints"]), default=0.0)


def dead_letters(stack: Deployed) -> Findings:
    """No message is in the dead-letter queue."""
    sqs, url, kept = stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"], "MessageRetentionPeriod"
    count = sum(message_counts(sqs, url))
    sample = take(sqs, url, limit=min(count, DEAD_LETTERS_READ), hidden_s=DEAD_LETTERS_HIDDEN_S)
    put_back(sqs, url, sample)
    if not count:
        yield ok("none")
    elif not sample:
        text = f"about {count}, all of them hidden: somebody is reading them"
        yield unknown(text, "Run the doctor again in a minute")
    else:
        codes = in_words(Counter(letter.code for letter in sample))
        read = f" among the {len(sample)} that were read" if len(sample) < count else ""
        kept_s = int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[kept])["Attributes"][kept])
        left = duration(min(letter.sent_at for letter in sample) + kept_s - time.time())
        yield problem(
            f"about {count}: {codes}{read}; SQS deletes the oldest of them in {left}",
            f"To see them: make dead-letters STACK={stack.name} (docs/operations.md, DeadLetterAlarm)",
        )
