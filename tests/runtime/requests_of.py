"""Print where botocore would send a request of each service in each region, and for which scope it is signed."""

import json
import re
import sys
from typing import Any

import botocore.session

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "events": ("put_events", {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}),
    "lambda": ("invoke", {"FunctionName": "function"}),
    "secretsmanager": ("get_secret_value", {"SecretId": "secret"}),
    "sqs": ("send_message", {"QueueUrl": "https://queue", "MessageBody": "body"}),
}


class Sent(Exception):
    """The request that would have been sent."""


def keep(request: Any, **_: object) -> None:
    """Raise the request in place of sending it."""
    authorization = request.headers["Authorization"]
    scope = re.search(r"/([a-z0-9-]+/[a-z]+)/aws4_request", str(authorization))
    raise Sent(request.url, scope and scope[1])


def main() -> None:
    """Print the requests of the services on the command line, as JSON."""
    session = botocore.session.get_session()
    session.set_credentials("access-key", "secret-key")
    requests = []
    for service in sys.argv[1:]:
        operation, parameters = CALLS[service]
        for partition in session.get_available_partitions():
            for region in session.get_available_regions(service, partition):
                client = session.create_client(service, region)
                client.meta.events.register("before-send", keep)
                try:
                    getattr(client, operation)(**parameters)
                except Sent as sent:  # always
                    requests.append(sent.args)
    sys.stdout.write(json.dumps(requests))


if __name__ == "__main__":
    main()
