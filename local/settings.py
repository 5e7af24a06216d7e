"""The environment variables with which the user configures the local stack.

=====================  ==============================================================================
`CLOPOS_BASE_URL`      an upstream instead of the simulator
`CLOPOS_CREDENTIALS`   the credentials for the token refresh at that upstream, as JSON
`STACK_PARAMETERS`     parameters of the template: `Name=value`, separated by spaces
`LOCAL_AWS_PORT`       the emulator's port (4566 for ``make start``, any free one for ``make run``)
`LOCAL_CLOPOS_PORT`    the simulator's (4010, or any free one)
`LOCAL_PAGE_PORT`      the page's (4080, or any free one if that is in use)
=====================  ==============================================================================
"""

import contextlib
import fcntl
import json
import os
import shlex
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from local.common import HOST, STATE, StackError, run_command

AWS_PORT, CLOPOS_PORT, PAGE_PORT = "LOCAL_AWS_PORT", "LOCAL_CLOPOS_PORT", "LOCAL_PAGE_PORT"

#: Parameters that the local stack sets itself, and what to do instead of setting them.
RESERVED = {
    "CloposBaseUrl": "set the environment variable CLOPOS_BASE_URL instead",
    "GradualDeployments": "it is always false, since the emulator has no CodeDeploy",
}


def upstream() -> dict[str, Any]:
    """Return the arguments of `LocalStack` for an upstream other than the simulator, if one is set."""
    try:
        credentials = json.loads(os.environ.get("CLOPOS_CREDENTIALS") or "{}")
    except ValueError:  # not JSON; the error's text would quote a secret
        credentials = None
    if not isinstance(credentials, dict):
        raise StackError("CLOPOS_CREDENTIALS is not a JSON object")
    return {"clopos_base_url": os.environ.get("CLOPOS_BASE_URL", ""), "credentials": credentials}


def parameters(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the template's parameters that the user has chosen; CloudFormation checks their values."""
    try:
        words = shlex.split(os.environ.get("STACK_PARAMETERS", ""))
    except ValueError as error:  # an unclosed quotation mark
        raise StackError(f"STACK_PARAMETERS cannot be read: {error}") from error
    chosen = {}
    for word in words:
        name, separator, chosen[name] = word.partition("=")
        if not separator:
            raise StackError(f"STACK_PARAMETERS: {word!r} does not have the form Name=value")
        if name not in template["Parameters"]:
            names = ", ".join(template["Parameters"])
            raise StackError(f"STACK_PARAMETERS: the template has no parameter {name!r}. It has: {names}")
        if name in RESERVED:
            raise StackError(f"STACK_PARAMETERS: {name} cannot be chosen here: {RESERVED[name]}")
    return chosen


def start_ports() -> dict[str, int]:
    """Return the ports of ``make start`` by their variables, see `ports`."""
    page_port = 4080 if os.environ.get(PAGE_PORT) or not _problem(4080) else 0
    defaults = {AWS_PORT: 4566, CLOPOS_PORT: 4010, PAGE_PORT: page_port}
    if os.environ.get("CLOPOS_BASE_URL"):
        del defaults[CLOPOS_PORT]  # there is no simulator
    return ports(defaults)


def ports(defaults: Mapping[str, int]) -> dict[str, int]:
    """Return the ports in some environment variables, or their defaults; 0 means any free port.

    Raises
    ------
    StackError
        If one is not a port, cannot be listened on, or is named twice. The text names all of these.
    """
    chosen: dict[str, int] = {}
    problems = []
    for variable, default in defaults.items():
        value = os.environ.get(variable) or str(default)
        port = int(value) if value.isdecimal() else -1
        problem = "is named twice" if port and port in chosen.values() else _problem(port)
        if problem:
            problems.append(f"  {variable}={value}: {problem}")
        chosen[variable] = port
    if problems:
        raise StackError("\n".join(["Choose other ports, or stop what is using these:", *problems]))
    return chosen


@contextlib.contextmanager
def only_start() -> Iterator[None]:
    """Keep a second ``make start`` out of this folder: it would take the first one's outputs away."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "start.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("make start runs in this folder already: use it, or end it first") from error
        yield


def check() -> None:
    """Refuse what cannot work before anything is built. It only needs the standard library."""
    with only_start():
        start_ports()


def _problem(port: int) -> str | None:
    if not 0 <= port <= 65535:
        return "is not a port"
    with socket.socket() as probe:
        # As servers do: an earlier one may just have ended.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:  # in use, or not permitted
            return error.strerror
    return None


if __name__ == "__main__":
    run_command(check)
