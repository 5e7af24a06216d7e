"""The queue and the functions: how their numbers fit together, and what all of them share."""

import pytest

from tests.infrastructure.cloudformation import Stack, template
from tools.build import RUNTIME

STACK = Stack()
QUEUES = ("Queue", "DeadLetterQueue")
LONGEST_RETENTION_S = 14 * 24 * 60 * 60
MOST_RECEIVES = 1000  # SQS API reference, SetQueueAttributes


def test_the_orders_of_a_dead_worker_are_back_within_three_minutes_and_not_while_it_lives():
    timeout = STACK["QueueFunction"]["Timeout"]
    assert timeout < STACK["Queue"]["VisibilityTimeout"] <= 180


def test_a_message_is_received_as_often_as_sqs_allows():
    assert STACK["Queue"]["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
        "maxReceiveCount": MOST_RECEIVES,
    }


@pytest.mark.parametrize("queue", QUEUES)
def test_messages_are_encrypted_and_kept_as_long_as_sqs_can(queue):
    assert STACK[queue]["SqsManagedSseEnabled"] is True
    assert STACK[queue]["MessageRetentionPeriod"] == LONGEST_RETENTION_S


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_outlives_its_stack(queue):
    assert STACK.resources[queue]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert STACK.resources[queue]["UpdateReplacePolicy"] == "Retain"


def test_the_queues_have_no_policy_that_would_replace_a_senders():
    assert STACK.of_type("AWS::SQS::QueuePolicy") == {}


def test_a_bad_message_does_not_bring_back_its_batch():
    assert STACK["QueueFunctionMessages"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert STACK["QueueFunctionMessages"]["BatchSize"] == 10


def test_the_credentials_have_no_value_that_an_update_could_write_over_the_operators():
    assert STACK["CredentialsSecret"].keys() == {"Description"}
    assert STACK["TokenSecret"].keys() == {"Description"}


def test_every_function_of_lambda_logs_json_at_the_level_of_powertools():
    for function in STACK.of_type("AWS::Lambda::Function").values():
        assert {key: value for key, value in function["LoggingConfig"].items() if key != "LogGroup"} == {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "INFO",
        }
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "INFO"


def test_only_one_refresh_runs_at_a_time():
    assert STACK["TokenRefreshFunction"]["ReservedConcurrentExecutions"] == 1


def test_runtime_memory_and_architecture_stand_in_one_place():
    shared = template()["Globals"]["Function"]
    assert shared["Runtime"] == "python{}.{}".format(*RUNTIME)
    for function in (
        each for each in template()["Resources"].values() if "Handler" in each.get("Properties", {})
    ):
        assert not {"Runtime", "MemorySize", "Architectures"} & function["Properties"].keys()
    assert {each["Runtime"] for each in STACK.of_type("AWS::Lambda::Function").values()} == {
        shared["Runtime"]
    }
