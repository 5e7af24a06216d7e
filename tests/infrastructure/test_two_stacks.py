"""Two stacks of the template in one account: none of their resources share a name."""

from tests.infrastructure.cloudformation import Stack

# The properties by which a resource is named; a resource without one gets a name of its own from CloudFormation.
NAMES = {
    "AWS::ApiGateway::RestApi": None,  # two APIs may have the same name
    "AWS::ApiGateway::Stage": None,  # a name inside the API
    "AWS::Lambda::Alias": None,  # a name inside the function
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::CodeDeploy::Application": "ApplicationName",
    "AWS::CodeDeploy::DeploymentGroup": "DeploymentGroupName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::SecretsManager::Secret": "Name",
}
NAMELESS = {
    "AWS::ApiGateway::Deployment",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::SNS::Subscription",
}
ALL = {"AlarmEmail": "ops@example.com", "EventBusName": "default"}


def names(stack):
    """Return the names that the template gives, by type: a name is unique within its type."""
    return {
        (resource["Type"], resource["Properties"][NAMES[resource["Type"]]])
        for resource in stack.resources.values()
        if NAMES.get(resource["Type"]) in resource.get("Properties", {})
    }


def test_every_type_of_resource_is_known():
    used = {resource["Type"] for resource in Stack(**ALL).resources.values()}
    assert used == NAMES.keys() | NAMELESS


def test_two_stacks_in_one_region_share_no_name():
    one, two = names(Stack("one", **ALL)), names(Stack("two", **ALL))
    assert len(one) == len(two) >= 15
    assert one & two == set()


def test_the_schedule_has_no_fixed_name():
    assert "Name" not in Stack()["TokenRefreshFunctionSchedule"]


def test_dashboards_whose_names_are_shared_by_all_regions_are_named_for_theirs():
    assert Stack("one")["StatusDashboard"]["DashboardName"] == "one-eu-central-1"


def test_metrics_and_events_tell_stacks_apart():
    for function in Stack("one").of_type("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "one"
