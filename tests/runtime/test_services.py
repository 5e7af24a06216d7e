"""The artifact can call the AWS services that the functions use, and no others (tools/build.py)."""

import json
import re
import subprocess
import sys
from pathlib import Path

from local.common import BUILD, ROOT
from tests.runtime.conftest import event, receive
from tools.build import SERVICES


def test_the_artifact_knows_the_services_that_the_functions_make_clients_of():
    sources = [path.read_text() for path in (ROOT / "functions").rglob("*.py")]
    assert {name for source in sources for name in re.findall(r'\bclient\("(\w+)"', source)} == SERVICES


def test_each_service_can_be_called_from_the_artifact(start, clopos, stack, references, secrets):
    """Secrets Manager, Lambda and EventBridge for one order, then SQS for one message."""
    references |= {
        "TOKEN_SECRET_ARN": stack.outputs["TokenSecretArn"],
        "TOKEN_REFRESH_FUNCTION": stack.outputs["TokenRefreshFunctionName"],
        "EVENT_BUS_NAME": "default",
    }
    stack.client("secretsmanager").put_secret_value(
        SecretId=references["TOKEN_SECRET_ARN"],
        SecretString=json.dumps({"token": clopos.issue_token(expires_in=-60), "expires_at": 1}),
    )
    environment = start("ApiFunction")
    result = environment.invoke(event("api.json"))
    assert result.payload["statusCode"] == 200  # with a token that the deployed refresh function stored
    secrets.update(call.headers["x-token"] for call in clopos.calls(108))
    worker = start("QueueFunction")
    assert worker.invoke(event("queue.json")).payload == {"batchItemFailures": []}
    assert len(receive(stack.client("sqs"), references["DEAD_LETTER_QUEUE_URL"])) == 3
    for process in (environment, worker):
        process.kill()
        assert "outcomes not published" not in "".join(process.lines)


REQUESTS = Path(__file__).with_name("requests_of.py")


def test_requests_go_where_an_untrimmed_botocore_sends_them():
    """In every region of every partition; the local stack has addresses of its own and would not show it."""
    artifact, untrimmed = (
        subprocess.run(
            [sys.executable, "-P", "-B", REQUESTS, *sorted(SERVICES)],
            env={"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in (str(BUILD / "ApiFunction"), "")
    )
    assert json.loads(artifact) == json.loads(untrimmed)
    assert ["https://sqs.cn-north-1.amazonaws.com.cn/", "cn-north-1/sqs"] in json.loads(untrimmed)
