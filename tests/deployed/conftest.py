"""What programs need to reach the deployed stack, and an endpoint that it or they can reach."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest

from local.common import HOST
from local.emulator.clients import REGION
from local.stack import STACK_NAME
from tools.operate.stack import Deployed


@pytest.fixture(scope="module")
def environment(stack):
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME")},
        **dict.fromkeys(["AWS_REGION", "AWS_DEFAULT_REGION"], REGION),
        **dict.fromkeys(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "test"),
        "AWS_ENDPOINT_URL": stack.endpoint,
        "NO_PROXY": HOST,
        "SAM_CLI_TELEMETRY": "0",
        "api_url": stack.outputs["ApiUrl"],
        "queue_url": stack.outputs["QueueUrl"],
        "secret": stack.webhook_secret(),
    }


class Endpoint(HTTPServer):
    """Somebody else's API, which answers with what it is told to: a status and a body each."""

    def __init__(self):
        super().__init__((HOST, 0), Answering)
        self.address = f"http://{HOST}:{self.server_port}"
        self.requests = []
        self.answers = []


class Answering(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, self.headers, body))
        status, answer = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def do_POST(self):
        self.do_PUT()


@pytest.fixture
def endpoint():
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def operator(stack):
    """Return the stack as an operator sees it who may do this."""
    iam, name = stack.client("iam"), "operator"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def allowed(*actions, statements=()):
        statements = [*statements, {"Effect": "Allow", "Action": actions, "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
        return Deployed(STACK_NAME, session, stack.endpoint)

    yield allowed
    iam.delete_user_policy(UserName=name, PolicyName="allowed")
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=name)
