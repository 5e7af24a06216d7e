"""What ``make start`` prints when the stack is ready."""

from collections.abc import Mapping

ADDRESSES = """\
Ready. Press Ctrl-C to stop.

  Page               {PageUrl}
  API                {ApiUrl}
  Queue              {QueueUrl}
  Dead-letter queue  {DeadLetterQueueUrl}
  AWS                {AwsEndpointUrl}
  Clopos             {CloposUrl}
  Outputs            .local/outputs.json
"""

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

#: Not indented, so that the commands can be pasted.
TEMPLATE = "\n".join(
    [
        ADDRESSES,
        "For the calls below, in another shell and in this folder. The keys are the emulator's own:\n",
        ENVIRONMENT,
        "Cancel order 108 through the API:\n",
        API_CALL,
        "Cancel order 109 through the queue:\n",
        QUEUE_CALL,
        "Cancel order 110 as the sender of a webhook:\n",
        WEBHOOK_CALL,
        NOTES,
    ]
)


def guide(outputs: Mapping[str, str]) -> str:
    """Return the addresses, and an example of each way to cancel an order, ready to paste."""
    return TEMPLATE.format_map(outputs)
