"""What an operator reads if a call to AWS fails."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    UnauthorizedSSOTokenError,
)

from tools.operate.stack import duration, explain


def refused(code, message, operation="GetQueueAttributes"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            refused(
                "AccessDenied", "User: u is not authorized to perform: sqs:getqueueattributes on resource: q"
            ),
            "not allowed: your credentials need the permission sqs:getqueueattributes",
        ),
        (
            refused(
                "AccessDenied", "Access to the resource https://sqs.eu-central-1.amazonaws.com/ is denied."
            ),
            "not allowed: your credentials need the permission for GetQueueAttributes",
        ),
        (refused("ExpiredToken", "it has expired"), "AWS does not accept these credentials (ExpiredToken)"),
        (
            refused("Throttling", "Rate exceeded"),
            "AWS refuses GetQueueAttributes with Throttling: Rate exceeded",
        ),
        (NoCredentialsError(), "there are no usable AWS credentials: Unable to locate credentials. Sign in"),
        (UnauthorizedSSOTokenError(), "there are no usable AWS credentials: The SSO session"),
        (NoRegionError(), "no AWS region is configured"),
        (EndpointConnectionError(endpoint_url="https://sqs"), "AWS cannot be reached: Could not connect"),
    ],
)
def test_a_failed_call_is_explained(error, sentence):
    assert explain(error).startswith(sentence)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours"), (1209599, "13 days")],
)
def test_a_length_of_time_is_rounded_down(seconds, words):
    assert duration(seconds) == words
