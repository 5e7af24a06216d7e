"""Store the Clopos credentials; rotate the webhook secret. No value is in a file or an argument."""

import base64
import getpass
import json
import secrets
import sys

from tools.operate.checks.secrets import CREDENTIALS
from tools.operate.stack import CannotStart, Deployed


def store_credentials(stack: Deployed) -> None:
    """Ask for the credentials in a terminal, or read JSON from standard input, and store them."""
    if sys.stdin.isatty():
        asking = {"client_secret": getpass.getpass}
        given = {name: asking.get(name, input)(f"{name}: ").strip() for name in CREDENTIALS}
    else:
        try:
            given = json.loads(sys.stdin.read().removeprefix("\ufeff"))
        except ValueError:  # its text would quote the secret
            raise CannotStart("standard input is not JSON") from None
    if not isinstance(given, dict) or not all(given.get(name) for name in CREDENTIALS):
        raise CannotStart(f"a JSON object with {', '.join(CREDENTIALS)} is needed, none of them empty")
    _store(stack, "CredentialsSecretArn", json.dumps({name: str(given[name]) for name in CREDENTIALS}))


def rotate(stack: Deployed) -> None:
    """Make a new webhook secret. The one before it keeps working."""
    _store(stack, "WebhookSecretArn", base64.b64encode(secrets.token_bytes(32)).decode())


def _store(stack: Deployed, output: str, value: str) -> None:
    stack.client("secretsmanager").put_secret_value(SecretId=stack.output(output), SecretString=value)
