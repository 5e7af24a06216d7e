"""What an operator reads if a call to AWS fails, or if the stack has to be deployed again."""

import json
import subprocess

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from tools.operate import outputs, stack
from tools.operate.dead_letters import find_order
from tools.operate.remedies import remedy
from tools.operate.stack import Deployed, duration, explain


def refused(code, message):
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetQueueAttributes")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            refused("AccessDenied", "User: u is not authorized to perform: sqs:getqueueattributes on q"),
            "not allowed: your credentials need the permission sqs:getqueueattributes",
        ),
        (
            refused("AccessDenied", "Access is denied."),
            "not allowed: your credentials need the permission for Get",
        ),
        (
            refused("ExpiredToken", "it has expired"),
            "AWS refuses GetQueueAttributes with ExpiredToken: it has expired. Sign",
        ),
        (
            refused("Throttling", "Rate exceeded"),
            "AWS refuses GetQueueAttributes with Throttling: Rate exceeded",
        ),
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
    assert remedy("s", "clopos_access_denied", said, 401).startswith(
        "The restaurant finds the right ones in its"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours"), (1209599, "13 days")],
)
def test_a_length_of_time_is_rounded_down(seconds, words):
    assert duration(seconds) == words


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """A stack with this name, and a samconfig.toml with two others."""
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(
        'version = 0.1\n[default.global.parameters]\nstack_name = "one"\n[b.deploy.parameters]\nstack_name = "two"\n'
    )
    monkeypatch.setattr(stack, "SAMCONFIG", samconfig)

    def deployed(name, unreserved=900):
        class Lambda:
            def get_account_settings(self):
                return {"AccountLimit": {"UnreservedConcurrentExecutions": unreserved}}

        found = Deployed(name, stack.boto3.Session("k", "s", region_name="eu-central-1"))
        found._clients["lambda"] = Lambda()
        found.parameters = {"AlarmEmail": "a@b.c", "EventBusName": "", "CancellationTypes": "x,y z"}
        return found

    return deployed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one", ""),
        ("two", " --config-env b"),
        (
            "three",
            " --stack-name three --s3-prefix three --parameter-overrides AlarmEmail=a@b.c 'CancellationTypes=x,y z'",
        ),
    ],
)
def test_a_stack_is_deployed_again_with_its_own_parameters_and_s3_prefix(deployed, name, options):
    assert deployed(name).deploy_command == f"make build && .venv/bin/sam deploy{options}"


def test_an_account_without_enough_concurrency_is_told_before_the_deployment(deployed):
    assert deployed("one", unreserved=101).lacks_capacity() == ""
    assert (
        "100 must stay unreserved, and this account has 100. Ask for"
        in deployed("one", unreserved=100).lacks_capacity()
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"order_id": 7}',
        '{"Message": "{\\"order_id\\": 7}", "data": {"order_id": 8}}',
        '{"detail": {"order_id": 7}}',
        '"{\\"data\\": {\\"order_id\\": 7}}"',
    ],
)
def test_the_order_of_a_dead_letter_is_found_in_whatever_it_is_wrapped_in(body):
    assert find_order(body) == {"order_id": 7}


@pytest.mark.parametrize("body", ["text", "[7]", "null", '{"data":' * 5000 + "7" + "}" * 5000])
def test_a_dead_letter_may_hold_anything(body):
    assert find_order(body) == {}


def test_the_local_stack_is_found_on_any_port(tmp_path, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "another")
    monkeypatch.setattr(outputs, "LOCAL_OUTPUTS", tmp_path / "outputs.json")
    with pytest.raises(stack.CannotStart, match="make start"):
        outputs.use_local_stack()
    outputs.LOCAL_OUTPUTS.write_text(
        json.dumps({"AwsEndpointUrl": "http://127.0.0.1:5", "PageUrl": "http://p"})
    )
    assert (
        outputs.use_local_stack()["AWS_ENDPOINT_URL"]
        == stack.os.environ["AWS_ENDPOINT_URL"]
        == "http://127.0.0.1:5"
    )
    assert outputs.snake_case({"DeadLetterQueueUrl": "u"}) == {"dead_letter_queue_url": "u"}


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
    printed = subprocess.run(["make", "-n", *target.split()], capture_output=True, text=True).stdout
    assert printed.partition("tools.operate ")[2].split() == command.split()
