"""A deployed stack, as an operator's own AWS credentials see it: on AWS, or on the local emulator."""

import json
import os
import re
import shlex
import tomllib
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: What every call to AWS may raise: AWS refuses it, or cannot be reached.
AWS_ERRORS = (ClientError, BotoCoreError)

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
LOCAL_OUTPUTS = Path(".local/outputs.json")  # `make start` writes it when the stack is ready
LOCAL_REGION = "us-east-1"
LOCAL_KEY = "test"  # the emulator's root user: both its access key id and its secret access key
SAMCONFIG = Path("samconfig.toml")

# A token refresh takes up to 15 s; every other call is answered in less than a second.
CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})

# The error code for the same problem depends on the service.
_DENIED = re.compile("AccessDenied(Exception)?|AuthorizationError(Exception)?")
_BAD_CREDENTIALS = re.compile(
    "Expired|IncompleteSignature|Invalid(AccessKeyId|Client|Sig)|SignatureDoes|Unrec"
)


class CannotStart(Exception):
    """There is no stack to work on, or no input; the text says why, and what to do."""


class Deployed:
    """A deployed stack; `endpoint` is the address of the local emulator, empty on AWS."""

    def __init__(self, name: str, session: boto3.Session, endpoint: str = "") -> None:
        self.name, self.session, self.endpoint = name, session, endpoint
        self.region = session.region_name
        self._clients: dict[str, Any] = {}

    @classmethod
    def from_environment(cls, name: str) -> Self:
        """Return the stack in the operator's account and region, or at ``AWS_ENDPOINT_URL``, the emulator."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
        stack = cls(name, _session(endpoint), endpoint)
        try:
            stack.description  # noqa: B018 - read now, so that a missing stack is reported first
        except ClientError as error:  # CloudFormation has no code of its own for a stack that does not exist
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            if endpoint:
                where = f"on the local emulator at {endpoint}. Run: make start"
            else:
                other = "Name another with STACK=... or AWS_REGION=..., or deploy it"
                where = f"in {stack.region}. {other}"
            raise CannotStart(f"there is no stack {name} {where}") from error
        return stack

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        if service not in self._clients:
            session: Any = self.session  # its stubs have one overload for each service, by literal name
            url = self.endpoint or None
            self._clients[service] = session.client(service, config=CONFIG, endpoint_url=url)
        return self._clients[service]

    @cached_property
    def description(self) -> dict[str, Any]:
        """CloudFormation's description of the stack."""
        described = self.client("cloudformation").describe_stacks(StackName=self.name)
        return dict(described["Stacks"][0])

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
        """Return an output, which is missing if the stack's creation failed."""
        if name not in self.outputs:
            raise CannotStart(f"{self.name} has no output {name}. Run: make doctor STACK={self.name}")
        return self.outputs[name]

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters with their current values."""
        found = self.description.get("Parameters", [])
        return {each["ParameterKey"]: each["ParameterValue"] for each in found}

    @cached_property
    def _resources(self) -> dict[str, tuple[str, str]]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        found = [e for page in pages.paginate(StackName=self.name) for e in page["StackResourceSummaries"]]
        return {e["LogicalResourceId"]: (e["ResourceType"], e["PhysicalResourceId"]) for e in found}

    def physical_ids(self, resource_type: str) -> dict[str, str]:
        """Return the physical ids (names or ARNs) of the resources of a type, by logical id."""
        return {name: id_ for name, (type_, id_) in self._resources.items() if type_ == resource_type}

    def physical_id(self, logical_id: str) -> str:
        """Return the physical id of a resource of the template; empty if there is none."""
        return self._resources.get(logical_id, ("", ""))[1]

    @property
    def deploy_command(self) -> str:
        """The command that deploys the template to this stack, with the stack's own parameters."""
        if self.endpoint:
            return "make start"
        command = "make build && .venv/bin/sam deploy"
        samconfig = SAMCONFIG.read_text() if SAMCONFIG.exists() else ""
        for section, commands in tomllib.loads(samconfig).items():
            tables = [commands.get(name, {}) for name in ("deploy", "global") if isinstance(commands, dict)]
            if self.name in [table.get("parameters", {}).get("stack_name") for table in tables]:
                return command if section == "default" else f"{command} --config-env {section}"
        # The default section belongs to another stack: its parameters would be deployed to this one, and
        # `sam delete` of one of two stacks with the same S3 prefix deletes the code of both.
        values = [shlex.quote(f"{name}={value}") for name, value in self.parameters.items() if value]
        overrides = " ".join(["--parameter-overrides", *values]) if values else ""
        return f"{command} --stack-name {self.name} --s3-prefix {self.name} {overrides}".rstrip()

    def log_lines(self, function: str, pattern: str, since: float) -> list[dict[str, Any]]:
        """Return the JSON lines in a function's log since a time (Unix seconds), oldest first, with `at`."""
        # The emulator ignores JSON patterns, and returns every line.
        arguments = {"logGroupName": self.physical_id(f"{function}LogGroup"), "filterPattern": pattern}
        pages = self.client("logs").get_paginator("filter_log_events")
        found = pages.paginate(**arguments, startTime=int(since * 1000))
        events = [(event["timestamp"], event["message"]) for page in found for event in page["events"]]
        return [json.loads(line) | {"at": at / 1000} for at, line in sorted(events) if line.startswith("{")]


def _session(endpoint: str) -> boto3.Session:
    if endpoint:
        key, secret = (os.environ.get(name, LOCAL_KEY) for name in KEYS)
        return boto3.Session(key, secret, region_name=LOCAL_REGION)
    # boto3 only reads AWS_DEFAULT_REGION; the other SDKs and Lambda use AWS_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    if not session.region_name:  # botocore takes an empty variable for a region
        raise exceptions.NoRegionError
    return session


def use_local_stack() -> dict[str, str]:
    """Turn to the local stack, on whichever ports it listens; return the variables that do so."""
    try:
        outputs = json.loads(LOCAL_OUTPUTS.read_text())
    except FileNotFoundError as error:
        raise CannotStart("the local stack is not running. In another shell, run: make start") from error
    keys = dict.fromkeys(KEYS, LOCAL_KEY)
    own = {name: outputs[name] for name in ("CloposUrl", "PageUrl") if name in outputs}
    variables = {"AWS_ENDPOINT_URL": outputs["AwsEndpointUrl"], **keys, **snake_case(own)}
    os.environ |= variables
    os.environ.pop("AWS_PROFILE", None)
    return variables


def variables_of(stack: Deployed, *, keys: bool) -> dict[str, str]:
    """Return the variables of a stack; with `keys`, also the AWS credentials, for programs such as curl."""
    # Some programs read the first of the two regions, some the second.
    variables = {"STACK": stack.name, "AWS_REGION": stack.region, "AWS_DEFAULT_REGION": stack.region}
    credentials = stack.session.get_credentials() if keys else None
    if credentials:
        names, values = (*KEYS, "AWS_SESSION_TOKEN"), credentials.get_frozen_credentials()[:3]
        variables |= {name: value or "" for name, value in zip(names, values, strict=True)}
    return variables | snake_case(stack.outputs)


def snake_case(outputs: dict[str, str]) -> dict[str, str]:
    """Return outputs by the names that they have in a shell: ``api_url`` for ``ApiUrl``."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value for name, value in outputs.items()}


def is_denied(error: BaseException) -> bool:
    """Whether the operator is not allowed to make this call."""
    return isinstance(error, ClientError) and bool(_DENIED.fullmatch(error.response["Error"]["Code"]))


def missing_permission(error: ClientError) -> str:
    """Return the IAM action that a refused call needs; the operation, if the service does not name it."""
    named = re.search(r"not authorized to perform:? ([\w-]+:\w+)", error.response["Error"].get("Message", ""))
    return named[1] if named else f"for {error.operation_name}"


def explain(error: BaseException, endpoint: str = "") -> str:
    """Return a sentence on what went wrong with a call to AWS, and what to do about it."""
    sign_in = "Sign in (aws sso login), or choose AWS_PROFILE=... and AWS_REGION=..."
    if isinstance(error, ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if is_denied(error):
            return f"not allowed: your credentials need the permission {missing_permission(error)}"
        refused = f"AWS refuses {error.operation_name} with {code}: {message.rstrip('.')}"
        if endpoint:
            sign_in = 'For the local stack, run: eval "$(make outputs LOCAL=1)"'
        return f"{refused}. {sign_in}" if _BAD_CREDENTIALS.match(code) else refused
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        start = f"the local stack at {endpoint} does not answer. Run: make start"
        return start if endpoint else f"AWS cannot be reached: {error}"
    return f"{str(error).rstrip('.')}. {sign_in}"


def duration(seconds: float) -> str:
    """Return a length of time in words, rounded down: `42 minutes`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s"
    return f"{max(0, int(seconds))} seconds"


def in_words(counts: Counter[str]) -> str:
    """Return counts in words, the largest first: ``deferred 3, failed 1``."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
