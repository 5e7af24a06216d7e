"""Permissions: each function may do what its code does, and nothing else."""

import ast

import botocore.loaders
import botocore.model
import pytest
from botocore import xform_name

from tests.infrastructure.cloudformation import ROOT, Stack

STACK = Stack()

LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
# What Lambda does with the function's role to read its queue (Lambda developer guide, SQS permissions).
EVENT_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
PUBLISH = ("events:PutEvents", "arn:aws:events:eu-central-1:111122223333:event-bus/*")
OWN_EVENTS = {"ForAllValues:StringEquals": {"events:source": "clopos-cancel"}}

ALLOWED = {
    "ApiRole": {
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("lambda:InvokeFunction", "TokenRefreshFunction"),
        PUBLISH,
    },
    "QueueRole": {
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("lambda:InvokeFunction", "TokenRefreshFunction"),
        PUBLISH,
        ("sqs:ChangeMessageVisibility", "Queue"),  # on AWS it covers the batch; the emulator asks for both
        ("sqs:ChangeMessageVisibilityBatch", "Queue"),
        ("sqs:SendMessage", "DeadLetterQueue"),
        *((action, "Queue") for action in EVENT_SOURCE),
    },
    "WebhookRole": {
        ("secretsmanager:GetSecretValue", "WebhookSecret"),
        ("sqs:SendMessage", "Queue"),
    },
    "TokenRefreshRole": {
        ("secretsmanager:GetSecretValue", "CredentialsSecret"),
        ("secretsmanager:GetSecretValue", "TokenSecret"),
        ("secretsmanager:PutSecretValue", "TokenSecret"),
    },
}


def statements(stack, role):
    """Return the actions of a role with the resources that they are allowed on."""
    policies = [policy["PolicyDocument"] for policy in stack[role].get("Policies", [])]
    for policy in stack[role].get("ManagedPolicyArns", []):
        policies.append(stack[policy["Ref"]]["PolicyDocument"])
    for statement in (each for policy in policies for each in policy["Statement"]):
        assert statement["Effect"] == "Allow"
        assert statement.keys() - {"Condition"} == {"Effect", "Action", "Resource"}
        assert statement.get("Condition") == (OWN_EVENTS if statement["Action"] == PUBLISH[0] else None)
        actions, resource = statement["Action"], statement["Resource"]
        if isinstance(resource, dict):
            resource = resource["Fn::GetAtt"][0]
        yield from ((action, resource) for action in ([actions] if isinstance(actions, str) else actions))


# Operations whose actions have other names (service authorization reference).
ACTIONS = {"Invoke": "InvokeFunction"}


def called():
    """Return the IAM actions that the code needs: every use of the name of an operation of boto3 as an attribute."""
    loader = botocore.loaders.Loader()
    known = {
        xform_name(operation): f"{service}:{ACTIONS.get(operation, operation)}"
        for service in ("secretsmanager", "sqs", "lambda", "events")
        for operation in loader.load_service_model(service, "service-2")["operations"]
    }
    attributes = {
        node.attr
        for path in (ROOT / "functions").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    return {known[name] for name in attributes & known.keys()}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_allows_the_actions_and_resources_that_its_function_needs(role):
    logs = {(action, role.replace("Role", "LogGroup")) for action in LOGS}
    assert set(statements(STACK, role)) == ALLOWED[role] | logs | {(action, "*") for action in TRACES}


def test_what_is_allowed_is_what_the_code_calls():
    allowed = {action for role in ALLOWED for action, _ in statements(STACK, role)}
    assert allowed - LOGS - TRACES - EVENT_SOURCE == called() | {"sqs:ChangeMessageVisibility"}


@pytest.mark.parametrize(
    "changed", [{"EventBusName": "orders"}, {"TokenRefresh": "DISABLED"}, {"QueueWorkers": "5"}]
)
def test_no_permission_depends_on_a_parameter(changed):
    """CloudFormation changes policies first: for five minutes, the old version would run without what it needs."""
    for role in ALLOWED:
        assert set(statements(Stack(**changed), role)) == set(statements(STACK, role))


def test_a_token_refresh_that_is_disabled_runs_neither_by_schedule_nor_on_request():
    stack = Stack(TokenRefresh="DISABLED")
    assert stack["TokenRefreshFunctionSchedule"]["State"] == "DISABLED"
    for function in ("ApiFunction", "QueueFunction"):
        assert stack[function]["Environment"]["Variables"]["TOKEN_REFRESH_FUNCTION"] == ""


def test_the_schedule_may_invoke_the_token_refresh_and_codedeploy_move_aliases_and_nothing_else():
    invoke = ("lambda:InvokeFunction", "TokenRefreshFunction")
    assert set(statements(STACK, "TokenRefreshFunctionScheduleRole")) == {invoke}
    [policy] = STACK["DeploymentRole"]["ManagedPolicyArns"]
    assert policy == "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited"


def test_every_function_writes_to_a_log_group_of_its_own_that_expires():
    for logical_id, function in STACK.of_type("AWS::Lambda::Function").items():
        group = logical_id.replace("Function", "LogGroup")
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": group}
        assert STACK[group]["RetentionInDays"] == "30"
