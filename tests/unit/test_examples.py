"""The examples in the API's description."""

import fastjsonschema
import pytest

from cancellation.errors import ERROR_KINDS
from tools.examples import cancel_errors, cancelled, webhook_errors
from tools.openapi import describe

EXAMPLES = [*cancel_errors(), *webhook_errors()]
SCHEMAS = describe()["components"]["schemas"]


def test_there_is_an_example_of_each_error():
    assert {example.envelope["error"] for example in EXAMPLES} == set(ERROR_KINDS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.when)
def test_an_example_agrees_with_the_schema_and_with_the_table_of_errors(example):
    error = example.envelope["error"]
    schema = SCHEMAS["NotCancellable" if error == "order_not_cancellable" else "Problem"]
    fastjsonschema.validate(schema, example.envelope)
    kind = ERROR_KINDS[error]
    assert example.envelope["retryable"] == kind.retryable
    # API Gateway has statuses of its own for requests that never reach a function.
    assert example.status == kind.status or example.status in (403, 413, 415, 504)


def test_the_example_of_success_agrees_with_the_schema():
    fastjsonschema.validate(SCHEMAS["Cancelled"], cancelled())


def test_the_example_of_an_order_that_cannot_be_cancelled_says_its_status_and_receipt():
    [example] = [example for example in EXAMPLES if example.envelope["error"] == "order_not_cancellable"]
    assert example.envelope["order"] == {"status": "RECEIVED", "receipt_id": 10950}
