"""The stack of template.yaml on this machine: deployed to an AWS emulator, next to a Clopos simulator.

``python -m local.stack`` (``make start``) leaves it running until Ctrl-C. In a test:

>>> with LocalStack() as stack:
...     stack.clopos.add_order(108)
...     stack.http.put(stack.outputs["ApiUrl"] + "/orders/108", json={"status": "IGNORE"}).json()
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
import botocore.session
import requests
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, WaiterError
from standardwebhooks import Webhook

from local.simulator import CREDENTIALS, Simulator
from local.xray import Traces

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
STATE = ROOT / ".local"
OUTPUTS = STATE / "outputs.json"
EMULATOR_LOG = STATE / "emulator.log"

HOST = "127.0.0.1"
REGION = "us-east-1"
STACK_NAME = "clopos-cancel"
BUCKET = "artifacts"

#: Where X-Ray's SDK looks for a daemon by itself. Nobody needs to listen there.
XRAY_DAEMON = f"{HOST}:2000"

#: The emulator's root user. Everybody else is subject to its IAM checks.
ROOT_USER = Credentials("test", "test")

EMULATOR_START_S = 60  # 2 s usually, 15 s before its sources are compiled
DEPLOYMENT_S = 60  # 1 s usually
POLL_S = 0.05


class StackError(Exception):
    """The local stack cannot run; the text tells a person why, and what to do about it."""


class SigV4(requests.auth.AuthBase):
    """Signs requests to the API, as IAM authorization wants it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers of the signature."""
        signed = AWSRequest(request.method, request.url, data=request.body)
        SigV4Auth(ROOT_USER, "execute-api", REGION).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


class StandardWebhooks(requests.auth.AuthBase):
    """Signs requests as the sender of a webhook does; each gets an id of its own where it has none.

    Parameters
    ----------
    secret : str
        The signing secret.
    """

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the three headers of the scheme."""
        body, now = request.body or "", datetime.now(UTC)
        webhook_id = request.headers.setdefault("webhook-id", f"msg_{uuid.uuid4().hex}")
        request.headers["webhook-timestamp"] = str(int(now.timestamp()))
        if isinstance(body, bytes):
            body = body.decode(errors="replace")  # what is no text gets a signature that does not fit
        request.headers["webhook-signature"] = self._webhook.sign(webhook_id, now, body)
        return request


class LocalStack:
    """The deployed stack, for as long as the ``with`` block lasts.

    Parameters
    ----------
    aws_port, clopos_port : int
        Where the emulator and the simulator listen; 0 is any free port.
    clopos_base_url : str
        An upstream in place of the simulator. The token is then "local-token", and not refreshed at first.
    credentials : dict
        What is refreshed with at that upstream, where it can be.
    settings : dict
        The simulator's, as in `local.simulator.Settings`.
    xray_daemon : str
        Address and port to which the functions send their trace segments (UDP).
    report : callable
        Is told each step, in a line.

    Attributes
    ----------
    outputs : dict
        The outputs of the stack, with addresses that are good on this machine, and `AwsEndpointUrl` and
        `CloposUrl`.
    clopos : Simulator
        The controls of the simulator, where there is one.
    emulator : subprocess.Popen
        The emulator; the functions run in its child processes.
    http : requests.Session
        Signs its requests for the API.

    Raises
    ------
    StackError
        From the ``with`` statement.
    """

    outputs: dict[str, str]
    clopos: Simulator

    def __init__(
        self,
        *,
        aws_port: int = 0,
        clopos_port: int = 0,
        clopos_base_url: str = "",
        credentials: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        xray_daemon: str = XRAY_DAEMON,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._aws_port = aws_port
        self._clopos_port = clopos_port
        self._clopos_base_url = clopos_base_url
        self._credentials = credentials
        self._settings = settings or {}
        self._xray_daemon = xray_daemon
        self._report = report
        self._clients: dict[str, Any] = {}
        self.http = requests.Session()
        self.http.auth = SigV4()
        self.http.trust_env = False  # neither a proxy nor a .netrc

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            if not self._clopos_base_url:
                self._report("Starting the Clopos simulator")
                self.clopos = started.enter_context(Simulator(HOST, self._clopos_port, **self._settings))
            self._report("Starting the AWS emulator")
            self.endpoint, self.emulator = started.enter_context(emulator(self._aws_port, self._xray_daemon))
            self._report("Deploying the stack")
            self._deploy()
            self._fill_secrets()
            self._stop = started.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()
        self._stop.close()

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator."""
        if service not in self._clients:
            self._clients[service] = aws_client(service, self.endpoint)
        return self._clients[service]

    def webhooks(self) -> StandardWebhooks:
        """Return what signs requests with the stack's webhook secret."""
        secret = self.client("secretsmanager").get_secret_value(SecretId=self.outputs["WebhookSecretArn"])
        return StandardWebhooks(secret["SecretString"])

    def physical_id(self, logical_id: str) -> str:
        """Return the name under which the emulator knows a resource of the template."""
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=STACK_NAME, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    def log_lines(self, function: str) -> list[str]:
        """Return what the function with this logical id has logged so far, oldest first."""
        name = self.physical_id(function)
        group = self.client("lambda").get_function_configuration(FunctionName=name)["LoggingConfig"][
            "LogGroup"
        ]
        try:
            pages = list(self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":  # it has not run yet
                return []
            raise
        return [event["message"] for page in pages for event in page["events"]]

    def logs(self, function: str) -> list[dict[str, Any]]:
        """Return the JSON objects among `log_lines`: what Powertools wrote, not Lambda."""
        return [json.loads(line) for line in self.log_lines(function) if line.startswith("{")]

    def _deploy(self) -> None:
        template = self._package()
        cloudformation = self.client("cloudformation")
        target = {"StackName": STACK_NAME, "ChangeSetName": "deployment"}
        wait = {"Delay": POLL_S, "MaxAttempts": DEPLOYMENT_S / POLL_S}
        clopos_base_url = self._clopos_base_url or self.clopos.url
        try:
            cloudformation.create_change_set(
                **target,
                ChangeSetType="CREATE",
                TemplateBody=json.dumps(template),
                Capabilities=["CAPABILITY_IAM"],  # as samconfig.toml
                Parameters=[{"ParameterKey": "CloposBaseUrl", "ParameterValue": clopos_base_url}],
            )
            cloudformation.get_waiter("change_set_create_complete").wait(**target, WaiterConfig=wait)
            cloudformation.execute_change_set(**target)
            cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK_NAME, WaiterConfig=wait)
        except (ClientError, WaiterError) as error:  # refused at once, or failed on the way
            raise StackError(f"The deployment failed: {error}\n{self._deployment_errors()}") from error
        self._reserve_concurrency(template)
        self._customize_gateway_responses(template)
        described = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        self.outputs = {
            output["OutputKey"]: self._reachable(output["OutputValue"]) for output in described["Outputs"]
        } | {"AwsEndpointUrl": self.endpoint, "CloposUrl": clopos_base_url}

    def _package(self) -> dict[str, Any]:
        """Upload the artifacts, and return the built template with their addresses in it."""
        template = built_template()
        # The emulator has no CodeDeploy, and its SAM transform sees no parameters but their defaults.
        template["Parameters"]["GradualDeployments"]["Default"] = "false"
        # A reference to a number becomes a text, which its event source cannot compare with a number.
        messages = template["Resources"]["QueueFunction"]["Properties"]["Events"]["Messages"]["Properties"]
        messages["ScalingConfig"]["MaximumConcurrency"] = int(
            template["Parameters"]["QueueWorkers"]["Default"]
        )
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        uploaded = set()
        for function in functions(template).values():
            artifact = BUILD / function["CodeUri"]
            key = digest(artifact)
            if key not in uploaded:  # the functions differ in nothing but their handlers
                s3.put_object(Bucket=BUCKET, Key=key, Body=archive(artifact))
                uploaded.add(key)
            function["CodeUri"] = f"s3://{BUCKET}/{key}"
        return template

    def _deployment_errors(self) -> str:
        try:
            events = self.client("cloudformation").describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        except ClientError:  # there is no such stack: it was refused at once
            return ""
        return "\n".join(
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED") and "ResourceStatusReason" in event
        )

    def _reserve_concurrency(self, template: Mapping[str, Any]) -> None:
        """Make up for the emulator's CloudFormation, which leaves this property of a function out."""
        for logical_id, function in functions(template).items():
            if "ReservedConcurrentExecutions" in function:
                self.client("lambda").put_function_concurrency(
                    FunctionName=self.physical_id(logical_id),
                    ReservedConcurrentExecutions=function["ReservedConcurrentExecutions"],
                )

    def _customize_gateway_responses(self, template: Mapping[str, Any]) -> None:
        """Make up for the emulator's import of an API, which leaves these out."""
        apigateway = self.client("apigateway")
        api = self.physical_id("Api")
        properties = template["Resources"]["Api"]["Properties"]
        for response_type, response in properties["GatewayResponses"].items():
            headers = response.get("ResponseParameters", {}).get("Headers", {})
            apigateway.put_gateway_response(
                restApiId=api,
                responseType=response_type,
                responseTemplates=response["ResponseTemplates"],
                responseParameters={
                    f"gatewayresponse.header.{name}": value for name, value in headers.items()
                },
            )
        apigateway.create_deployment(restApiId=api, stageName=properties["StageName"])

    def _reachable(self, value: str) -> str:
        """Turn the API's address on AWS into the one that the emulator serves."""
        url = urlsplit(value)
        api, _, domain = (url.hostname or "").partition(".")
        if domain.startswith("execute-api."):
            return f"{self.endpoint}/_aws/execute-api/{api}{url.path}"
        return value

    def _fill_secrets(self) -> None:
        if self._clopos_base_url:
            self._put_secret("TokenSecretArn", {"token": "local-token"})
            if self._credentials:
                self._put_secret("CredentialsSecretArn", self._credentials)
        else:
            self._put_secret("CredentialsSecretArn", CREDENTIALS)
            self.refresh_token()

    def _put_secret(self, output: str, value: Mapping[str, str]) -> None:
        self.client("secretsmanager").put_secret_value(
            SecretId=self.outputs[output], SecretString=json.dumps(value)
        )

    def refresh_token(self) -> dict[str, Any]:
        """Run the token refresh function, as its schedule does, and return its result."""
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["TokenRefreshFunctionName"], Payload=b"{}"
        )
        result: dict[str, Any] = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise StackError(f"The token refresh failed: {json.dumps(result)}")
        return result


@cache
def aws_session() -> Any:
    """Return a session that reads nothing of what the user has configured for the real AWS."""
    return boto3.Session(
        botocore_session=botocore.session.Session(
            {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
        )
    )


def aws_client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of the emulator at this address."""
    return aws_session().client(
        service,
        endpoint_url=endpoint,
        aws_access_key_id=ROOT_USER.access_key,
        aws_secret_access_key=ROOT_USER.secret_key,
        region_name=REGION,
        config=Config(proxies={}),
    )


def built_template() -> dict[str, Any]:
    """Return the template as sam build has written it."""
    if not (BUILD / "template.yaml").exists():
        raise StackError("There is no built template. Run: make build")
    template: dict[str, Any] = yaml.safe_load((BUILD / "template.yaml").read_text())
    return template


def functions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of the template's functions by their logical ids."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files in a folder with their paths inside it, in a fixed order."""
    return sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())


def digest(folder: Path) -> str:
    """Return a name for what a folder holds."""
    sha256 = hashlib.sha256()
    for name, path in files(folder):
        sha256.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha256.hexdigest()


def archive(folder: Path) -> bytes:
    """Return the folder as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zip_file:  # it goes nowhere
        for name, path in files(folder):
            zip_file.write(path, name)
    return buffer.getvalue()


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def emulator(port: int, xray_daemon: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the AWS emulator on a port (0: any free one), and yield its address and its process."""
    python = ROOT / ".venv-emulator" / "bin" / "python"
    if not python.exists():
        raise StackError("The emulator is not installed. Run: make .venv-emulator/.installed")
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="emulator-", dir=STATE))
    log = folder / "log"
    port = port or free_port()
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            [python, "-I", Path(__file__).with_name("emulator.py"), folder],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            # The functions inherit all of it, so nothing of ours or of the user's is in there.
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "STATE_DIR": str(folder),
                "S3_DATA_DIR": str(folder),
                "BIND_HOST": HOST,
                "MINISTACK_HOST": HOST,
                "GATEWAY_PORT": str(port),
                "MINISTACK_REGION": REGION,
                "AUTH": "true",
                "LAMBDA_EXECUTOR": "local",
                "AWS_XRAY_DAEMON_ADDRESS": xray_daemon,
                "IOT_MTLS_ENABLED": "0",  # else it would listen on every interface
                "SFTP_ENABLED": "0",
            },
            start_new_session=True,  # so that Ctrl-C reaches us alone, and killpg all of it
        )
    try:
        endpoint = f"http://{HOST}:{port}"
        wait_for_emulator(endpoint, process, log)
        yield endpoint, process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)  # it holds nothing worth saving
        process.communicate()
        log.replace(EMULATOR_LOG)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_emulator(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the emulator answers."""
    patience = time.monotonic() + EMULATOR_START_S
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < patience and process.poll() is None:
            with contextlib.suppress(requests.RequestException):  # it does not listen yet
                if session.get(f"{endpoint}/_ministack/health", timeout=5).ok:
                    return
            time.sleep(POLL_S)
    raise StackError(f"The AWS emulator did not start.\n{log.read_text(errors='replace')[-2000:]}")


def write_outputs(outputs: Mapping[str, str]) -> None:
    """Write the outputs, all at once, for whoever waits for the file."""
    scratch = OUTPUTS.with_suffix(".tmp")
    scratch.write_text(json.dumps(outputs, indent=2) + "\n")
    scratch.replace(OUTPUTS)


def from_environment(aws_port: int, clopos_port: int) -> dict[str, Any]:
    """Return those arguments of `LocalStack` that the user's environment chooses; else with these ports."""
    clopos_base_url = os.environ.get("CLOPOS_BASE_URL", "")
    try:
        credentials = json.loads(os.environ.get("CLOPOS_CREDENTIALS") or "{}")
    except ValueError:  # its text would quote a secret
        credentials = None
    if not isinstance(credentials, dict):
        raise StackError("CLOPOS_CREDENTIALS is not a JSON object")
    return {
        "aws_port": port_from_environment("LOCAL_AWS_PORT", aws_port),
        "clopos_port": 0 if clopos_base_url else port_from_environment("LOCAL_CLOPOS_PORT", clopos_port),
        "clopos_base_url": clopos_base_url,
        "credentials": credentials,
    }


def port_from_environment(variable: str, default: int) -> int:
    """Return the port that a variable of the environment names, if it is free."""
    value = os.environ.get(variable) or str(default)
    if not value.isdecimal() or int(value) > 65535:
        raise StackError(f"{variable}={value} is not a port")
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as a server does; it may have just ended
        try:
            probe.bind((HOST, int(value)))
        except OSError as error:
            raise StackError(
                f"Port {value} cannot be used: {error.strerror}.\n"
                f"End what is using it, or choose another one: {variable}={int(value) + 10} make ..."
            ) from error
    return int(value)


def page_port() -> int:
    """Return the page's port; where nobody chose it and the usual one is taken, any free one will do."""
    try:
        return port_from_environment("LOCAL_PAGE_PORT", 4080)
    except StackError:
        if os.environ.get("LOCAL_PAGE_PORT"):
            raise
        return 0


def say(line: str) -> None:
    """Print a line at once, also where the output is a pipe."""
    print(line, flush=True)


GUIDE = """\
Ready. Ctrl-C ends it.

  Page       {PageUrl}
  API        {ApiUrl}
  Queue      {QueueUrl}
  Dead       {DeadLetterQueueUrl}
  AWS        {AwsEndpointUrl}
  Clopos     {CloposUrl}
  Outputs    .local/outputs.json

In another shell, with the emulator's own keys (they open nothing else):

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
  export AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL={AwsEndpointUrl}

  curl -X PUT --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test \\
    -H 'Content-Type: application/json' -d '{{"status": "IGNORE"}}' {ApiUrl}/orders/108
"""


def end_on_termination() -> None:
    """Let SIGINT, SIGTERM and SIGHUP unwind this process, so that it takes down what it has started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def main() -> None:
    """Run the stack until SIGINT or SIGTERM."""
    end_on_termination()
    arguments = from_environment(4566, 4010)
    port = page_port()
    OUTPUTS.unlink(missing_ok=True)  # of one that could not clean up after itself
    with (
        Traces() as traces,
        LocalStack(
            **arguments, settings={"seed_orders": 120}, xray_daemon=traces.address, report=say
        ) as stack,
    ):
        say("Starting the page")
        from local import page  # here, for its second and a half is nothing that the tests should wait for

        with page.serve(stack, traces, port) as url:
            outputs = stack.outputs | {"PageUrl": url}
            try:
                write_outputs(outputs)
                say("\n" + GUIDE.format_map(outputs))
                signal.pause()
            finally:
                OUTPUTS.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # Ctrl-C is how it is meant to end
        sys.exit(0)
