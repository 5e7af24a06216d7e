"""STACK_PARAMETERS: what `make start` accepts, and what it says about the rest."""

import pytest

from local.common import StackError
from local.settings import parse_parameters

TEMPLATE = {
    "Parameters": {
        "CloposBaseUrl": {"Type": "String"},
        "TokenRefresh": {"Type": "String", "AllowedValues": ["ENABLED", "DISABLED"]},
        "QueueWorkers": {
            "Type": "String",
            "AllowedPattern": "^([2-9]|10)$",
            "ConstraintDescription": "must be a whole number from 2 to 10",
        },
        "LogRetentionDays": {"Type": "Number"},
        "EventBusName": {"Type": "String", "MaxLength": 8},
        "GradualDeployments": {"Type": "String"},
    }
}


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        ("  ", {}),
        ("QueueWorkers=3", {"QueueWorkers": "3"}),
        (" QueueWorkers=10  TokenRefresh=DISABLED ", {"QueueWorkers": "10", "TokenRefresh": "DISABLED"}),
        ("EventBusName=", {"EventBusName": ""}),
        ("EventBusName='a b=c'", {"EventBusName": "a b=c"}),
        ("LogRetentionDays=7", {"LogRetentionDays": "7"}),
    ],
)
def test_parameters_are_read(text, parameters):
    assert parse_parameters(text, TEMPLATE) == parameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("QueueWorkers", "'QueueWorkers' does not have the form Name=value"),
        ("Workers=3", "the template has no parameter 'Workers'. It has: CloposBaseUrl, TokenRefresh, Queue"),
        (
            "QueueWorkers=11",
            "QueueWorkers=11 is not allowed: QueueWorkers must be a whole number from 2 to 10",
        ),
        ("TokenRefresh=off", "TokenRefresh must be one of: ENABLED, DISABLED"),
        ("LogRetentionDays=week", "LogRetentionDays must be a number"),
        ("EventBusName=123456789", "EventBusName must have at most 8 characters"),
        ("CloposBaseUrl=https://x", "set the environment variable CLOPOS_BASE_URL instead"),
        ("GradualDeployments=true", "the emulator has no CodeDeploy"),
        ("EventBusName='open", "STACK_PARAMETERS cannot be read: No closing quotation"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused_with_the_reason(text, message):
    with pytest.raises(StackError, match="STACK_PARAMETERS") as error:
        parse_parameters(text, TEMPLATE)
    assert message in str(error.value)
