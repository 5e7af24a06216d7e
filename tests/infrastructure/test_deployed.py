"""The template on the AWS emulator: a second stack and its end, changed and refused parameters, alarms that are heard."""

import json

import pytest
from botocore.exceptions import ClientError

from local.common import wait_for
from local.emulator.clients import Queue
from tests.conftest import WAIT_LIMIT_S, logs
from tests.infrastructure.cloudformation import ROOT, Stack

FIRST, SECOND = "clopos-cancel", "clopos-cancel-second"
ALIASED = ("ApiFunction", "QueueFunction", "WebhookFunction")


class Deployment:
    """Deployments of the same template, as another stack."""

    def __init__(self, stack):
        self._cloudformation, self._lambda = stack.client("cloudformation"), stack.client("lambda")
        original = self._cloudformation.get_template(StackName=FIRST, TemplateStage="Original")
        self._template = json.dumps(original["TemplateBody"])

    def deploy(self, action, **parameters):
        parameters = {"GradualDeployments": "false", **parameters}  # the emulator has no CodeDeploy
        getattr(self._cloudformation, f"{action}_stack")(
            StackName=SECOND,
            TemplateBody=self._template,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        self._wait(action)

    def live(self, function):
        """Return the version that calls of a function go to, and its environment variables."""
        found = self._lambda.get_function_configuration(
            FunctionName=self.physical_id(function), Qualifier="live"
        )
        return int(found["Version"]), found["Environment"]["Variables"]

    def physical_id(self, logical_id):
        found = self._cloudformation.describe_stack_resource(StackName=SECOND, LogicalResourceId=logical_id)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    def delete(self):
        self._cloudformation.delete_stack(StackName=SECOND)
        self._wait("delete")

    def _wait(self, action):
        waiter = self._cloudformation.get_waiter(f"stack_{action}_complete")
        waiter.wait(StackName=SECOND, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


@pytest.fixture
def second(stack):
    """A second stack beside the first, with the same token."""
    deployment = Deployment(stack)
    deployment.deploy("create", CloposBaseUrl=stack.clopos.url, EventBusName="default")
    secrets = stack.client("secretsmanager")
    token = secrets.get_secret_value(SecretId=stack.outputs["TokenSecretArn"])["SecretString"]
    secrets.put_secret_value(SecretId=deployment.physical_id("TokenSecret"), SecretString=token)
    yield deployment
    deployment.delete()


def test_changed_parameters_reach_the_functions_that_read_them_and_the_old_versions_still_work(
    stack, second, clopos
):
    """During a gradual deployment, the old version gets 90 % of the calls, with the policies of the new one."""

    def deployed(**parameters):
        second.deploy("update", CloposBaseUrl=stack.clopos.url, **parameters)
        return {function: second.live(function) for function in ALIASED}

    after = deployed(EventBusName="", CancellationTypes="cancelled", TokenRefresh="DISABLED")
    assert [version for version, _ in after.values()] == [2, 2, 2]
    assert after["WebhookFunction"][1]["CANCELLATION_TYPES"] == "cancelled"
    assert (
        after["ApiFunction"][1]["EVENT_BUS_NAME"] == after["ApiFunction"][1]["TOKEN_REFRESH_FUNCTION"] == ""
    )
    last = deployed(EventBusName="", CancellationTypes="cancelled", TokenRefresh="DISABLED", QueueWorkers="3")
    assert [version for version, _ in last.values()] == [2, 3, 2]
    client, worker = stack.client("lambda"), f"{second.physical_id('QueueFunction')}:live"
    [source] = client.list_event_source_mappings(FunctionName=worker)["EventSourceMappings"]
    assert source["ScalingConfig"]["MaximumConcurrency"] == 3

    event = (ROOT / "events" / "api.json").read_text()

    def is_cancelled():  # not at once, if the secret had no token when this version read it first
        answer = client.invoke(FunctionName=second.physical_id("ApiFunction"), Qualifier="1", Payload=event)
        return json.load(answer["Payload"])["statusCode"] == 200

    assert wait_for(is_cancelled, WAIT_LIMIT_S, interval_s=1)
    lines = stack.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{SECOND}-api")["events"]
    assert "order cancelled" in str(lines)
    assert "outcomes not published" not in str(lines), "version 1 still publishes on the bus that it knows"


def test_a_deleted_stack_leaves_what_cannot_be_made_again_and_its_name_can_be_used_again(
    stack, second, sqs, secretsmanager
):
    names = ("Queue", "DeadLetterQueue", "CredentialsSecret", "WebhookSecret", "TokenSecret")
    queue, dead_letters, credentials, webhook, token = (second.physical_id(name) for name in names)
    sqs.send_message(QueueUrl=dead_letters, MessageBody='{"order_id": 404}')
    signing = secretsmanager.get_secret_value(SecretId=webhook)["SecretString"]
    second.delete()
    assert Queue(sqs, queue).counts() == (0, 0)
    assert len(Queue(sqs, dead_letters).take_all()) == 1
    assert secretsmanager.get_secret_value(SecretId=webhook)["SecretString"] == signing
    assert "DeletedDate" not in secretsmanager.describe_secret(SecretId=credentials)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        secretsmanager.get_secret_value(SecretId=token)
    second.deploy("create")


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ({"GradualDeployments": "true"}, "AWS::CodeDeploy::Application"),
        ({"QueueWorkers": "1"}, "must be a whole number from 2"),
    ],
)
def test_parameters_are_seen_by_sam_and_checked_before_anything_is_deployed(stack, parameters, refusal):
    """The emulator has no CodeDeploy; the other tests deploy without it."""
    with pytest.raises(ClientError, match=refusal):
        Deployment(stack).deploy("create", **parameters)


def emitted(stack):
    """Return the metrics in the logs of the deployed functions: namespace, name and dimensions, with their values."""
    for line in (line for function in ALIASED for line in logs(stack, function)):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            dimensions = tuple(sorted((name, line[name]) for name in directive["Dimensions"][0]))
            yield from (
                (directive["Namespace"], metric["Name"], dimensions) for metric in directive["Metrics"]
            )


def test_alarms_watch_what_the_deployed_functions_emit(stack, clopos, deployed_queues):
    """By the same dimensions: an alarm about `service: clopos-cancel` hears nothing of another stack."""
    watched = {
        (alarm["Namespace"], alarm["MetricName"], tuple(tuple(each.values()) for each in alarm["Dimensions"]))
        for alarm in Stack().of_type("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] in {"TokenSecondsLeft", "CloposAccessDenied", "MessageAge", "WebhooksRefused"}
    }
    clopos.add_order(109)
    clopos.fail(109, "module_missing")
    deployed_queues[0].send({"order_id": 109})

    def are_emitted():
        # With each call: the emulator may take what a function wrote last only when it calls the function again.
        stack.put_order(108)
        deployed_queues[0].send({"order_id": 108})
        assert stack.call("POST", "/webhooks/cancellations", '{"order_id": 108}').status_code == 401
        return watched <= set(emitted(stack))

    assert wait_for(are_emitted, WAIT_LIMIT_S, interval_s=1)
