"""The stack of template.yaml on this machine: deployed to an AWS emulator, next to a Clopos simulator.

>>> with LocalStack() as stack:
...     stack.clopos.add_order(108)
...     stack.put_order(108).json()
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

import requests

from local.common import HOST, StackError
from local.emulator.clients import REGION, ROOT_USER, Queue, aws_client
from local.emulator.deploy import deploy
from local.emulator.server import XRAY_DAEMON, emulator
from local.simulator import CREDENTIALS, Fault, Simulator
from tools.signing import SigV4, StandardWebhooks

STACK_NAME = "clopos-cancel"
IGNORE = '{"status": "IGNORE"}'

#: A refusal for no documented reason, in the form that a live brand was seen to send: a list of errors.
LOCKED = {
    "message": "Order is locked",
    "type": "server_side",
    "exception": "LockedException",
    "http_code": 409,
}
REFUSED_AT_FIRST = Fault(200, {"success": False, "error": [LOCKED]}, name="refused at first")

CALL_TIMEOUT_S = 60  # API Gateway answers within 29 s


class LocalStack:
    """The deployed stack, for as long as the ``with`` block lasts; it raises `StackError` if it cannot start.

    Parameters
    ----------
    aws_port, clopos_port : int
        The ports of the emulator and the simulator; 0 means any free port.
    clopos_base_url, credentials
        An upstream to use instead of the simulator, and the credentials for its token refresh. The token
        is then "local-token" and is not refreshed at the start.
    parameters : dict
        Values for the template's parameters. Outcomes are published on the default bus unless
        `EventBusName` has another value.
    settings : dict
        Settings of the simulator, see `local.simulator.Settings`.
    xray_daemon : str
        Where the functions send their traces.
    report : callable
        Called with a line of text at the beginning of each step.
    """

    outputs: dict[str, str]  # with addresses on this machine, and `AwsEndpointUrl` and `CloposUrl`
    clopos: Simulator  # if there is one

    def __init__(
        self,
        *,
        aws_port: int = 0,
        clopos_port: int = 0,
        clopos_base_url: str = "",
        credentials: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        xray_daemon: str = XRAY_DAEMON,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._aws_port = aws_port
        self._clopos_port = clopos_port
        self._clopos_base_url = clopos_base_url
        self._credentials = credentials
        self._parameters = {"EventBusName": "default", **(parameters or {})}
        self._settings = settings or {}
        self._xray_daemon = xray_daemon
        self._report = report
        self._clients: dict[str, Any] = {}
        self._creating = threading.Lock()
        self.has_simulator = not clopos_base_url

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            if self.has_simulator:
                self._report("Starting the Clopos simulator")
                self.clopos = started.enter_context(Simulator(HOST, self._clopos_port, **self._settings))
                started.callback(self._report, "Stopping the Clopos simulator")
            self._report("Starting the AWS emulator")
            self.endpoint, self.emulator = started.enter_context(emulator(self._aws_port, self._xray_daemon))
            started.callback(self._report, "Stopping the AWS emulator")
            self._report("Deploying the stack")
            clopos_url = self.clopos.url if self.has_simulator else self._clopos_base_url
            parameters = {**self._parameters, "CloposBaseUrl": clopos_url}
            outputs = deploy(self.client, self.endpoint, STACK_NAME, parameters)
            self.outputs = outputs | {"AwsEndpointUrl": self.endpoint, "CloposUrl": clopos_url}
            self._fill_secrets()
            self._stop = started.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.close()

    def _fill_secrets(self) -> None:
        secrets = {"CredentialsSecretArn": CREDENTIALS if self.has_simulator else self._credentials}
        if not self.has_simulator:
            secrets["TokenSecretArn"] = {"token": "local-token"}
        for output, value in secrets.items():
            if value:
                arn, text = self.outputs[output], json.dumps(value)
                self.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=text)
        if self.has_simulator:
            self.refresh_token()

    # -- calls

    def put_order(
        self, order_id: int | str, body: str = IGNORE, *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Call ``PUT /orders/{id}``, signed with SigV4."""
        return self.call("PUT", f"/orders/{order_id}", body, auth=SigV4(ROOT_USER, REGION), headers=headers)

    def post_webhook(self, body: str, *, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Call ``POST /webhooks/cancellations``, signed with the stack's webhook secret."""
        return self.call("POST", "/webhooks/cancellations", body, auth=self.webhook_auth(), headers=headers)

    def webhook_auth(self) -> StandardWebhooks:
        """Return the `requests` auth that signs with the stack's webhook secret."""
        return StandardWebhooks(self.webhook_secret())

    def webhook_secret(self) -> str:
        """Return the secret that signs webhooks."""
        arn = self.outputs["WebhookSecretArn"]
        return str(self.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])

    def call(
        self,
        method: str,
        path: str,
        body: str,
        *,
        auth: requests.auth.AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send JSON to the API. Several threads may do so at a time."""
        url, headers = self.outputs["ApiUrl"] + path, {"Content-Type": "application/json", **(headers or {})}
        with requests.Session() as session:
            session.trust_env = False  # use no proxy and no .netrc
            return session.request(
                method, url, data=body.encode(), headers=headers, auth=auth, timeout=CALL_TIMEOUT_S
            )

    def refresh_token(self) -> dict[str, Any]:
        """Run the token refresh function, as its schedule does, and return its result."""
        name = self.outputs["TokenRefreshFunctionName"]
        answer = self.client("lambda").invoke(FunctionName=name, Payload=b"{}")
        result: dict[str, Any] = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise StackError(f"The token refresh failed: {json.dumps(result)}")
        return result

    # -- resources

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator."""
        with self._creating:  # boto3 cannot create clients in several threads at once
            if service not in self._clients:
                self._clients[service] = aws_client(service, self.endpoint)
            return self._clients[service]

    @cached_property
    def queue(self) -> Queue:
        """The stack's queue."""
        return Queue(self.client("sqs"), self.outputs["QueueUrl"])

    @cached_property
    def dead_letters(self) -> Queue:
        """The stack's dead-letter queue."""
        return Queue(self.client("sqs"), self.outputs["DeadLetterQueueUrl"])

    def physical_id(self, logical_id: str) -> str:
        """Return the physical id of a resource of the template."""
        described = self.client("cloudformation").describe_stack_resource(
            StackName=STACK_NAME, LogicalResourceId=logical_id
        )
        return str(described["StackResourceDetail"]["PhysicalResourceId"])
