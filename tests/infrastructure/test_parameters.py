"""The template's parameters and outputs, and the values that are refused before a deployment."""

import re

import pytest

from tests.infrastructure.cloudformation import Stack, template

PARAMETERS = template()["Parameters"]
DEFAULTS = {
    "CloposBaseUrl": "https://integrations.clopos.com/open-api/v2",
    "TokenRefresh": "ENABLED",
    "AlarmEmail": "",
    "LogRetentionDays": "30",
    "GradualDeployments": "true",
    "QueueWorkers": "2",
    "ApiReserve": "30",
    "CancellationTypes": "order.cancelled,order.canceled",
    "EventBusName": "",
    "PermissionsBoundaryArn": "",
    # Not in the contract's table, which may be added to.
    "ReserveConcurrency": "true",
    "Dashboard": "true",
}
OUTPUTS = {
    *("ApiUrl", "QueueUrl", "QueueArn", "DeadLetterQueueUrl"),
    *("TokenSecretArn", "CredentialsSecretArn", "WebhookSecretArn", "TokenRefreshFunctionName"),
    *("AlarmTopicArn", "ApiId", "LogGroupNames", "WebhookFunctionName"),
}
QUOTA = 300  # Clopos's calls per minute
BOUNDARY = "arn:aws:iam::111122223333:policy/team/boundary"


def is_accepted(name, value):
    """Whether CloudFormation accepts a value: the constraints that the template uses, as its reference has them."""
    parameter = PARAMETERS[name]
    assert not {"MinValue", "MaxValue", "MinLength"} & parameter.keys()
    return (
        ("AllowedValues" not in parameter or value in map(str, parameter["AllowedValues"]))
        and re.fullmatch(parameter.get("AllowedPattern", ".*"), value, re.DOTALL) is not None
        and len(value) <= parameter.get("MaxLength", 4096)
    )


def test_parameters_defaults_and_outputs_are_those_of_the_contract_and_described():
    assert {name: str(parameter["Default"]) for name, parameter in PARAMETERS.items()} == DEFAULTS
    assert Stack().outputs.keys() == OUTPUTS
    described = PARAMETERS | template()["Outputs"]
    assert [name for name, each in described.items() if not each.get("Description")] == []


ACCEPTED = {
    "CloposBaseUrl": ["http://127.0.0.1:4010/open-api/v2", "http://localhost", "https://proxy.example.com"],
    "AlarmEmail": ["ops@example.com"],
    "QueueWorkers": [str(number) for number in range(2, 11)],
    "ApiReserve": ["0", "9", "10", "99", "100", "199", "200", "289", "290"],
    "CancellationTypes": ["cancelled", "order.cancelled,com.example/Order:Cancelled,x_1"],
    "EventBusName": ["default", "orders-bus", "a" * 48],
    "PermissionsBoundaryArn": ["arn:aws-us-gov:iam::aws:policy/PowerUserAccess", BOUNDARY],
}
LONG_URL = "https://" + "a" * 73
REFUSED = {
    "CloposBaseUrl": ["", "http://example.com", "https://", "https://example.com/?a=1", LONG_URL],
    "AlarmEmail": ["ops", "ops@", "a b@example.com"],
    "LogRetentionDays": ["31", "0"],
    "QueueWorkers": ["0", "1", "11", "2.5", "-2", "two", ""],
    "ApiReserve": ["291", "300", "301", "1000", "30.5", "-1", "030", ""],
    "CancellationTypes": ["", ",", "a,", "a,,b", "a, b", "a" * 111],
    "EventBusName": ["arn:aws:events:eu-central-1:111122223333:event-bus/orders", "a b", "a" * 49],
    "PermissionsBoundaryArn": ["boundary", "arn:aws:iam::111122223333:role/boundary"],
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_good_values_are_accepted_and_bad_ones_refused_with_a_sentence(name):
    good, bad = [DEFAULTS[name], *ACCEPTED.get(name, [])], REFUSED.get(name, [])
    assert [value for value in good + bad if is_accepted(name, value)] == good
    assert not bad or PARAMETERS[name]["ConstraintDescription"].startswith("must be ")


def test_every_worker_keeps_a_call_of_the_quota_whatever_the_reserve():
    most_workers, most_reserved = (
        max(number for number in range(2 * QUOTA) if is_accepted(name, str(number)))
        for name in ("QueueWorkers", "ApiReserve")
    )
    assert (QUOTA - most_reserved) // most_workers >= 1


def test_the_number_of_workers_is_set_in_one_place():
    stack = Stack(QueueWorkers="7")
    assert stack["QueueFunctionMessages"]["ScalingConfig"] == {"MaximumConcurrency": "7"}
    assert stack["QueueFunction"]["Environment"]["Variables"]["QUEUE_WORKERS"] == "7"


@pytest.mark.parametrize(("reserve", "reserved"), [("true", 1), ("false", None)])
def test_one_refresh_runs_at_a_time_unless_the_account_is_too_small(reserve, reserved):
    functions = Stack(ReserveConcurrency=reserve).of_type("AWS::Lambda::Function")
    found = {name: function.get("ReservedConcurrentExecutions") for name, function in functions.items()}
    assert found == {name: reserved if name == "TokenRefreshFunction" else None for name in functions}


def test_every_role_has_the_permissions_boundary():
    roles = Stack(PermissionsBoundaryArn=BOUNDARY).of_type("AWS::IAM::Role")
    assert len(roles) == 6
    assert {role.get("PermissionsBoundary") for role in roles.values()} == {BOUNDARY}
    assert not [role for role in Stack().of_type("AWS::IAM::Role").values() if "PermissionsBoundary" in role]


def test_an_alarm_address_is_subscribed_only_if_there_is_one():
    assert Stack().of_type("AWS::SNS::Subscription") == {}
    [subscription] = Stack(AlarmEmail="ops@example.com").of_type("AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
