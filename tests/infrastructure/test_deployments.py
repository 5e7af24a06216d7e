"""Gradual deployments: the alarms that stop them, and their absence if they are disabled."""

import pytest

from tests.infrastructure.cloudformation import Stack

ALIASED = ("ApiFunction", "QueueFunction", "WebhookFunction")


@pytest.mark.parametrize("function", ALIASED)
def test_a_deployment_is_guarded_only_by_alarms_about_its_new_version(function):
    """An alarm about the previous version, Clopos or the queue would block a deployment that fixes it."""
    stack = Stack()
    version = stack.version_of(function)[0]
    group = stack[f"{function}DeploymentGroup"]["AlarmConfiguration"]
    assert group["Enabled"] is True
    alarms = [stack[alarm["Name"]["Ref"]] for alarm in group["Alarms"]]
    dimensions = [{each["Name"]: each["Value"] for each in alarm["Dimensions"]} for alarm in alarms]
    new = {"Fn::GetAtt": [version, "Version"]}
    assert dimensions == [
        {
            "FunctionName": {"Ref": function},
            "Resource": f"${{{function}}}:live",
            "ExecutedVersion": new,
        },
        {"service": "clopos-cancel", "function_name": {"Ref": function}, "function_version": new},
    ]
    assert [(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms] == [
        ("AWS/Lambda", "Errors"),
        ("CloposOrders", "InternalErrors"),
    ]


def test_a_new_version_gets_alarms_of_its_own_which_cannot_be_in_alarm_yet():
    """An alarm that is only updated keeps the state of the previous version."""
    stack = Stack()
    for function in ALIASED:
        version = stack.version_of(function)[0]
        for alarm in stack[f"{function}DeploymentGroup"]["AlarmConfiguration"]["Alarms"]:
            assert stack[alarm["Name"]["Ref"]]["AlarmName"].endswith(f"-version-${{{version}.Version}}")


def test_a_new_version_gets_a_tenth_of_the_traffic_and_is_rolled_back_on_an_alarm():
    stack = Stack()
    groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
    assert groups.keys() == {f"{function}DeploymentGroup" for function in ALIASED}
    for logical_id, group in groups.items():
        assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert group["AutoRollbackConfiguration"]["Enabled"] is True
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        alias = stack.resources[logical_id.removesuffix("DeploymentGroup") + "Aliaslive"]
        update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": logical_id}


def test_without_gradual_deployments_there_is_no_codedeploy():
    stack = Stack(GradualDeployments="false")
    assert not [each for each in stack.resources.values() if each["Type"].startswith("AWS::CodeDeploy")]
    assert not [each for each in stack.resources.values() if "UpdatePolicy" in each]
