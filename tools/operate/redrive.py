"""List dead letters, delete them, or send them through the queue again.

All of them are collected first, so that one that comes back is not sent a second time. It works the same on
AWS and locally. SQS's own redrive (``StartMessageMoveTask``) cannot select messages, and the emulator does
not have it.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tools.operate.checks.findings import in_words
from tools.operate.dead_letters import Letter, message_counts, put_back, take
from tools.operate.stack import AWS_ERRORS, Deployed, duration, explain
from tools.progress import Progress

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

EVERY_CODE = "all"
TAKEN = 10_000
LISTED_HIDDEN_S = 120  # reading them takes seconds
MOVED_HIDDEN_S = 900  # with 0.1 s per call, reading and moving 10,000 messages takes half of this
THREADS = 8
WATCHED_S = 60
POLL_S = 2

#: The attributes with the reason for dead-lettering; they are removed when a message is sent again.
REASONS = {"ErrorCode", "ErrorMessage", "OriginalMessageId"}

HEADINGS = ("code", "order", "venue", "receipt", "age", "webhook", "message", "reason")


class DeadLetters:
    """The dead letters of a stack: those with a code, those about an order, or all (if both are empty)."""

    def __init__(self, stack: Deployed, code: str = "", order: str = "") -> None:
        self._sqs: SQSClient = stack.client("sqs")
        self._name, self._code, self._order = stack.name, code, order
        self._queue, self._dead_letters = stack.output("QueueUrl"), stack.output("DeadLetterQueueUrl")
        self._progress = Progress()

    def show(self, *, as_csv: bool, bodies: bool) -> bool:
        """Print one line per message, and what can be done with them; return whether there is any."""
        letters = self._take(LISTED_HIDDEN_S)
        self._put_back(letters)
        table = [HEADINGS, *map(cells, letters)]
        texts = [(), *((letter.message["Body"],) if bodies else () for letter in letters)]
        if as_csv:
            texts[0] = ("body",) if bodies else ()
            csv.writer(sys.stdout).writerows(map(tuple.__add__, table, texts))
        elif letters:
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            for row, text in zip(table, texts, strict=True):
                line = "  ".join(f"{cell or '-':<{width}}" for cell, width in zip(row, widths, strict=True))
                print(line.rstrip(), *text, sep="\n    ")
            codes = Counter(letter.code for letter in letters)
            print(f"\n{in_words(codes)}. Nothing was changed.\n")
            for code in [*codes, EVERY_CODE]:
                print(f"  make redrive STACK={self._name} CODE={code}")
            print(f"  make dead-letters STACK={self._name} DELETE=1 CODE=...\n\nORDER=... selects by order.")
        return bool(letters)

    def delete(self, *, sure: bool) -> bool:
        """Delete the messages, after a question; return whether they are gone."""
        letters = self._take(MOVED_HIDDEN_S)
        codes = in_words(Counter(letter.code for letter in letters))
        try:
            sure = sure or (bool(letters) and ask(f"Delete {len(letters)} dead letters ({codes}) for good?"))
        finally:  # also after Ctrl-C
            if not sure:
                self._put_back(letters)
                print("Nothing was deleted.")
        return sure and bool(letters) and self._each(letters, self._delete, "Deleted {} of {} messages.")[0]

    def redrive(self) -> bool:
        """Send the messages again; return False if one could not be sent, or came back."""
        letters = self._take(MOVED_HIDDEN_S)
        if not letters:
            return False
        sent = "Sent {} of {} messages through the queue again."
        all_sent, ids = self._each(letters, self._send, sent)
        return not (ids and self._watch(ids)) and all_sent

    def _take(self, hidden_s: int) -> list[Letter]:
        """Receive and hide the messages that are meant, and say so if there are none."""
        report = self._progress.show
        found = take(self._sqs, self._dead_letters, limit=TAKEN, hidden_s=hidden_s, report=report)
        self._progress.clear()
        of_code = [letter for letter in found if self._code in ("", EVERY_CODE, letter.code)]
        chosen = [letter for letter in of_code if self._order in ("", letter.order)]
        self._put_back([letter for letter in found if letter not in chosen])
        if len(found) == TAKEN:
            print(f"These are the first {TAKEN}; run the command again for the rest.", file=sys.stderr)
        if not found:
            print(f"The dead-letter queue of {self._name} is empty.", file=sys.stderr)
        elif not chosen:
            meant = f"{self._code} {self._order}".strip()
            codes = in_words(Counter(letter.code for letter in found))
            print(f"There is no dead letter {meant}; there are: {codes}.", file=sys.stderr)
        return chosen

    def _put_back(self, letters: Sequence[Letter]) -> None:
        put_back(self._sqs, self._dead_letters, letters)

    def _each(self, letters: list[Letter], act: Callable[[Letter], str], told: str) -> tuple[bool, set[str]]:
        """Do something with each message, and say how often it worked; return if always, and the results."""
        results: dict[Letter, str] = {}
        errors = Counter[str]()

        def one(letter: Letter) -> None:
            try:
                results[letter] = act(letter)
            except AWS_ERRORS as error:  # refused, or SQS cannot be reached; the message stays where it is
                errors[explain(error)] += 1

        pool = ThreadPoolExecutor(THREADS)
        try:
            for count, _ in enumerate(pool.map(one, letters), 1):
                self._progress.show(f"{count} of {len(letters)} messages")
        finally:  # also after Ctrl-C, so that the rest does not stay hidden for a quarter of an hour
            pool.shutdown(cancel_futures=True)
            self._progress.clear()
            self._put_back([letter for letter in letters if letter not in results])
        print(told.format(len(results), len(letters)))
        for error, count in errors.items():
            print(f"{count} stay in the dead-letter queue: {error}")
        return not errors, set(results.values())

    def _send(self, letter: Letter) -> str:
        """Send a message again, delete it here, and return its new id."""
        own = letter.message.get("MessageAttributes", {})
        trace = letter.message["Attributes"].get("AWSTraceHeader")
        system: Any = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}} if trace else {}
        answer = self._sqs.send_message(
            QueueUrl=self._queue,
            MessageBody=letter.message["Body"],
            MessageAttributes={name: value for name, value in own.items() if name not in REASONS},
            MessageSystemAttributes=system,
        )
        self._delete(letter)
        return answer["MessageId"]

    def _delete(self, letter: Letter) -> str:
        self._sqs.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=letter.message["ReceiptHandle"])
        return letter.id

    def _watch(self, sent: set[str]) -> bool:
        """Wait for the queue to empty, and return whether some of the messages came back."""
        deadline = time.monotonic() + WATCHED_S
        left, before = len(sent), 1
        # Empty twice in a row: SQS's counts are approximate, and late for messages that were just sent.
        while (left or before) and time.monotonic() < deadline:
            self._progress.show(f"Waiting for the queue to empty: {left} messages")
            time.sleep(POLL_S)
            left, before = sum(message_counts(self._sqs, self._queue)), left
        dead = take(self._sqs, self._dead_letters, limit=TAKEN, hidden_s=LISTED_HIDDEN_S)
        self._put_back(dead)
        back = [letter for letter in dead if letter.attribute("OriginalMessageId") in sent]
        for code, reason in {letter.code: letter.reason for letter in back}.items():
            print(f"{sum(letter.code == code for letter in back)} came back with {code}: {reason}")
        if left:
            print(f"{left} messages are still on the queue. To check on them: make doctor STACK={self._name}")
        elif not back:
            print("None has come back.")
        return bool(back)


def ask(question: str) -> bool:
    """Ask the operator; without a terminal, nobody can answer."""
    if not sys.stdin.isatty():
        print("Nobody can be asked here: add YES=1.", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def cells(letter: Letter) -> tuple[str, ...]:
    """Return a line of the table. The message's id is the one on the queue, which the log has."""
    message_id = letter.attribute("OriginalMessageId") or letter.id
    order = (letter.code, letter.order, letter.venue, letter.receipt)
    age = duration(time.time() - letter.sent_at)
    return (*order, age, letter.attribute("WebhookId"), message_id, letter.reason)
