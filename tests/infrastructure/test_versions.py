"""A deployment reaches the aliases: with changed code, and with changed parameters."""

import pytest

from tests.infrastructure.cloudformation import Stack, template

ALIASED = ("ApiFunction", "QueueFunction", "WebhookFunction")
OTHER_VALUES = {
    "CloposBaseUrl": "https://other.example.com",
    "TokenRefresh": "DISABLED",
    "AlarmEmail": "ops@example.com",
    "LogRetentionDays": "90",
    "QueueWorkers": "5",
    "ApiReserve": "60",
    "CancellationTypes": "cancelled",
    "EventBusName": "orders",
    "GradualDeployments": "false",
    "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
}


def test_every_parameter_is_tried():
    assert OTHER_VALUES.keys() == template()["Parameters"].keys()


@pytest.mark.parametrize("name", OTHER_VALUES)
@pytest.mark.parametrize("function", ALIASED)
def test_a_parameter_that_reaches_a_function_replaces_its_version_and_no_other_does(function, name):
    """CloudFormation replaces a version if its description changes, and Lambda refuses one without a change."""
    before, after = Stack(), Stack(**{name: OTHER_VALUES[name]})
    (logical_id, version), (same_id, new_version) = before.version_of(function), after.version_of(function)
    assert logical_id == same_id, "SAM looks at values now: the description is no longer needed"
    assert (version["Description"] != new_version["Description"]) == (before[function] != after[function])


def test_every_parameter_that_the_code_reads_takes_effect():
    read = {
        "CloposBaseUrl",
        "TokenRefresh",
        "QueueWorkers",
        "ApiReserve",
        "CancellationTypes",
        "EventBusName",
    }
    plain = Stack()
    for name in read:
        changed = Stack(**{name: OTHER_VALUES[name]})
        assert any(changed[function] != plain[function] for function in ALIASED), name


@pytest.mark.parametrize("function", ALIASED)
def test_changed_code_makes_a_new_version(function):
    before, after = Stack(), Stack(artifact="s3://artifacts/two")
    assert before.version_of(function)[0] != after.version_of(function)[0]
    assert after.resources[after.version_of(function)[0]]["DeletionPolicy"] == "Retain"


@pytest.mark.parametrize("function", ALIASED)
def test_the_longest_description_is_one_that_lambda_accepts(function):
    """Lambda accepts 256 characters (API reference, PublishVersion)."""
    parameters = template()["Parameters"]

    def longest(name):
        if "MaxLength" in parameters[name]:
            return "x" * parameters[name]["MaxLength"]
        if "AllowedValues" in parameters[name]:
            return max(map(str, parameters[name]["AllowedValues"]), key=len)
        return {"ApiReserve": "290", "QueueWorkers": "10"}[name]

    used = (
        "CloposBaseUrl",
        "TokenRefresh",
        "QueueWorkers",
        "ApiReserve",
        "CancellationTypes",
        "EventBusName",
    )
    description = Stack(**{name: longest(name) for name in used}).version_of(function)[1]["Description"]
    assert "${" not in description, "it may hold parameters only: all of them are public"
    assert len(description) <= 256


def test_the_token_refresh_has_no_alias_so_what_is_deployed_last_runs():
    stack = Stack()
    assert "TokenRefreshFunctionAliaslive" not in stack.resources
    latest = {"Fn::GetAtt": ["TokenRefreshFunction", "Arn"]}
    assert stack["TokenRefreshFunctionSchedule"]["Target"]["Arn"] == latest
    assert stack["QueueFunction"]["Environment"]["Variables"]["TOKEN_REFRESH_FUNCTION"] == {
        "Ref": "TokenRefreshFunction"
    }
