"""Versions: what makes a new one, how it gets the traffic, and what stops it."""

import pytest

from tests.infrastructure.cloudformation import Stack, template

READ = ("CloposBaseUrl", "TokenRefresh", "QueueWorkers", "ApiReserve", "CancellationTypes", "EventBusName")
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
    "ReserveConcurrency": "false",
    "Dashboard": "false",
}


@pytest.mark.parametrize("name", template()["Parameters"])
@pytest.mark.parametrize("function", ALIASED)
def test_a_parameter_that_reaches_a_function_replaces_its_version_and_no_other_does(function, name):
    """CloudFormation replaces a version if its description changes, and Lambda refuses one without a change."""
    before, after = Stack(), Stack(**{name: OTHER_VALUES[name]})
    (logical_id, version), (same_id, new_version) = before.version_of(function), after.version_of(function)
    assert logical_id == same_id, "SAM looks at values now: the description is no longer needed"
    assert (version["Description"] != new_version["Description"]) == (before[function] != after[function])


@pytest.mark.parametrize("name", READ)
def test_every_parameter_that_the_code_reads_takes_effect(name):
    changed = Stack(**{name: OTHER_VALUES[name]})
    assert any(changed[function] != Stack()[function] for function in ALIASED)


@pytest.mark.parametrize("function", ALIASED)
def test_changed_code_makes_a_new_version_and_the_one_before_is_kept_so_that_one_can_roll_back_to_it(
    function,
):
    """With new code it leaves the template, with new parameters it is replaced. With the stack, functions go."""
    stack = Stack()
    assert stack.version_of(function)[0] != Stack(artifact="s3://artifacts/two").version_of(function)[0]
    version = stack.resources[stack.version_of(function)[0]]
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert "DeletionPolicy" not in stack.resources[function]


def test_an_edit_that_changes_nothing_for_lambda_makes_a_new_version_all_the_same_which_lambda_refuses():
    """The trap that CONTRIBUTING warns of. If this fails, SAM has mended it, and the rule can go."""

    def edit(source):
        variables = source["Resources"]["ApiFunction"]["Properties"]["Environment"]["Variables"]
        variables["EVENT_BUS_NAME"] = {"Fn::Sub": "${EventBusName}"}

    edited = Stack(edit=edit)
    assert edited["ApiFunction"] == Stack()["ApiFunction"]
    assert edited.version_of("ApiFunction")[0] != Stack().version_of("ApiFunction")[0]


@pytest.mark.parametrize("function", ALIASED)
def test_the_longest_description_is_one_that_lambda_accepts(function):
    """Lambda accepts 256 characters (API reference, PublishVersion)."""
    longest = {"ApiReserve": "290", "QueueWorkers": "10", "TokenRefresh": "DISABLED"}
    free = {name: "x" * template()["Parameters"][name]["MaxLength"] for name in set(READ) - longest.keys()}
    description = Stack(**longest, **free).version_of(function)[1]["Description"]
    assert "${" not in description, "it may hold parameters only: all of them are public"
    assert len(description) <= 256


def test_the_token_refresh_has_no_alias_so_what_is_deployed_last_runs():
    stack, latest = Stack(), {"Fn::GetAtt": ["TokenRefreshFunction", "Arn"]}
    assert stack["TokenRefreshFunctionSchedule"]["Target"]["Arn"] == latest
    variables = stack["QueueFunction"]["Environment"]["Variables"]
    assert variables["TOKEN_REFRESH_FUNCTION"] == {"Ref": "TokenRefreshFunction"}


@pytest.mark.parametrize("function", ALIASED)
def test_a_deployment_is_guarded_only_by_alarms_about_its_new_version_which_cannot_be_in_alarm_yet(function):
    """An alarm about the previous version, Clopos or the queue would block a deployment that fixes it.

    An alarm that is only updated keeps the state of the previous version, so each version has a new one.
    """
    version = Stack().version_of(function)[0]
    group = Stack()[f"{function}DeploymentGroup"]["AlarmConfiguration"]
    assert group["Enabled"] is True
    alarms = [Stack()[alarm["Name"]["Ref"]] for alarm in group["Alarms"]]
    assert all(alarm["AlarmName"].endswith(f"-version-${{{version}.Version}}") for alarm in alarms)
    new = {"Fn::GetAtt": [version, "Version"]}
    crashes, bugs = ({each["Name"]: each["Value"] for each in alarm["Dimensions"]} for alarm in alarms)
    assert crashes == {
        "FunctionName": {"Ref": function},
        "Resource": f"${{{function}}}:live",
        "ExecutedVersion": new,
    }
    assert bugs == {"service": "clopos-cancel", "function_name": {"Ref": function}, "function_version": new}
    assert [alarm["MetricName"] for alarm in alarms] == ["Errors", "InternalErrors"]


@pytest.mark.parametrize("function", ALIASED)
def test_a_new_version_gets_a_tenth_of_the_traffic_and_is_rolled_back_on_an_alarm(function):
    group = Stack()[f"{function}DeploymentGroup"]
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    update = Stack().resources[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}


def test_without_gradual_deployments_there_is_no_codedeploy():
    stack = Stack(GradualDeployments="false")
    assert not [each for each in stack.resources.values() if each["Type"].startswith("AWS::CodeDeploy")]
    assert not [each for each in stack.resources.values() if "UpdatePolicy" in each]
