"""Read the environment variables with which the user configures the local stack."""

import json
import os
import socket
from typing import Any

from local.emulator.artifact import built_template
from local.emulator.parameters import parse_parameters
from local.errors import StackError
from local.ports import HOST


def upstream_from_environment() -> dict[str, Any]:
    """Return the arguments of `LocalStack` for an upstream other than the simulator, if one is set.

    Raises
    ------
    StackError
        If the credentials for it are not a JSON object.
    """
    try:
        credentials = json.loads(os.environ.get("CLOPOS_CREDENTIALS") or "{}")
    except ValueError:  # not JSON; the error's text would quote a secret
        credentials = None
    if not isinstance(credentials, dict):
        raise StackError("CLOPOS_CREDENTIALS is not a JSON object")
    return {"clopos_base_url": os.environ.get("CLOPOS_BASE_URL", ""), "credentials": credentials}


def parameters_from_environment() -> dict[str, str]:
    """Return the template's parameters that the user has chosen.

    Raises
    ------
    StackError
        If the template does not allow one of them.
    """
    return parse_parameters(os.environ.get("STACK_PARAMETERS", ""), built_template())


def port_from_environment(variable: str, default: int) -> int:
    """Return the port in an environment variable.

    Parameters
    ----------
    variable : str
        Name of the environment variable.
    default : int
        The port to use if the variable is empty or not set; 0 means any free port.

    Raises
    ------
    StackError
        If it is not a port, or if it is in use.
    """
    value = os.environ.get(variable) or str(default)
    if not value.isdecimal() or int(value) > 65535:
        raise StackError(f"{variable}={value} is not a port")
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: an earlier one may just have ended
        try:
            probe.bind((HOST, int(value)))
        except OSError as error:  # in use, or not permitted
            raise StackError(
                f"Port {value} cannot be used: {error.strerror}.\n"
                f"Stop what is using it, or choose another port: {variable}={int(value) + 10} make ..."
            ) from error
    return int(value)


def optional_port_from_environment(variable: str, default: int) -> int:
    """Return the port in an environment variable; 0 if it is not set and the default is in use."""
    try:
        return port_from_environment(variable, default)
    except StackError:
        if os.environ.get(variable):
            raise
        return 0
