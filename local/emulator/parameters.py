"""Parse values for the template's parameters, and check them as CloudFormation does."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from local.errors import StackError

Json = dict[str, Any]

#: Parameters that the local stack sets itself, and what to do instead of setting them.
RESERVED = {
    "CloposBaseUrl": "set the environment variable CLOPOS_BASE_URL instead",
    "GradualDeployments": "it is always false, since the emulator has no CodeDeploy",
}


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
