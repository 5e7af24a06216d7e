"""`make redrive`: dead letters go through the queue of the deployed stack again, each exactly once."""

import csv
import json

import boto3
import pytest

from local.stack import STACK_NAME
from tests.conftest import eventually
from tools.operate import dead_letters, redrive
from tools.operate.__main__ import main as operate
from tools.operate.stack import Deployed


def listed(*options):
    return operate(["dead-letters", STACK_NAME, *options])


def redriven(*options):
    return listed("--redrive", *options)


@pytest.fixture
def dead(stack, clopos, deployed_queues, monkeypatch):
    """The dead-letter queue of a stack in order."""
    monkeypatch.setattr(dead_letters, "LONG_POLL_S", 0)  # the emulator has a single server
    monkeypatch.setattr(redrive, "POLL_S", 0.2)
    clopos.add_order(404, status="RECEIVED")
    stack.refresh_token()
    return deployed_queues[1]


def attributes(**values):
    return {
        name: {"DataType": "String", "StringValue": value}
        if isinstance(value, str)
        else {"DataType": "Binary", "BinaryValue": value}
        for name, value in values.items()
    }


NOT_FOUND = attributes(ErrorCode="order_not_found", ErrorMessage="no such order", OriginalMessageId="1")
REJECTED = attributes(ErrorCode="order_not_cancellable", ErrorMessage="it is RECEIVED", OriginalMessageId="2")


def test_an_empty_dead_letter_queue(dead, capsys):
    assert listed() == 0
    assert redriven("--code", "all") == 1
    assert listed("--delete", "--code", "all", "--yes") == 1
    assert capsys.readouterr().err == 3 * "The dead-letter queue of clopos-cancel is empty.\n"


def test_dead_letters_are_listed_and_stay(dead, clopos, capsys):
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
    head, row = csv.reader(capsys.readouterr().out.splitlines())
    assert dict(zip(head, row, strict=True)) | {"age": ""} == {
        "code": "order_not_cancellable",
        "order": "7",
        "venue": "1",
        "receipt": "10950",
        "age": "",
        "webhook": "msg_1",
        "message": "2",
        "reason": "its status is RECEIVED, its receipt is 10950",
        "body": '{"detail": {"order_id": 7, "venue_id": 1}, "name": "Ada"}',
    }
    assert dead.counts() == (13, 0)
    dead.take_all()


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


def test_nothing_is_deleted_without_a_choice(capsys):
    with pytest.raises(SystemExit):
        listed("--delete", "--yes")
    assert "say which dead letters to delete: CODE=... or ORDER=..." in capsys.readouterr().err


def test_messages_that_fail_again_are_moved_only_once(dead, clopos, capsys):
    dead.send(*({"order_id": 404} for _ in range(23)), MessageAttributes=NOT_FOUND)
    assert redriven("--code", "order_not_found") == 1
    out = capsys.readouterr().out
    assert "Sent 23 of 23 messages through the queue again." in out
    assert "23 came back with order_not_cancellable: " in out
    assert [call.status for call in clopos.calls(404)].count(400) == 23  # a new token may cost one more
    assert dead.counts() == (23, 0)
    dead.take_all()


@pytest.mark.parametrize("chosen", [("--code", "order_not_cancellable"), ("--order", "108")])
def test_only_the_messages_with_this_code_or_order_are_moved(dead, clopos, capsys, chosen):
    dead.send({"order_id": 108}, MessageAttributes=REJECTED)
    dead.send({"order_id": 404}, MessageAttributes=NOT_FOUND)
    assert redriven(*chosen) == 0
    assert capsys.readouterr().out == "Sent 1 of 1 messages through the queue again.\nNone has come back.\n"
    assert clopos.order(108)["status"] == "IGNORE"
    assert not clopos.calls(404)
    assert redriven(*chosen) == 1
    assert f"There is no dead letter {chosen[1]}; there are: order_not_found 1." in capsys.readouterr().err
    (left,) = dead.take_all()
    assert json.loads(left["Body"]) == {"order_id": 404}


def test_a_message_keeps_its_own_attributes_and_loses_the_reasons(dead, clopos):
    own = attributes(WebhookId="msg_1", CorrelationId="c-1", Blob=b"\x00\xff")
    dead.send('{"order_id": 404, "note": "é"}', MessageAttributes=NOT_FOUND | own)
    assert redriven("--code", "all") == 1
    (back,) = dead.take_all()
    assert back["Body"] == '{"order_id": 404, "note": "é"}'
    kept = {name: value for name, value in back["MessageAttributes"].items() if name in own}
    assert {name: value.get("StringValue", value.get("BinaryValue")) for name, value in kept.items()} == {
        "WebhookId": "msg_1",
        "CorrelationId": "c-1",
        "Blob": b"\x00\xff",
    }
    assert back["MessageAttributes"]["OriginalMessageId"]["StringValue"] != "1"
    assert back["MessageAttributes"]["ErrorMessage"]["StringValue"] != "no such order"


def test_messages_that_cannot_be_sent_stay(dead, stack, capsys, monkeypatch):
    """The operator may read the dead-letter queue, but not send to the queue."""
    iam = stack.client("iam")
    iam.create_user(UserName="reader")
    actions = [
        "cloudformation:*",
        "sqs:ReceiveMessage",
        "sqs:ChangeMessageVisibility*",
        "sqs:GetQueueAttributes",
    ]
    iam.put_user_policy(
        UserName="reader",
        PolicyName="read",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
            }
        ),
    )
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    reader = Deployed(STACK_NAME, session, stack.endpoint)
    monkeypatch.setattr(Deployed, "from_environment", lambda name: reader)
    dead.send(*({"order_id": 108} for _ in range(3)), MessageAttributes=REJECTED)
    assert redriven("--code", "all") == 1
    out = capsys.readouterr().out
    assert "Sent 0 of 3 messages through the queue again." in out
    assert (
        "3 stay in the dead-letter queue: not allowed: your credentials need the permission sqs:SendMessage"
        in out
    )
    eventually(lambda: dead.counts() == (3, 0))
    dead.take_all()


def test_a_stack_that_does_not_exist(stack, capsys):
    assert operate(["dead-letters", "nothing"]) == 1
    assert "dead-letters: there is no stack nothing" in capsys.readouterr().err
