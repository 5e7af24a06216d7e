"""Permissions: each function may do what its code does, and nothing else."""

import ast
import re
from pathlib import Path

import botocore.loaders
import botocore.model
import pytest
from botocore import xform_name

from tests.infrastructure.cloudformation import Stack

FUNCTIONS = Path(__file__).parents[2] / "functions"
STACK = Stack(EventBusName="orders")
SERVICES = {"secretsmanager": "secretsmanager", "sqs": "sqs", "lambda": "lambda", "events": "events"}

LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
# What Lambda does with the function's role to read its queue (Lambda developer guide, SQS permissions).
EVENT_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
PUBLISH = ("events:PutEvents", "arn:aws:events:eu-central-1:111122223333:event-bus/orders")

ALLOWED = {
    "ApiRole": {
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("lambda:InvokeFunction", "TokenRefreshFunction"),
        PUBLISH,
        *((action, "ApiLogGroup") for action in LOGS),
    },
    "QueueRole": {
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("lambda:InvokeFunction", "TokenRefreshFunction"),
        PUBLISH,
        ("sqs:ChangeMessageVisibility", "Queue"),  # on AWS it covers the batch; the emulator asks for both
        ("sqs:ChangeMessageVisibilityBatch", "Queue"),
        ("sqs:SendMessage", "DeadLetterQueue"),
        *((action, "Queue") for action in EVENT_SOURCE),
        *((action, "QueueLogGroup") for action in LOGS),
    },
    "WebhookRole": {
        ("secretsmanager:GetSecretValue", "WebhookSecret"),
        ("sqs:SendMessage", "Queue"),
        *((action, "WebhookLogGroup") for action in LOGS),
    },
    "TokenRefreshRole": {
        ("secretsmanager:GetSecretValue", "CredentialsSecret"),
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("secretsmanager:PutSecretValue", "TokenSecret"),
        *((action, "TokenRefreshLogGroup") for action in LOGS),
    },
}


def statements(stack, role):
    """Return the actions of a role with the resources that they are allowed on."""
    policies = [policy["PolicyDocument"] for policy in stack[role].get("Policies", [])]
    for policy in stack[role].get("ManagedPolicyArns", []):
        policies.append(stack[policy["Ref"]]["PolicyDocument"])
    for statement in (each for policy in policies for each in policy["Statement"]):
        assert statement["Effect"] == "Allow"
        assert statement.keys() == {"Effect", "Action", "Resource"}
        actions, resource = statement["Action"], statement["Resource"]
        if isinstance(resource, dict):
            [resource, attribute] = resource["Fn::GetAtt"]
            assert attribute in ("Arn", "Id")
        yield from ((action, resource) for action in ([actions] if isinstance(actions, str) else actions))


def operations():
    """Return the IAM action of every operation of the services, by the name of its method in boto3."""
    loader = botocore.loaders.Loader()
    return {
        xform_name(operation): f"{service}:{ACTIONS.get(operation, operation)}"
        for service in SERVICES
        for operation in loader.load_service_model(service, "service-2")["operations"]
    }


# Operations whose actions have other names (service authorization reference).
ACTIONS = {"Invoke": "InvokeFunction"}


def called():
    """Return the IAM actions that the code needs: every use of an operation's name as an attribute."""
    known = operations()
    attributes = {
        node.attr
        for path in FUNCTIONS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    return {known[name] for name in attributes & known.keys()}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_allows_the_actions_and_resources_that_its_function_needs(role):
    traces = {(action, "*") for action in TRACES}
    assert set(statements(STACK, role)) == ALLOWED[role] | traces


def test_what_is_allowed_is_what_the_code_calls():
    allowed = {action for role in ALLOWED for action, _ in statements(STACK, role)}
    assert allowed - LOGS - TRACES - EVENT_SOURCE == called() | {"sqs:ChangeMessageVisibility"}


def test_only_the_token_refresh_may_read_the_credentials():
    readers = {
        role for role in ALLOWED for _, resource in statements(STACK, role) if resource == "CredentialsSecret"
    }
    assert readers == {"TokenRefreshRole"}


def test_nothing_may_invoke_a_token_refresh_that_is_disabled():
    stack = Stack(TokenRefresh="DISABLED")
    assert not [
        role for role in ALLOWED for action, _ in statements(stack, role) if action.startswith("lambda:")
    ]
    assert stack["TokenRefreshFunctionSchedule"]["State"] == "DISABLED"
    for function in ("ApiFunction", "QueueFunction"):
        assert stack[function]["Environment"]["Variables"]["TOKEN_REFRESH_FUNCTION"] == ""


def test_the_schedule_may_invoke_the_token_refresh_and_nothing_else():
    assert set(statements(STACK, "TokenRefreshFunctionScheduleRole")) == {
        ("lambda:InvokeFunction", "TokenRefreshFunction")
    }


def test_codedeploy_may_move_aliases_and_nothing_else():
    assert STACK["DeploymentRole"]["ManagedPolicyArns"] == [
        "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited"
    ]


def test_every_function_writes_to_a_log_group_of_its_own_that_expires():
    for logical_id, function in STACK.of_type("AWS::Lambda::Function").items():
        group = logical_id.replace("Function", "LogGroup")
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": group}
        assert STACK[group]["RetentionInDays"] == "30"


def test_every_function_gets_the_variables_that_its_code_reads():
    for logical_id, function in STACK.of_type("AWS::Lambda::Function").items():
        handler = FUNCTIONS / function["Handler"].replace(".handler", ".py")
        read = set(re.findall(r'os\.environ\["(\w+)"\]', handler.read_text()))
        assert read, logical_id
        assert read <= function["Environment"]["Variables"].keys()
