"""A deployed stack, as an operator's own AWS credentials see it: on AWS, or on the local emulator."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: What every call to AWS may raise: AWS refuses it, or cannot be reached.
AWS_ERRORS = (ClientError, BotoCoreError)

LOCAL_REGION = "us-east-1"
LOCAL_KEY = "test"  # the emulator's root user: both its access key id and its secret access key

# A token refresh takes up to 15 s; every other call is answered in less than a second.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)

# The error code for the same problem depends on the service.
_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"}
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError)


class CannotStart(Exception):
    """There is no stack to work on; the text says why, and what to do."""


class Deployed:
    """A deployed stack.

    Parameters
    ----------
    name : str
        The stack's name.
    session : boto3.Session
        The operator's credentials and the stack's region.
    endpoint : str
        Address of the local emulator; empty on AWS.
    """

    def __init__(self, name: str, session: boto3.Session, endpoint: str = "") -> None:
        self.name = name
        self.session = session
        self.endpoint = endpoint
        self.region = session.region_name
        self._clients: dict[str, Any] = {}

    @classmethod
    def from_environment(cls, name: str) -> Deployed:
        """Return the stack in the account and region of the operator's environment.

        If ``AWS_ENDPOINT_URL`` is set, that is the local emulator, in its own region, and with its own keys
        unless the environment has others.

        Raises
        ------
        CannotStart
            If there are no credentials, no region, no such stack, or no answer.
        """
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
        try:
            stack = cls(name, _session(endpoint), endpoint)
            stack.description  # noqa: B018 - read now, so that a missing stack is reported first
        except ClientError as error:
            # CloudFormation has no error code of its own for a stack that it does not know.
            if error.response["Error"]["Code"] == "ValidationError":
                raise CannotStart(_no_such_stack(stack)) from error
            raise CannotStart(explain(error, endpoint)) from error
        except BotoCoreError as error:  # no credentials, no region, no answer
            raise CannotStart(explain(error, endpoint)) from error
        return stack

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        if service not in self._clients:
            session: Any = self.session  # its stubs have one overload for each service, by literal name
            self._clients[service] = session.client(
                service, config=CONFIG, endpoint_url=self.endpoint or None
            )
        return self._clients[service]

    @cached_property
    def description(self) -> dict[str, Any]:
        """CloudFormation's description of the stack."""
        description: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.name)[
            "Stacks"
        ][0]
        return description

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The outputs; on the local stack, the API's address is the one that this machine can reach."""
        outputs = {each["OutputKey"]: each["OutputValue"] for each in self.description.get("Outputs", [])}
        if self.endpoint and "ApiUrl" in outputs:
            url = urlsplit(outputs["ApiUrl"])
            api_id = (url.hostname or "").partition(".")[0]
            outputs["ApiUrl"] = f"{self.endpoint}/_aws/execute-api/{api_id}{url.path}"
        return outputs

    def output(self, name: str) -> str:
        """Return an output.

        Raises
        ------
        CannotStart
            If there is no such output: the stack was not created from this template, or its creation failed.
        """
        if name not in self.outputs:
            raise CannotStart(
                f"the stack {self.name} has no output {name}. Run: make doctor STACK={self.name}"
            )
        return self.outputs[name]

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters with their current values."""
        return {
            each["ParameterKey"]: each["ParameterValue"] for each in self.description.get("Parameters", [])
        }

    @cached_property
    def resources(self) -> list[dict[str, str]]:
        """The resources, each with its `LogicalResourceId`, `PhysicalResourceId` and `ResourceType`."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            resource
            for page in pages.paginate(StackName=self.name)
            for resource in page["StackResourceSummaries"]
        ]

    @property
    def deploy_command(self) -> str:
        """The command that deploys the template to this stack."""
        return (
            "make start"
            if self.endpoint
            else f".venv/bin/sam build && .venv/bin/sam deploy --stack-name {self.name}"
        )

    def physical_id(self, logical_id: str) -> str:
        """Return the physical id (a name or an ARN) of a resource of the template; empty if there is none."""
        return next(
            (
                each["PhysicalResourceId"]
                for each in self.resources
                if each["LogicalResourceId"] == logical_id
            ),
            "",
        )

    def physical_ids(self, resource_type: str) -> dict[str, str]:
        """Return the physical ids of the resources of a type, by logical id."""
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in self.resources
            if each["ResourceType"] == resource_type
        }


def _session(endpoint: str) -> boto3.Session:
    if endpoint:
        return boto3.Session(
            aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", LOCAL_KEY),
            aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", LOCAL_KEY),
            region_name=LOCAL_REGION,
        )
    # boto3 only reads AWS_DEFAULT_REGION; the other SDKs and Lambda use AWS_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    if not session.region_name:  # botocore takes an empty variable for a region
        raise exceptions.NoRegionError
    return session


def _no_such_stack(stack: Deployed) -> str:
    if stack.endpoint:
        return f"there is no stack {stack.name} on the local emulator at {stack.endpoint}. Run: make start"
    return (
        f"there is no stack {stack.name} in {stack.region}. "
        "Name another stack with STACK=..., or another region with AWS_REGION=..."
    )


def is_denied(error: BaseException) -> bool:
    """Whether the operator is not allowed to make this call."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIED


def missing_permission(error: ClientError) -> str:
    """Return the IAM action that a refused call needs; the operation, if the service does not name it."""
    named = re.search(r"not authorized to perform:? ([\w-]+:\w+)", error.response["Error"].get("Message", ""))
    return named[1] if named else f"for {error.operation_name}"


def explain(error: ClientError | BotoCoreError, endpoint: str = "") -> str:
    """Return a sentence on what went wrong with a call to AWS, and what to do about it."""
    if isinstance(error, ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if is_denied(error):
            return f"not allowed: your credentials need the permission {missing_permission(error)}"
        if code in _BAD_CREDENTIALS and endpoint:
            return (
                f"the local stack does not know these AWS credentials ({code}). "
                "Run: unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"
            )
        if code in _BAD_CREDENTIALS:
            return (
                f"AWS does not accept these credentials ({code}). Sign in again, for example: aws sso login"
            )
        return f"AWS refuses {error.operation_name} with {code}: {message}"
    if isinstance(error, _NO_CREDENTIALS):
        return (
            f"there are no usable AWS credentials: {str(error).rstrip('.')}. "
            "Sign in (aws sso login), or choose a profile with AWS_PROFILE=..."
        )
    if isinstance(error, exceptions.NoRegionError):
        return "no AWS region is configured. Set it: AWS_REGION=eu-central-1 (the one the stack is in)"
    if isinstance(error, _UNREACHABLE) and endpoint:
        return f"the local stack at {endpoint} does not answer. Run: make start"
    if isinstance(error, _UNREACHABLE):
        return f"AWS cannot be reached: {error}"
    return f"the call to AWS failed: {error}"


def duration(seconds: float) -> str:
    """Return a length of time in words, rounded down: `42 minutes`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s"
    return f"{max(0, int(seconds))} seconds"
