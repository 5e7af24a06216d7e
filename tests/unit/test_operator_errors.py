"""What an operator reads if a call to AWS fails, or if the stack has to be deployed again."""

import json
import subprocess

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from tools.operate import stack
from tools.operate.__main__ import main
from tools.operate.dead_letters import find_order
from tools.operate.remedies import remedy
from tools.operate.stack import Deployed, duration, explain


def refused(code, message):
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetQueueAttributes")


DENIED, NEEDED = (
    "User: u is not authorized to perform: sqs:getqueueattributes on q",
    "your credentials need the",
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (refused("AccessDenied", DENIED), f"not allowed: {NEEDED} permission sqs:getqueueattributes"),
        (refused("AccessDenied", "Access is denied."), f"not allowed: {NEEDED} permission for Get"),
        (
            refused("ExpiredToken", "Too old"),
            "AWS refuses GetQueueAttributes with ExpiredToken: Too old. Sign",
        ),
        (refused("Throttling", "Too fast"), "AWS refuses GetQueueAttributes with Throttling: Too fast"),
        (exceptions.NoCredentialsError(), "Unable to locate credentials. Sign in (aws sso login)"),
        (
            exceptions.NoRegionError(),
            "You must specify a region. Sign in (aws sso login), or choose AWS_PROFILE",
        ),
        (exceptions.EndpointConnectionError(endpoint_url="https://sqs"), "AWS cannot be reached: Could not"),
    ],
)
def test_a_failed_call_is_explained(error, sentence):
    assert explain(error).startswith(sentence)


def test_an_order_that_waits_for_the_right_credentials_says_where_they_are():
    said = "clopos_access_denied: Clopos says 401 Invalid client credentials"
    fix = remedy("s", "clopos_access_denied", said, 401)
    assert fix.startswith("The restaurant finds the right ones in its")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours"), (1209599, "13 days")],
)
def test_a_length_of_time_is_rounded_down(seconds, words):
    assert duration(seconds) == words


SAMCONFIG = """version = 0.1
default.global.parameters.stack_name = "one"
b.deploy.parameters.stack_name = "two"
"""
OWN = " --stack-name three --s3-prefix three --parameter-overrides AlarmEmail=a@b.c 'CancellationTypes=x,y z'"


@pytest.mark.parametrize(("name", "options"), [("one", ""), ("two", " --config-env b"), ("three", OWN)])
def test_a_stack_is_deployed_again_with_its_own_parameters_and_s3_prefix(
    tmp_path, monkeypatch, name, options
):
    monkeypatch.setattr(stack, "SAMCONFIG", tmp_path / "samconfig.toml")
    stack.SAMCONFIG.write_text(SAMCONFIG)
    deployed = Deployed(name, stack.boto3.Session("k", "s", region_name="eu-central-1"))
    deployed.parameters = {"AlarmEmail": "a@b.c", "EventBusName": "", "CancellationTypes": "x,y z"}
    assert deployed.deploy_command == f"make build && .venv/bin/sam deploy{options}"


IN_A_MESSAGE = '{"Message": "{\\"order_id\\": 7}", "data": {"order_id": 8}}'
BODIES = [
    '{"order_id": 7}',
    IN_A_MESSAGE,
    '{"detail": {"order_id": 7}}',
    '"{\\"data\\": {\\"order_id\\": 7}}"',
]


@pytest.mark.parametrize("body", BODIES)
def test_the_order_of_a_dead_letter_is_found_in_whatever_it_is_wrapped_in(body):
    assert find_order(body) == {"order_id": 7}


@pytest.mark.parametrize("body", ["text", "[7]", "null", '{"data":' * 5000 + "7" + "}" * 5000])
def test_a_dead_letter_may_hold_anything(body):
    assert find_order(body) == {}


def test_the_local_stack_is_found_on_any_port(tmp_path, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "another")
    monkeypatch.setattr(stack, "LOCAL_OUTPUTS", tmp_path / "outputs.json")
    with pytest.raises(stack.CannotStart, match="make start"):
        stack.use_local_stack()
    outputs, endpoint = {"AwsEndpointUrl": "http://127.0.0.1:5", "PageUrl": "http://p"}, "http://127.0.0.1:5"
    stack.LOCAL_OUTPUTS.write_text(json.dumps(outputs))
    found = stack.use_local_stack()
    assert found["AWS_ENDPOINT_URL"] == stack.os.environ["AWS_ENDPOINT_URL"] == endpoint
    assert found["page_url"] == "http://p"


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("doctor REFRESH=1 ORDER=108", 'doctor "clopos-cancel" --refresh --order "108"'),
        ("dead-letters CSV=1 CODE=none DELETE=0", 'dead-letters "clopos-cancel" --code "none" --csv'),
        ("redrive STACK=b ORDER=7", 'dead-letters "b" --order "7" --redrive'),
        ("orders MINUTES=60", 'orders "clopos-cancel" --minutes "60"'),
        ("webhook-secret ROTATE=1", 'webhook-secret "clopos-cancel" --rotate'),
        ("outputs LOCAL=1", 'outputs "clopos-cancel" --local'),
    ],
)
def test_a_target_passes_on_its_options(monkeypatch, target, command):
    monkeypatch.delenv("STACK", raising=False)
    printed = subprocess.run(
        ["make", "-n", "--no-print-directory", *target.split()], capture_output=True, text=True
    ).stdout
    assert printed.partition("tools.operate ")[2].split() == command.split()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["doctor", "s", "--order", "108; rm -r ."], "is not the id of an order"),
        (["dead-letters", "s", "--delete"], "say which dead letters to delete: CODE=... or ORDER=..."),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(capsys, command, sentence):
    with pytest.raises(SystemExit):
        main(command)
    assert sentence in capsys.readouterr().err
