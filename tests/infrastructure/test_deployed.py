"""The template on the AWS emulator: a second stack, a changed parameter, refused parameters, alarms that reach a person."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError, WaiterError

from local.emulator.clients import Queue
from tests.conftest import eventually
from tests.infrastructure.cloudformation import Stack

FIRST, SECOND = "clopos-cancel", "clopos-cancel-second"
ALIASED = ("ApiFunction", "QueueFunction", "WebhookFunction")


class Deployment:
    """Deployments of the same template, as another stack."""

    def __init__(self, stack):
        self._cloudformation = stack.client("cloudformation")
        self._lambda = stack.client("lambda")
        original = self._cloudformation.get_template(StackName=FIRST, TemplateStage="Original")
        body = original["TemplateBody"]
        self._template = body if isinstance(body, str) else json.dumps(body)

    def deploy(self, kind, **parameters):
        parameters = {"GradualDeployments": "false", **parameters}  # the emulator has no CodeDeploy
        target = {"StackName": SECOND, "ChangeSetName": f"change-{uuid.uuid4().hex}"}
        self._cloudformation.create_change_set(
            **target,
            ChangeSetType=kind,
            TemplateBody=self._template,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        wait = {"Delay": 0.2, "MaxAttempts": 300}
        self._cloudformation.get_waiter("change_set_create_complete").wait(**target, WaiterConfig=wait)
        self._cloudformation.execute_change_set(**target)
        try:
            self._cloudformation.get_waiter(f"stack_{kind.lower()}_complete").wait(
                StackName=SECOND, WaiterConfig=wait
            )
        except WaiterError as error:
            events = self._cloudformation.describe_stack_events(StackName=SECOND)["StackEvents"]
            reasons = [each["ResourceStatusReason"] for each in events if "ResourceStatusReason" in each]
            raise AssertionError(reasons) from error

    def live(self, function):
        """Return the version that calls of a function go to, and its environment variables."""
        found = self._lambda.get_function_configuration(
            FunctionName=self.physical_id(function), Qualifier="live"
        )
        return found["Version"], found["Environment"]["Variables"]

    def concurrency(self):
        """Return how many workers may read the queue at a time."""
        [source] = self._lambda.list_event_source_mappings(FunctionName=f"{SECOND}-queue:live")[
            "EventSourceMappings"
        ]
        return source["ScalingConfig"]["MaximumConcurrency"]

    def physical_id(self, logical_id):
        found = self._cloudformation.describe_stack_resource(StackName=SECOND, LogicalResourceId=logical_id)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    def delete(self):
        self._cloudformation.delete_stack(StackName=SECOND)
        self._cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=SECOND, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300}
        )


@pytest.fixture(scope="module")
def second(stack):
    """A second stack beside the first."""
    deployment = Deployment(stack)
    deployment.deploy("CREATE", CancellationTypes="order.cancelled")
    yield deployment
    deployment.delete()


def test_two_stacks_have_nothing_in_common(stack, second):
    types = {"AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::IAM::Role"}
    for logical_id, resource in Stack(GradualDeployments="false").resources.items():
        if resource["Type"] in types:
            assert stack.physical_id(logical_id) != second.physical_id(logical_id)


def test_a_changed_parameter_reaches_the_functions_that_read_it_and_no_other(second):
    before = {function: second.live(function) for function in ALIASED}
    second.deploy("UPDATE", CancellationTypes="cancelled", EventBusName="default")
    after = {function: second.live(function) for function in ALIASED}
    assert after["WebhookFunction"][1]["CANCELLATION_TYPES"] == "cancelled"
    assert after["QueueFunction"][1]["CANCELLATION_TYPES"] == "cancelled"
    assert after["ApiFunction"][1]["EVENT_BUS_NAME"] == "default"
    second.deploy("UPDATE", CancellationTypes="cancelled", EventBusName="default", QueueWorkers="3")
    last = {function: second.live(function) for function in ALIASED}
    assert last["QueueFunction"][1]["QUEUE_WORKERS"] == "3"
    assert second.concurrency() == 3
    versions = [[int(each[function][0]) for each in (before, after, last)] for function in ALIASED]
    assert versions == [[1, 2, 2], [1, 2, 3], [1, 2, 2]]


def test_sam_sees_the_values_of_parameters_so_a_deployment_need_not_be_gradual(stack):
    """`second` shows the other half: without, it is deployed."""
    with pytest.raises(ClientError, match="AWS::CodeDeploy::Application"):
        Deployment(stack).deploy("UPDATE", GradualDeployments="true")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"QueueWorkers": "1"}, "must be a whole number from 2"),
        ({"ApiReserve": "301"}, "must be a whole number from 0 to 290"),
        ({"CancellationTypes": "a, b"}, "must be one or more event types"),
        ({"CloposBaseUrl": "http://example.com"}, "must be an https:// URL"),
    ],
)
def test_a_bad_parameter_is_refused_with_a_sentence_before_anything_is_deployed(stack, parameters, reason):
    with pytest.raises(ClientError, match=reason):
        Deployment(stack).deploy("UPDATE", **parameters)


def test_the_alarms_are_deployed_as_they_are_in_the_template(stack):
    names = {stack.physical_id(name): name for name in Stack().of_type("AWS::CloudWatch::Alarm")}
    deployed = stack.client("cloudwatch").describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    assert {names[alarm["AlarmName"]] for alarm in deployed} == set(names.values())
    template = Stack().of_type("AWS::CloudWatch::Alarm")
    for alarm in deployed:
        wanted = template[names[alarm["AlarmName"]]]
        for key in (
            "Namespace",
            "MetricName",
            "Period",
            "EvaluationPeriods",
            "Threshold",
            "TreatMissingData",
        ):
            assert alarm[key] == wanted[key], (names[alarm["AlarmName"]], key)
        assert alarm.get("DatapointsToAlarm") == wanted.get("DatapointsToAlarm")


def test_the_limits_of_the_webhook_apply_to_its_path(stack):
    """CloudFormation wants the path encoded; the emulator looks a request up by the plain one."""
    stage = stack.client("apigateway").get_stage(restApiId=stack.physical_id("Api"), stageName="v1")
    found = stage["methodSettings"]["/webhooks/cancellations/POST"]
    [wanted] = [each for each in Stack()["Apiv1Stage"]["MethodSettings"] if each["HttpMethod"] == "POST"]
    assert (found["throttlingBurstLimit"], found["throttlingRateLimit"]) == (
        wanted["ThrottlingBurstLimit"],
        wanted["ThrottlingRateLimit"],
    )


def emitted(stack, *functions):
    """Return the metrics in the logs of deployed functions: namespace, name and dimensions, with their values."""
    for line in (line for function in functions for line in stack.logs(function)):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                dimensions = {name: line[name] for name in directive["Dimensions"][0]}
                yield directive["Namespace"], metric["Name"], tuple(sorted(dimensions.items()))


def test_alarms_watch_what_the_deployed_functions_emit(stack, clopos, deployed_queues):
    """By the same dimensions: an alarm about `service: clopos-cancel` hears nothing of another stack."""
    stack.refresh_token()
    assert stack.put_order(108).ok
    clopos.fail(109, "module_missing")
    clopos.add_order(109)
    deployed_queues[0].send({"order_id": 109})
    assert stack.call("POST", "/webhooks/cancellations", '{"order_id": 108}').status_code == 401
    wanted = {"TokenSecondsLeft", "CloposAccessDenied", "MessageAge", "WebhooksRefused"}
    alarms = {
        (
            alarm["Namespace"],
            alarm["MetricName"],
            tuple((each["Name"], each["Value"]) for each in alarm["Dimensions"]),
        )
        for alarm in stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
        if alarm["MetricName"] in wanted and "-second" not in alarm["AlarmName"]
    }
    assert len(alarms) == len(wanted)
    eventually(lambda: alarms <= set(emitted(stack, "ApiFunction", "QueueFunction", "WebhookFunction")))


def test_an_alarm_is_heard_by_the_subscribers_of_its_topic(stack, sqs, clopos):
    """A queue in place of the e-mail address. The emulator measures the errors of functions itself."""
    from_sns = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [from_sns]})
    mailbox = Queue.create(sqs, Policy=policy)
    topic, arn = stack.physical_id("AlarmTopic"), mailbox.attribute("QueueArn")
    stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    name = stack.physical_id("TokenRefreshAlarm")
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="the test begins")

    clopos.fail_auth("wrong_credentials")
    clopos.fail_auth("wrong_credentials")
    for _ in range(2):  # the schedule's run, and Lambda's retry
        failed = stack.client("lambda").invoke(
            FunctionName=stack.physical_id("TokenRefreshFunction"), Payload=b"{}"
        )
        assert "FunctionError" in failed
    # The emulator evaluates its alarms whenever a metric is put.
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[{"MetricName": "Test", "Value": 0}])

    def heard():
        messages = [json.loads(json.loads(message["Body"])["Message"]) for message in mailbox.take_all()]
        return [each for each in messages if (each["AlarmName"], each["NewStateValue"]) == (name, "ALARM")]

    [message] = eventually(heard)
    assert "make doctor REFRESH=1" in message["AlarmDescription"]
