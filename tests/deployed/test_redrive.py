"""`make dead-letters` and `make redrive`: dead letters are listed, deleted, or sent again, each exactly once."""

import csv
import json
from functools import partial

import pytest

from local.emulator.clients import Queue
from local.stack import STACK_NAME
from tests.conftest import eventually
from tools.operate import dead_letters
from tools.operate.__main__ import main as operate
from tools.operate.stack import Deployed


def listed(*options):
    return operate(["dead-letters", STACK_NAME, *options])


redriven = partial(listed, "--redrive")


@pytest.fixture
def dead(stack, clopos, deployed_queues, monkeypatch):
    """The dead-letter queue of a stack in order."""
    monkeypatch.setattr(dead_letters, "LONG_POLL_S", 0)  # the emulator has a single server
    clopos.add_order(404, status="RECEIVED")
    stack.refresh_token()
    return deployed_queues[1]


def attributes(**values):
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


NOT_FOUND = attributes(ErrorCode="order_not_found", ErrorMessage="no such order", OriginalMessageId="1")
REJECTED = attributes(ErrorCode="order_not_cancellable", ErrorMessage="it is RECEIVED", OriginalMessageId="2")


def test_an_empty_dead_letter_queue_and_a_stack_that_does_not_exist(dead, capsys):
    assert listed() == 0
    assert redriven("--code", "all") == 1
    assert listed("--delete", "--code", "all", "--yes") == 1
    assert capsys.readouterr().err == 3 * "The dead-letter queue of clopos-cancel is empty.\n"
    assert operate(["dead-letters", "nothing"]) == 1
    assert "dead-letters: there is no stack nothing" in capsys.readouterr().err


def test_dead_letters_are_listed_and_stay(dead, capsys):
    own = attributes(WebhookId="msg_1", ErrorMessage="its status is RECEIVED, its receipt is 10950")
    dead.send({"detail": {"order_id": 7, "venue_id": 1}, "name": "Ada"}, MessageAttributes=REJECTED | own)
    dead.send(*({"order_id": 404} for _ in range(11)), MessageAttributes=NOT_FOUND)
    dead.send("not JSON")
    assert listed() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["code", "order", "venue", "receipt", "age", "webhook", "message", "reason"]
    assert lines[1].split()[:4] == ["order_not_cancellable", "7", "1", "10950"]
    assert lines[1].split()[6:] == ["msg_1", "2", *own["ErrorMessage"]["StringValue"].split()]
    assert "\norder_not_found 11, order_not_cancellable 1, none 1. Nothing" in "\n".join(lines)
    assert "  make redrive STACK=clopos-cancel CODE=order_not_found" in lines
    assert "Ada" not in "\n".join(lines)
    assert listed("--code", "order_not_cancellable", "--csv", "--bodies") == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["code"], row["order"], row["receipt"]) == ("order_not_cancellable", "7", "10950")
    assert row["body"] == '{"detail": {"order_id": 7, "venue_id": 1}, "name": "Ada"}'
    assert dead.counts() == (13, 0)


@pytest.mark.parametrize("chosen", [("--code", "order_not_found"), ("--order", "404")])
def test_dead_letters_are_deleted_by_code_or_by_order_after_a_question(dead, capsys, monkeypatch, chosen):
    dead.send(*({"order_id": 404} for _ in range(11)), MessageAttributes=NOT_FOUND)
    dead.send({"order_id": 108}, MessageAttributes=REJECTED)
    assert listed("--delete", *chosen) == 1
    captured = capsys.readouterr()
    assert captured.err == "Nobody can be asked here: add YES=1.\n"
    assert captured.out == "Nothing was deleted.\n"
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    assert listed("--delete", *chosen) == 1
    assert asked == ["Delete 11 dead letters (order_not_found 11) for good? [y/N] "]
    assert dead.counts() == (12, 0)
    assert listed("--delete", *chosen, "--yes") == 0
    assert "Deleted 11 of 11 messages." in capsys.readouterr().out
    (left,) = dead.take_all()
    assert json.loads(left["Body"]) == {"order_id": 108}


def test_messages_that_fail_again_are_sent_once(dead, clopos, capsys):
    dead.send(*({"order_id": 404} for _ in range(23)), MessageAttributes=NOT_FOUND)
    assert redriven("--code", "all") == 0
    assert "Sent 23 of 23 messages to the queue again." in capsys.readouterr().out
    eventually(lambda: dead.counts() == (23, 0))
    assert [call.status for call in clopos.calls(404)].count(400) == 23  # a new token may cost one more


def test_a_message_keeps_its_own_attributes_and_loses_the_reasons(dead, sqs):
    own = attributes(WebhookId="msg_1", CorrelationId="c-1")
    own["Blob"] = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    body, queue = '{"order_id": 404, "note": "é"}', Queue.create(sqs)
    dead.send(body, MessageAttributes=NOT_FOUND | own)
    target = Deployed.from_environment(STACK_NAME)
    target.outputs["QueueUrl"] = queue.url
    assert dead_letters.DeadLetters(target, "all").redrive()
    (sent,) = queue.receive()
    assert (sent["Body"], sent["MessageAttributes"]) == (body, own)


@pytest.mark.parametrize("chosen", [("--code", "order_not_cancellable"), ("--order", "108")])
def test_only_the_messages_with_this_code_or_order_are_sent(dead, clopos, capsys, chosen):
    dead.send({"order_id": 108}, MessageAttributes=REJECTED)
    dead.send({"order_id": 404}, MessageAttributes=NOT_FOUND)
    assert redriven(*chosen) == 0
    assert capsys.readouterr().out == "Sent 1 of 1 messages to the queue again.\n"
    eventually(lambda: clopos.order(108)["status"] == "IGNORE")
    assert not clopos.calls(404)
    assert redriven(*chosen) == 1
    assert f"There is no dead letter {chosen[1]}; there are: order_not_found 1." in capsys.readouterr().err
    (left,) = dead.take_all()
    assert json.loads(left["Body"]) == {"order_id": 404}


def test_messages_that_cannot_be_sent_stay(dead, operator, capsys, monkeypatch):
    reader = operator("cloudformation:*", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility*")
    monkeypatch.setattr(Deployed, "from_environment", lambda name: reader)
    dead.send(*({"order_id": 108} for _ in range(3)), MessageAttributes=REJECTED)
    assert redriven("--code", "all") == 1
    out = capsys.readouterr().out
    assert "Sent 0 of 3 messages to the queue again." in out
    assert (
        "3 stay in the dead-letter queue: not allowed: your credentials need the permission sqs:Send" in out
    )
    eventually(lambda: dead.counts() == (3, 0))
