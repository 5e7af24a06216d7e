"""Send dead letters through the queue again: ``make redrive``.

Without a code, it only lists them. With a code, it first collects the messages that are in the dead-letter
queue and then moves them, so that a message that comes back is not sent again. It works the same on AWS and
locally. SQS's own redrive (``StartMessageMoveTask``) cannot select messages, and the emulator does not have
it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tools.operate.dead_letters import NO_CODE, error_code, message_counts, put_back, take, text_attribute
from tools.operate.stack import AWS_ERRORS, CannotStart, Deployed, explain
from tools.progress import Progress

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

EVERY_CODE = "all"
LISTED = 1000  # enough for an overview
LISTED_HIDDEN_S = 120  # reading them takes seconds
MOVED = 10_000
MOVED_HIDDEN_S = 900  # with 0.1 s per call, reading and moving 10,000 messages takes half of this
THREADS = 8
WATCHED_S = 60
POLL_S = 2

#: The attributes with the reason for dead-lettering; they are removed when a message is sent again.
REASONS = {"ErrorCode", "ErrorMessage", "OriginalMessageId"}


class Redrive:
    """Moves messages from the dead-letter queue of a stack back to its queue.

    Parameters
    ----------
    stack : Deployed
        The stack.
    """

    def __init__(self, stack: Deployed) -> None:
        self._sqs: SQSClient = stack.client("sqs")
        self._name = stack.name
        self._queue = stack.output("QueueUrl")
        self._dead_letters = stack.output("DeadLetterQueueUrl")
        self._progress = Progress()

    def take(self, *, limit: int, hidden_s: int) -> list[MessageTypeDef]:
        """Receive and hide the messages that are in the dead-letter queue now."""

        def report(count: int) -> None:
            self._progress.show(f"Read {count} dead letters")

        messages = take(self._sqs, self._dead_letters, limit=limit, hidden_s=hidden_s, report=report)
        self._progress.clear()
        return messages

    def put_back(self, messages: Sequence[MessageTypeDef]) -> None:
        """Make received messages visible in the dead-letter queue again."""
        put_back(self._sqs, self._dead_letters, messages)

    def show(self) -> None:
        """Print the dead letters by error code, and the commands to move them."""
        messages = self.take(limit=LISTED, hidden_s=LISTED_HIDDEN_S)
        self.put_back(messages)
        if not messages:
            print(f"The dead-letter queue of {self._name} is empty.")
            return
        first = "the first " if len(messages) == LISTED else ""
        print(f"{self._name}: {first}{len(messages)} dead letters by error code, with an example of each:\n")
        for code, group in by_code(messages).items():
            reason = text_attribute(group[0], "ErrorMessage") or "moved by SQS after its last receive"
            print(f"  {len(group):>5}  {code}: {reason}\n         {group[0]['Body'][:100]}")
        print("\nNothing was moved. Fix the cause, then send them through the queue again, by code or all:\n")
        for code in [*by_code(messages), EVERY_CODE]:
            print(f"  make redrive STACK={self._name} CODE={code}")

    def move(self, code: str) -> bool:
        """Send the messages with this code again; return False if one could not be sent or came back."""
        taken = self.take(limit=MOVED, hidden_s=MOVED_HIDDEN_S)
        chosen = [message for message in taken if code in (EVERY_CODE, error_code(message))]
        chosen_ids = {message["MessageId"] for message in chosen}
        self.put_back([message for message in taken if message["MessageId"] not in chosen_ids])
        if not chosen:
            print(
                f"No dead letter has the code {code}; there are: {', '.join(by_code(taken))}."
                if taken
                else f"The dead-letter queue of {self._name} is empty."
            )
            return False
        sent, errors = self._send(chosen)
        print(f"Sent {len(sent)} of {len(chosen)} messages through the queue again.")
        if len(taken) == MOVED:
            print(f"These were the first {MOVED}; run the command again for the rest.")
        for error, count in errors.items():
            print(f"{count} stay in the dead-letter queue: {error}")
        came_back = bool(sent) and self._watch(sent)
        return not errors and not came_back

    def _send(self, messages: Sequence[MessageTypeDef]) -> tuple[set[str], dict[str, int]]:
        """Move messages; return their new ids on the queue, and how many could not be moved, by reason."""
        sent: set[str] = set()
        deleted: set[str] = set()
        errors: dict[str, int] = defaultdict(int)

        def move_one(message: MessageTypeDef) -> str:
            try:
                sent.add(self._send_one(message))
                self._sqs.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=message["ReceiptHandle"])
                deleted.add(message["MessageId"])
            except AWS_ERRORS as error:  # refused, or SQS cannot be reached; the message stays where it is
                return explain(error)
            return ""

        pool = ThreadPoolExecutor(THREADS)
        try:
            for count, error in enumerate(pool.map(move_one, messages), 1):
                self._progress.show(f"Sent {count} of {len(messages)} messages")
                if error:
                    errors[error] += 1
        finally:  # also after Ctrl-C, so that the rest does not stay hidden for a quarter of an hour
            pool.shutdown(cancel_futures=True)
            self._progress.clear()
            self.put_back([message for message in messages if message["MessageId"] not in deleted])
        return sent, errors

    def _send_one(self, message: MessageTypeDef) -> str:
        trace = message.get("Attributes", {}).get("AWSTraceHeader")
        answer = self._sqs.send_message(
            QueueUrl=self._queue,
            MessageBody=message["Body"],
            MessageAttributes={
                name: value
                for name, value in message.get("MessageAttributes", {}).items()
                if name not in REASONS
            },
            MessageSystemAttributes=(
                {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}} if trace else {}
            ),
        )
        return answer["MessageId"]

    def _watch(self, sent: set[str]) -> bool:
        """Wait for the queue to empty, and return whether some of the messages came back."""
        deadline = time.monotonic() + WATCHED_S
        left, before = len(sent), 1
        # Empty twice in a row: SQS's counts are approximate, and late for messages that were just sent.
        while (left or before) and time.monotonic() < deadline:
            self._progress.show(f"Waiting for the queue to empty: {left} messages")
            time.sleep(POLL_S)
            left, before = sum(message_counts(self._sqs, self._queue)), left
        dead = self.take(limit=MOVED, hidden_s=LISTED_HIDDEN_S)
        self.put_back(dead)
        back = [message for message in dead if text_attribute(message, "OriginalMessageId") in sent]
        for code, group in by_code(back).items():
            print(f"{len(group)} came back with {code}: {text_attribute(group[0], 'ErrorMessage')}")
        if left:
            print(f"{left} messages are still on the queue. To check on them: make doctor STACK={self._name}")
        elif not back:
            print("None has come back.")
        return bool(back)


def by_code(messages: Sequence[MessageTypeDef]) -> dict[str, list[MessageTypeDef]]:
    """Group messages by their error code, the most frequent code first."""
    groups: dict[str, list[MessageTypeDef]] = defaultdict(list)
    for message in messages:
        groups[error_code(message)].append(message)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def main(arguments: Sequence[str] | None = None) -> int:
    """List or move dead letters; return the exit status."""
    parser = argparse.ArgumentParser(prog="redrive", description="Send dead letters through the queue again.")
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument(
        "--code",
        default="",
        help=f"move the messages with this ErrorCode ({NO_CODE}: those without one, {EVERY_CODE}: all); "
        "without it, messages are only listed",
    )
    options = parser.parse_args(arguments)
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    try:
        redrive = Redrive(Deployed.from_environment(options.stack))
        if options.code:
            return 0 if redrive.move(options.code) else 1
        redrive.show()
    except CannotStart as error:
        print(f"redrive: {error}", file=sys.stderr)
        return 1
    except AWS_ERRORS as error:  # a permission is missing, or SQS cannot be reached
        print(f"redrive: {explain(error, endpoint)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell would tell of Ctrl-C
    return 0


if __name__ == "__main__":
    sys.exit(main())
