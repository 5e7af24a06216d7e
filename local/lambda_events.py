"""What Lambda gives to a function: its environment variables, SQS records, and the context of an invocation.

This module only imports the standard library: the benchmark loads it into a process that has no packages.
"""

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def environment_variables(
    template: Mapping[str, Any], function: str, artifact: Path, references: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables with which Lambda starts a function, by its logical id, without those of its role.

    `references` has the values of the variables for which the template has a reference. That of a parameter
    is else the parameter's default.
    """

    def value(name: str, text: Any) -> str:
        if isinstance(text, str):
            return text
        if name not in references and text.get("Ref") in template["Parameters"]:
            return str(template["Parameters"][text["Ref"]]["Default"])
        return references[name]

    common, own = template["Globals"]["Function"], template["Resources"][function]["Properties"]
    logging = {**common["LoggingConfig"], **own.get("LoggingConfig", {})}
    variables = {**common["Environment"]["Variables"], **own["Environment"]["Variables"]}
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": own["Handler"],
        "LAMBDA_TASK_ROOT": str(artifact),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{common['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(common["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": logging["LogFormat"],
        "AWS_LAMBDA_LOG_LEVEL": logging["ApplicationLogLevel"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        **{name: value(name, text) for name, text in variables.items()},
    }


@dataclass
class LambdaContext:
    """The context of an invocation."""

    remaining_s: float = 90
    aws_request_id: str = "request-1"
    function_name: str = "function"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:function"
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda would stop the function."""
        return round((self.remaining_s - (time.monotonic() - self.started)) * 1000)


def sqs_record(message: Mapping[str, Any]) -> Json:
    """Return a message from ``ReceiveMessage`` in the form that it has in a Lambda event."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
        "awsRegion": "us-east-1",
    }


def _attribute(value: Json) -> Json:
    attribute = {"dataType": value["DataType"], "stringListValues": [], "binaryListValues": []}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return attribute
