"""The queue and the functions: how their numbers fit together, and what all of them share."""

from tests.infrastructure.cloudformation import Stack, template
from tools.build import RUNTIME

STACK = Stack()
LONGEST_RETENTION_S = 14 * 24 * 60 * 60
MOST_RECEIVES = 1000  # SQS API reference, SetQueueAttributes


def test_the_orders_of_a_dead_worker_are_back_within_three_minutes_and_not_while_it_lives():
    timeout = STACK["QueueFunction"]["Timeout"]
    assert timeout < STACK["Queue"]["VisibilityTimeout"] <= 180


def test_messages_are_encrypted_received_as_often_and_kept_as_long_as_sqs_allows():
    policy = STACK["Queue"]["RedrivePolicy"]
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert policy["maxReceiveCount"] == MOST_RECEIVES
    for queue in STACK.of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == LONGEST_RETENTION_S


def test_the_queues_have_no_policy_that_would_replace_a_senders():
    assert STACK.of_type("AWS::SQS::QueuePolicy") == {}


def test_a_bad_message_does_not_bring_back_its_batch():
    assert STACK["QueueFunctionMessages"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert STACK["QueueFunctionMessages"]["BatchSize"] == 10


def test_every_function_of_lambda_logs_json_at_the_level_of_powertools():
    for function in STACK.of_type("AWS::Lambda::Function").values():
        logging = function["LoggingConfig"]
        assert logging["LogFormat"] == "JSON"
        assert logging["ApplicationLogLevel"] == logging["SystemLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "INFO"


def test_the_runtime_is_the_one_that_the_bytecode_is_made_for():
    assert template()["Globals"]["Function"]["Runtime"] == "python{}.{}".format(*RUNTIME)
