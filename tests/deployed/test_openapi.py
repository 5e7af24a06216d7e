"""The description of the API: that of the code, and kept by the deployed stack for whatever it is sent."""

import json
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.emulator.clients import REGION, ROOT_USER
from tests.conftest import eventually
from tools.openapi import FILE, describe, text
from tools.signing import SigV4

api = schemathesis.openapi.from_dict(json.loads(FILE.read_text()))
api.config.generation.update(with_security_parameters=False)  # every generated request is signed
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


def test_the_description_of_the_api_is_that_of_the_code():
    assert FILE.read_text() == text(), "run: .venv/bin/python -m tools.openapi"


def test_the_description_is_valid_openapi():
    validate(describe())


def test_the_description_has_the_routes_of_the_contract_and_no_other():
    routes = {(path, method) for path, operations in describe()["paths"].items() for method in operations}
    assert routes == {("/orders/{id}", "put"), ("/webhooks/cancellations", "post")}


@pytest.fixture
def signatures(stack, clopos, sqs, deployed_queues):
    """How a caller of each route signs; Clopos has no limit meanwhile."""
    clopos.configure(quota=40_000, failed_quota=40_000)
    stack.refresh_token()
    yield {"/orders/{id}": SigV4(ROOT_USER, REGION), "/webhooks/cancellations": stack.webhook_auth()}
    eventually(lambda: not deployed_queues[0].counts().visible)
    sqs.purge_queue(QueueUrl=stack.outputs["QueueUrl"])  # orders that do not exist would wait for two minutes


@api.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_generated_request_gets_an_answer_that_the_description_does_not_allow(
    stack, clopos, signatures, case
):
    order_id = str(case.path_parameters.get("id"))
    if re.fullmatch("[A-Za-z0-9_-]{1,64}", order_id):
        clopos.add_order(order_id)
    case.call_and_validate(
        base_url=stack.outputs["ApiUrl"], auth=signatures[case.operation.path], checks=CHECKS, timeout=60
    )
