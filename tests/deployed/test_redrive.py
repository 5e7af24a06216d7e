"""`make redrive`: dead letters go through the queue of the deployed stack again, each exactly once."""

import json

import boto3
import pytest

from local.stack import STACK_NAME
from tests.conftest import eventually
from tools.operate import dead_letters, redrive
from tools.operate.redrive import main
from tools.operate.stack import Deployed


@pytest.fixture
def dead(stack, clopos, deployed_queues, monkeypatch):
    """The dead-letter queue of a stack in order."""
    monkeypatch.setattr(dead_letters, "LONG_POLL_S", 0)  # the emulator has a single server
    monkeypatch.setattr(redrive, "POLL_S", 0.2)
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
    assert main([STACK_NAME]) == 0
    assert main([STACK_NAME, "--code", "all"]) == 1
    sentence = "The dead-letter queue of clopos-cancel is empty.\n"
    assert capsys.readouterr().out == 2 * sentence


def test_without_a_code_dead_letters_are_listed_and_stay(dead, clopos, capsys):
    dead.send(*({"order_id": 404} for _ in range(11)), MessageAttributes=NOT_FOUND)
    dead.send({"order_id": 108})
    assert main([STACK_NAME]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "clopos-cancel: 12 dead letters by error code, with an example of each:"
    assert "     11  order_not_found: no such order" in lines
    assert "      1  none: moved by SQS after its last receive" in lines
    assert lines[-3:] == [
        f"  make redrive STACK=clopos-cancel CODE={code}" for code in ("order_not_found", "none", "all")
    ]
    assert dead.counts() == (12, 0)
    assert not clopos.calls(108)
    dead.take_all()


def test_messages_that_fail_again_are_moved_only_once(dead, clopos, capsys):
    dead.send(*({"order_id": 404} for _ in range(23)), MessageAttributes=NOT_FOUND)
    assert main([STACK_NAME, "--code", "order_not_found"]) == 1
    out = capsys.readouterr().out
    assert "Sent 23 of 23 messages through the queue again." in out
    assert "23 came back with order_not_found: " in out
    assert [call.status for call in clopos.calls(404)].count(404) == 23  # a new token may cost one more
    assert dead.counts() == (23, 0)
    dead.take_all()


def test_only_the_messages_with_this_code_are_moved(dead, clopos, capsys):
    dead.send({"order_id": 108}, MessageAttributes=REJECTED)
    dead.send({"order_id": 404}, MessageAttributes=NOT_FOUND)
    assert main([STACK_NAME, "--code", "order_not_cancellable"]) == 0
    assert capsys.readouterr().out == ("Sent 1 of 1 messages through the queue again.\nNone has come back.\n")
    assert clopos.order(108)["status"] == "IGNORE"
    assert not clopos.calls(404)
    assert main([STACK_NAME, "--code", "order_not_cancellable"]) == 1
    assert (
        "No dead letter has the code order_not_cancellable; there are: order_not_found."
        in capsys.readouterr().out
    )
    (left,) = dead.take_all()
    assert json.loads(left["Body"]) == {"order_id": 404}


def test_a_message_keeps_its_own_attributes_and_loses_the_reasons(dead, clopos):
    own = attributes(WebhookId="msg_1", CorrelationId="c-1", Blob=b"\x00\xff")
    dead.send('{"order_id": 404, "note": "é"}', MessageAttributes=NOT_FOUND | own)
    assert main([STACK_NAME, "--code", "all"]) == 1
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
    assert main([STACK_NAME, "--code", "all"]) == 1
    out = capsys.readouterr().out
    assert "Sent 0 of 3 messages through the queue again." in out
    assert (
        "3 stay in the dead-letter queue: not allowed: your credentials need the permission sqs:SendMessage"
        in out
    )
    eventually(lambda: dead.counts() == (3, 0))
    dead.take_all()


def test_a_stack_that_does_not_exist(stack, capsys):
    assert main(["nothing"]) == 1
    assert "redrive: there is no stack nothing" in capsys.readouterr().err
