"""Print a stack's outputs as variables for a shell: ``eval "$(make outputs)"``."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.operate.stack import LOCAL_KEY, CannotStart, Deployed

LOCAL_OUTPUTS = Path(".local/outputs.json")  # `make start` writes it when the stack is ready


def local_variables() -> dict[str, str]:
    """Return how to reach the local stack, on whichever ports it listens.

    Raises
    ------
    CannotStart
        If it does not run.
    """
    try:
        outputs = json.loads(LOCAL_OUTPUTS.read_text())
    except FileNotFoundError as error:
        raise CannotStart("the local stack is not running. In another shell, run: make start") from error
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), LOCAL_KEY)
    own = {snake_case(name): outputs[name] for name in ("CloposUrl", "PageUrl") if name in outputs}
    return {"AWS_ENDPOINT_URL": outputs["AwsEndpointUrl"], **keys, **own}


def keys_in_use(stack: Deployed) -> dict[str, str]:
    """Return the operator's AWS credentials, for programs that do not know profiles, such as curl."""
    credentials = stack.session.get_credentials()
    assert credentials, "the stack was described with them"  # noqa: S101 - for the type checker
    frozen = credentials.get_frozen_credentials()
    return {
        "AWS_ACCESS_KEY_ID": frozen.access_key or "",
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key or "",
        "AWS_SESSION_TOKEN": frozen.token or "",
    }


def snake_case(name: str) -> str:
    """Return the name that an output has in a shell: ``api_url`` for ``ApiUrl``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the commands; return the exit status."""
    parser = argparse.ArgumentParser(prog="outputs", description=__doc__)
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--local", action="store_true", help="of a stack that `make start` runs")
    parser.add_argument("--keys", action="store_true", help="also the AWS credentials in use")
    options = parser.parse_args(arguments)
    variables: dict[str, str] = {}
    try:
        if options.local:
            variables |= local_variables()
            os.environ.pop("AWS_PROFILE", None)
            os.environ |= variables
        stack = Deployed.from_environment(options.stack)
    except CannotStart as error:
        print(f"outputs: {error}", file=sys.stderr)
        return 1
    if options.local:
        print("unset AWS_PROFILE AWS_SESSION_TOKEN")  # of a real account
    if options.keys:
        variables |= keys_in_use(stack)
    # Some programs read the first of the two, some the second.
    variables |= {"STACK": stack.name, "AWS_REGION": stack.region, "AWS_DEFAULT_REGION": stack.region}
    variables |= {snake_case(name): value for name, value in stack.outputs.items()}
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
