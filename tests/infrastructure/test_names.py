"""Names: two stacks in one account share none, and the long name of a nested stack fits into all of them."""

import pytest

from tests.infrastructure.cloudformation import Stack

ALL = {"AlarmEmail": "ops@example.com", "EventBusName": "default"}
# Names that do not have to be unique: inside another resource, or of something that AWS provides.
SHARED = {
    ("AWS::ApiGateway::Stage", "StageName"),
    ("AWS::CloudWatch::Alarm", "MetricName"),
    ("AWS::CodeDeploy::DeploymentGroup", "DeploymentConfigName"),
    ("AWS::Lambda::Alias", "Name"),
}
# What AWS accepts (API references). A nested stack is named <parent>-<logical id>-<13 characters>: up to 128.
LONGEST = {
    ("AWS::ApiGateway::RestApi", "Name"): 1024,
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
}


def names(stack):
    """Return the names that the template gives, by type and property; CloudFormation gives the other resources theirs."""
    return {
        (resource["Type"], key, value)
        for resource in stack.resources.values()
        for key, value in resource.get("Properties", {}).items()
        if key.endswith("Name") and isinstance(value, str) and (resource["Type"], key) not in SHARED
    }


def test_two_stacks_in_one_region_share_no_name():
    one, two = names(Stack("one", **ALL)), names(Stack("two", **ALL))
    assert len(one) == len(two) == 12  # API, dashboard, six alarms, four log groups
    assert one & two == set()


@pytest.mark.parametrize("name", ["parent-CloposCancel-1ABCDEFGHIJKL", "x" * 128])
def test_the_name_of_a_nested_stack_fits_into_every_name(name):
    given = names(Stack(name, **ALL))
    assert {(kind, key) for kind, key, _ in given} == LONGEST.keys(), (
        "CloudFormation shortens what it names itself"
    )
    for kind, key, value in given:
        assert len(value.partition("${")[0] + "12345") <= LONGEST[kind, key]


def test_metrics_events_and_dashboards_tell_stacks_apart():
    assert Stack("one")["StatusDashboard"]["DashboardName"] == "one-eu-central-1", (
        "all regions share these names"
    )
    for function in Stack("one").of_type("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "one"
