"""Read the environment variables with which the user configures the local stack."""

import json
import os
import re
import shlex
import socket
from collections.abc import Mapping
from typing import Any

from local.common import HOST, StackError
from local.emulator.deploy import built_template

Json = dict[str, Any]

#: Parameters that the local stack sets itself, and what to do instead of setting them.
RESERVED = {
    "CloposBaseUrl": "set the environment variable CLOPOS_BASE_URL instead",
    "GradualDeployments": "it is always false, since the emulator has no CodeDeploy",
}


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


def parse_parameters(text: str, template: Mapping[str, Any]) -> dict[str, str]:
    """Read parameters in the form ``Name=value``, separated by spaces; quotes keep spaces in a value.

    Parameters
    ----------
    text : str
        The parameters.
    template : mapping
        The template that declares them.

    Returns
    -------
    dict
        The values by the parameters' names.

    Raises
    ------
    StackError
        If there is no such parameter, or if the value is not allowed.
    """
    declared = template["Parameters"]
    try:
        words = shlex.split(text)
    except ValueError as error:  # an unclosed quotation mark
        raise StackError(f"STACK_PARAMETERS cannot be read: {error}") from error
    parameters = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise StackError(f"STACK_PARAMETERS: {word!r} does not have the form Name=value")
        if name not in declared:
            raise StackError(
                f"STACK_PARAMETERS: the template has no parameter {name!r}. It has: {', '.join(declared)}"
            )
        if name in RESERVED:
            raise StackError(f"STACK_PARAMETERS: {name} cannot be chosen here: {RESERVED[name]}")
        if problem := _problem(value, declared[name]):
            raise StackError(f"STACK_PARAMETERS: {name}={value} is not allowed: {name} {problem}")
        parameters[name] = value
    return parameters


def _problem(value: str, parameter: Json) -> str | None:
    """Return what is wrong with a value, in words that follow the parameter's name."""
    described = parameter.get("ConstraintDescription")
    allowed = [str(choice) for choice in parameter.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return described or f"must be one of: {', '.join(allowed)}"
    if parameter["Type"] == "Number" and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return described or "must be a number"
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return described or f"must match {parameter['AllowedPattern']}"
    if len(value) > int(parameter.get("MaxLength", len(value))):
        return described or f"must have at most {parameter['MaxLength']} characters"
    if len(value) < int(parameter.get("MinLength", 0)):
        return described or f"must have at least {parameter['MinLength']} characters"
    return None
