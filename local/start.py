"""``make start``: the local stack and its page, until Ctrl-C."""

import json
import signal
from collections.abc import Mapping

from local import page, settings
from local.common import STATE, run_command, say
from local.emulator.deploy import built_template
from local.stack import LocalStack

OUTPUTS = STATE / "outputs.json"
SEED_ORDERS = 120

ADDRESSES = """
Ready. Press Ctrl-C to stop.

  Page               {PageUrl}
  API                {ApiUrl}
  Queue              {QueueUrl}
  Dead-letter queue  {DeadLetterQueueUrl}
  AWS                {AwsEndpointUrl}
  Clopos             {CloposUrl}
  Outputs            .local/outputs.json
"""

# The calls are not indented, so that they can be pasted.
ENVIRONMENT = """\
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
export AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL={AwsEndpointUrl}
"""
API_CALL = """\
curl -X PUT --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test \\
  -H 'Content-Type: application/json' -d '{{"status": "IGNORE"}}' {ApiUrl}/orders/108
"""
QUEUE_CALL = """\
curl --aws-sigv4 aws:amz:us-east-1:sqs --user test:test --data-urlencode Action=SendMessage \\
  --data-urlencode 'MessageBody={{"order_id": 109}}' {QueueUrl}
"""
WEBHOOK_CALL = """\
.venv/bin/python - <<'END'
import datetime, json, boto3, requests, standardwebhooks

outputs = json.load(open(".local/outputs.json"))
secrets = boto3.client("secretsmanager")
secret = secrets.get_secret_value(SecretId=outputs["WebhookSecretArn"])["SecretString"]
body, now = '{{"data": {{"order_id": 110}}}}', datetime.datetime.now(datetime.UTC)
headers = {{
    "Content-Type": "application/json",
    "webhook-id": "msg_110",
    "webhook-timestamp": str(int(now.timestamp())),
    "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_110", now, body),
}}
print(requests.post(outputs["ApiUrl"] + "/webhooks/cancellations", data=body, headers=headers).text)
END
"""
NOTES = """\
The emulator does not verify SigV4 signatures: a call with a wrong key, region or service name works here,
but is refused on AWS. Requests that a web page in a browser sends to these addresses are refused; other users
of this machine can use them.
"""
GUIDE = f"""{ADDRESSES}
For the calls below, in another shell and in this folder. The keys are the emulator's own:

{ENVIRONMENT}
Cancel order 108 through the API:

{API_CALL}
Cancel order 109 through the queue:

{QUEUE_CALL}
Cancel order 110 as the sender of a webhook:

{WEBHOOK_CALL}
{NOTES}"""


def write_outputs(outputs: Mapping[str, str]) -> None:
    """Write the outputs atomically: a process that waits for the file must not read half of it."""
    scratch = OUTPUTS.with_suffix(".tmp")
    scratch.write_text(json.dumps(outputs, indent=2) + "\n")
    scratch.replace(OUTPUTS)


def start() -> None:
    """Run the stack until SIGTERM or Ctrl-C. Ctrl-C is the normal end and not an error."""
    try:
        with settings.only_start():
            _run_until_interrupted()
    except KeyboardInterrupt:
        say("Stopped")


def _run_until_interrupted() -> None:
    OUTPUTS.unlink(missing_ok=True)  # a run that was killed may have left it
    ports = settings.start_ports()
    with (
        LocalStack(
            aws_port=ports[settings.AWS_PORT],
            clopos_port=ports.get(settings.CLOPOS_PORT, 0),
            parameters=settings.parameters(built_template()),
            settings={"seed_orders": SEED_ORDERS},
            report=say,
            **settings.upstream(),
        ) as stack,
        page.serve(stack, ports[settings.PAGE_PORT]) as url,
    ):
        outputs = stack.outputs | {"PageUrl": url}
        try:
            write_outputs(outputs)
            say(GUIDE.format_map(outputs))
            signal.pause()
        finally:
            OUTPUTS.unlink(missing_ok=True)


if __name__ == "__main__":
    run_command(start)
