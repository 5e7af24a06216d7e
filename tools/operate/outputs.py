"""A stack's outputs as variables for a shell."""

import json
import os
import re
from pathlib import Path

from tools.operate.stack import LOCAL_KEY, CannotStart, Deployed

LOCAL_OUTPUTS = Path(".local/outputs.json")  # `make start` writes it when the stack is ready


def use_local_stack() -> dict[str, str]:
    """Turn to the local stack, on whichever ports it listens; return the variables that do so."""
    try:
        outputs = json.loads(LOCAL_OUTPUTS.read_text())
    except FileNotFoundError as error:
        raise CannotStart("the local stack is not running. In another shell, run: make start") from error
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), LOCAL_KEY)
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
        frozen = credentials.get_frozen_credentials()
        variables |= {"AWS_ACCESS_KEY_ID": frozen.access_key or "", "AWS_SESSION_TOKEN": frozen.token or ""}
        variables |= {"AWS_SECRET_ACCESS_KEY": frozen.secret_key or ""}
    return variables | snake_case(stack.outputs)


def snake_case(outputs: dict[str, str]) -> dict[str, str]:
    """Return outputs by the names that they have in a shell: ``api_url`` for ``ApiUrl``."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value for name, value in outputs.items()}
