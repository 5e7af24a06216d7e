"""Each alarm of the deployed stack fires when it should, and tells the topic.

The emulator's CloudWatch evaluates alarms and measures functions; SQS and API Gateway it does not measure, and it does
not read metrics out of logs. So a test brings about what an alarm is for, and reports what AWS would measure of it.
"""

import json
import time

import pytest

from cancellation.errors import CancelError
from local.simulator import Fault
from tests.conftest import Queue, eventually


@pytest.fixture(scope="module")
def cloudwatch(stack):
    return stack.client("cloudwatch")


@pytest.fixture(scope="module")
def notified(stack, sqs):
    """A queue that hears what the alarms' topic says; `AlarmEmail` would hear the same."""
    from_anybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [from_anybody]})
    url = sqs.create_queue(QueueName="alarms", Attributes={"Policy": policy})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("sns").subscribe(TopicArn=stack.physical_id("AlarmTopic"), Protocol="sqs", Endpoint=arn)
    return Queue(sqs, url)


@pytest.fixture
def alarm(stack, cloudwatch, notified):
    """Return a check that an alarm fires, and that the topic hears of it."""

    def fires(logical_id, cause):
        name = stack.physical_id(logical_id)

        def described():
            return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]

        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="whatever was before")
        cause(described())
        eventually(lambda: described()["StateValue"] == "ALARM")
        eventually(
            lambda: any(
                (told := json.loads(json.loads(message["Body"])["Message"]))["AlarmName"] == name
                and told["NewStateValue"] == "ALARM"
                for message in notified.take_all()
            )
        )

    return fires


@pytest.fixture
def measure(cloudwatch):
    """Report a value of an alarm's metric, for each of the periods that it looks at."""

    def measure(alarm, value):
        cloudwatch.put_metric_data(
            Namespace=alarm["Namespace"],
            MetricData=[
                {
                    "MetricName": alarm["MetricName"],
                    "Dimensions": alarm["Dimensions"],
                    "Timestamp": time.time() - period * alarm["Period"],
                    "Value": value,
                }
                for period in range(alarm["EvaluationPeriods"])
            ],
        )

    return measure


@pytest.fixture
def relay(output, cloudwatch):
    """Report what the functions logged as metrics, as CloudWatch Logs does on AWS."""

    def relay():
        for line in output.lines():
            for directive in line.get("_aws", {"CloudWatchMetrics": []})["CloudWatchMetrics"]:
                cloudwatch.put_metric_data(
                    Namespace=directive["Namespace"],
                    MetricData=[
                        {
                            "MetricName": metric["Name"],
                            "Dimensions": [
                                {"Name": name, "Value": line[name]} for name in directive["Dimensions"][0]
                            ],
                            "Values": line[metric["Name"]],
                        }
                        for metric in directive["Metrics"]
                    ],
                )

    return relay


def test_a_refresh_that_fails(alarm, relay, refresh, clopos):
    def cause(_):
        clopos.fail_auth("wrong_credentials")
        with pytest.raises(CancelError, match="clopos_access_denied"):
            refresh()
        relay()

    alarm("TokenRefreshAlarm", cause)


def test_a_token_that_nobody_renews(alarm, relay, call_api, secret, token, environment):
    def cause(described):
        soon = time.time() + described["Threshold"] - 60
        environment("TOKEN_SECRET_ARN", secret({"token": token, "expires_at": soon}))
        assert call_api(108).status == 200
        relay()

    alarm("TokenExpiryAlarm", cause)


def test_clopos_refuses_us(alarm, relay, call_api, clopos):
    def cause(_):
        clopos.configure(state="module_missing")
        call_api(108)
        relay()

    alarm("AccessDeniedAlarm", cause)


def test_clopos_answers_429_all_the_time(alarm, relay, call_api, clopos):
    def cause(described):
        clopos.fail(108, Fault(429, {}, {"RateLimit-Reset": "0.001"}), repeat=None)
        while len(clopos.calls(108)) <= described["Threshold"]:
            call_api(108)
        relay()

    alarm("ThrottledAlarm", cause)


def test_a_message_that_cannot_be_done(alarm, measure, stack, deployed_queues, clopos):
    def cause(described):
        queue, dead_letters = deployed_queues
        assert described["Dimensions"] == [{"Name": "QueueName", "Value": dead_letters.url.split("/")[-1]}]
        queue.send("not JSON")
        eventually(lambda: dead_letters.counts() == (1, 0))
        measure(described, dead_letters.counts()[0])

    alarm("DeadLetterAlarm", cause)


def test_a_message_that_is_not_read(alarm, measure, stack):
    def cause(described):
        name = stack.outputs["QueueUrl"].split("/")[-1]
        assert described["Dimensions"] == [{"Name": "QueueName", "Value": name}]
        measure(described, described["Threshold"] + 1)  # a quarter of an hour is too long for a test

    alarm("UnreadOrdersAlarm", cause)


def test_the_api_answers_5xx(alarm, measure, stack, clopos):
    def cause(described):
        stack.refresh_token()
        name = stack.client("apigateway").get_rest_api(restApiId=stack.physical_id("Api"))["name"]
        assert described["Dimensions"] == [{"Name": "ApiName", "Value": name}]
        clopos.fail_all("html_200")
        calls = round(described["Threshold"])
        answers = [
            stack.http.put(f"{stack.outputs['ApiUrl']}/orders/108", json={"status": "IGNORE"}, timeout=60)
            for _ in range(calls)
        ]
        measure(described, sum(answer.status_code >= 500 for answer in answers))

    alarm("ApiErrorsAlarm", cause)


def test_the_queue_worker_crashes(alarm, stack, cloudwatch):
    def cause(_):
        answer = stack.client("lambda").invoke(
            FunctionName=stack.physical_id("QueueFunction"), Payload=b"{}"
        )  # no event of SQS looks like this
        assert "FunctionError" in answer

        # The emulator looks at its alarms whenever a metric is put.
        cloudwatch.put_metric_data(Namespace="Any", MetricData=[{"MetricName": "Any", "Value": 0}])

    alarm("QueueErrorsAlarm", cause)
