"""List dead letters, delete them, or send them through the queue again.

A message is only hidden while it is read, and is put back. All of them are collected first, so that one that
comes back is not sent a second time. SQS's own redrive (``StartMessageMoveTask``) cannot select messages, and
the emulator does not have it.
"""

import csv
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tools.operate.stack import AWS_ERRORS, Deployed, duration, explain, in_words
from tools.progress import Progress

BATCH = 10  # the most that one call of SQS takes
LONG_POLL_S = 2  # a short poll asks only some of the servers of SQS, and may miss the last few messages
TAKEN = 10_000
LISTED_HIDDEN_S = 120  # reading them takes seconds
MOVED_HIDDEN_S = 900  # with 0.1 s per call, reading and moving 10,000 messages takes half of this
THREADS = 8

EVERY_CODE = "all"
NO_CODE = "none"  # SQS itself moved the message after its last receive

#: The attributes with the reason for dead-lettering; they are removed when a message is sent again.
REASONS = {"ErrorCode", "ErrorMessage", "OriginalMessageId"}

HEADINGS = ("code", "order", "venue", "receipt", "age", "webhook", "message", "reason", "body")


class Letter:
    """A dead letter. Only ids are read from its body, which may hold a customer's data."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self.code = self.attribute("ErrorCode") or NO_CODE
        self.reason = self.attribute("ErrorMessage") or "moved by SQS after its last receive"
        # To the dead-letter queue; if SQS moved it, to the queue.
        self.sent_at = int(message["Attributes"]["SentTimestamp"]) / 1000
        found = find_order(message["Body"])
        self.order, self.venue = (as_id(found.get(name)) for name in ("order_id", "venue_id"))

    def attribute(self, name: str) -> str:
        """Return one of the message's own attributes; empty if it has none of this name."""
        return str(self.message.get("MessageAttributes", {}).get(name, {}).get("StringValue", ""))

    def cells(self) -> tuple[str, ...]:
        """Return a line of the table. The message's id is the one on the queue, which the log has."""
        receipt = re.search(r"receipt is (\d+)", self.reason)
        order = (self.code, self.order, self.venue, receipt[1] if receipt else "")
        message_id = self.attribute("OriginalMessageId") or self.message["MessageId"]
        age = duration(time.time() - self.sent_at)
        return (*order, age, self.attribute("WebhookId"), message_id, self.reason, self.message["Body"])


def find_order(value: Any, depth: int = 8) -> dict[str, Any]:
    """Return the object that names the order, whatever it is wrapped in; empty if there is none."""
    if isinstance(value, str) and depth:
        try:
            return find_order(json.loads(value), depth - 1)
        except (ValueError, RecursionError):  # text, or nested too deeply
            return {}
    if not isinstance(value, dict) or not depth:
        return {}
    inside = (find_order(value.get(name), depth - 1) for name in ("Message", "detail", "data"))
    return value if "order_id" in value else next(filter(None, inside), {})


def as_id(value: object) -> str:
    """Return an id as text; empty if it cannot be one."""
    text = str(value) if type(value) in (int, str) else ""
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) else ""


class DeadLetters:
    """The dead letters of a stack: those with a code, those about an order, or all (if both are empty)."""

    def __init__(self, stack: Deployed, code: str = "", order: str = "") -> None:
        self._sqs, self._name, self._code, self._order = stack.client("sqs"), stack.name, code, order
        self._queue, self._dead_letters = stack.output("QueueUrl"), stack.output("DeadLetterQueueUrl")
        self._progress = Progress()

    def show(self, *, as_csv: bool, bodies: bool) -> bool:
        """Print one line per message, and what can be done with them; return whether there is any."""
        letters = self._choose(LISTED_HIDDEN_S)
        self._put_back(letters)
        table = [row if bodies else row[:-1] for row in (HEADINGS, *(letter.cells() for letter in letters))]
        if as_csv:
            csv.writer(sys.stdout).writerows(table)
        elif letters:
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            for row in table:
                cells = (f"{cell or '-':<{width}}" for cell, width in zip(row, widths, strict=True))
                print("  ".join(cells).rstrip())
            codes = Counter(letter.code for letter in letters)
            print(f"\n{in_words(codes)}. Nothing was changed.\n")
            for code in [*codes, EVERY_CODE]:
                print(f"  make redrive STACK={self._name} CODE={code}")
            print(f"  make dead-letters STACK={self._name} DELETE=1 CODE=...\n\nORDER=... selects by order.")
        return bool(letters)

    def delete(self, *, sure: bool) -> bool:
        """Delete the messages, after a question; return whether they are gone."""
        letters = self._choose(MOVED_HIDDEN_S)
        codes = in_words(Counter(letter.code for letter in letters))
        try:
            sure = sure or (bool(letters) and ask(f"Delete {len(letters)} dead letters ({codes}) for good?"))
        finally:  # also after Ctrl-C
            if not sure:
                self._put_back(letters)
                print("Nothing was deleted.")
        return sure and bool(letters) and self._each(letters, self._delete, "Deleted {} of {} messages.")

    def redrive(self) -> bool:
        """Send the messages again; return whether all of them could be sent."""
        letters = self._choose(MOVED_HIDDEN_S)
        return bool(letters) and self._each(letters, self._send, "Sent {} of {} messages to the queue again.")

    def sample(self, limit: int, hidden_s: int) -> list[Letter]:
        """Return some of the messages, which stay."""
        letters = self._take(limit, hidden_s)
        self._put_back(letters)
        return letters

    def _choose(self, hidden_s: int) -> list[Letter]:
        """Receive and hide the messages that are meant, and say so if there are none."""
        found = self._take(TAKEN, hidden_s)
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

    def _take(self, limit: int, hidden_s: int) -> list[Letter]:
        """Receive up to `limit` messages, each once, and hide them from others."""
        taken: dict[str, Letter] = {}
        while len(taken) < limit:
            received = self._sqs.receive_message(
                QueueUrl=self._dead_letters,
                MaxNumberOfMessages=min(BATCH, limit - len(taken)),
                WaitTimeSeconds=LONG_POLL_S,
                VisibilityTimeout=hidden_s,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp", "AWSTraceHeader"],
            )
            before = len(taken)
            taken |= {message["MessageId"]: Letter(message) for message in received.get("Messages", [])}
            if len(taken) == before:  # none are left, or the first ones are visible again
                break
            self._progress.show(f"Read {len(taken)} dead letters")
        self._progress.clear()
        return list(taken.values())

    def _put_back(self, letters: Sequence[Letter]) -> None:
        """Make messages visible again at once; one for which that fails becomes visible a little later."""
        handles = [letter.message["ReceiptHandle"] for letter in letters]
        for start in range(0, len(handles), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[start : start + BATCH])
            ]
            self._sqs.change_message_visibility_batch(QueueUrl=self._dead_letters, Entries=entries)

    def _each(self, letters: list[Letter], act: Callable[[Letter], None], told: str) -> bool:
        """Do something with each message, say how often it worked, and return whether it always did."""
        done, errors = set[Letter](), Counter[str]()

        def one(letter: Letter) -> None:
            try:
                act(letter)
                done.add(letter)
            except AWS_ERRORS as error:  # refused, or SQS cannot be reached; the message stays where it is
                errors[explain(error)] += 1

        pool = ThreadPoolExecutor(THREADS)
        try:
            for count, _ in enumerate(pool.map(one, letters), 1):
                self._progress.show(f"{count} of {len(letters)} messages")
        finally:  # also after Ctrl-C, so that the rest does not stay hidden for a quarter of an hour
            pool.shutdown(cancel_futures=True)
            self._progress.clear()
            self._put_back([letter for letter in letters if letter not in done])
        print(told.format(len(done), len(letters)))
        for error, count in errors.items():
            print(f"{count} stay in the dead-letter queue: {error}")
        return not errors

    def _send(self, letter: Letter) -> None:
        """Send a message again, and delete it here."""
        own = letter.message.get("MessageAttributes", {})
        trace = letter.message["Attributes"].get("AWSTraceHeader")
        system = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}} if trace else {}
        self._sqs.send_message(
            QueueUrl=self._queue,
            MessageBody=letter.message["Body"],
            MessageAttributes={name: value for name, value in own.items() if name not in REASONS},
            MessageSystemAttributes=system,
        )
        self._delete(letter)

    def _delete(self, letter: Letter) -> None:
        self._sqs.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=letter.message["ReceiptHandle"])


def ask(question: str) -> bool:
    """Ask the operator; without a terminal, nobody can answer."""
    if not sys.stdin.isatty():
        print("Nobody can be asked here: add YES=1.", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
