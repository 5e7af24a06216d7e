"""What `make start` prints and writes works as it is."""

import json
import os
import subprocess

import pytest
import requests

from local import start
from local.common import HOST, ROOT
from local.emulator.deploy import built_template
from local.settings import parameters_from_environment
from local.signing import SigV4
from tests.conftest import eventually


@pytest.fixture
def outputs(stack, monkeypatch):
    """The outputs of the running stack, in the file where the calls look for them."""
    outputs = stack.outputs | {"PageUrl": f"http://{HOST}:0"}
    left = (
        start.OUTPUTS.read_text() if start.OUTPUTS.exists() else None
    )  # of a stack that runs beside the tests
    start.write_outputs(outputs)
    yield outputs
    start.OUTPUTS.unlink() if left is None else start.OUTPUTS.write_text(left)


@pytest.mark.parametrize(
    ("call", "order_id"), [(start.API_CALL, 108), (start.QUEUE_CALL, 109), (start.WEBHOOK_CALL, 110)]
)
def test_each_call_that_is_printed_cancels_an_order_when_it_is_pasted(
    call, order_id, outputs, stack, clopos, deployed_queues
):
    clopos.add_orders([109, 110])
    stack.refresh_token()
    assert call.format_map(outputs) in start.guide(outputs)
    script = (start.ENVIRONMENT + call).format_map(outputs)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(["bash", "-euc", script], cwd=ROOT, env=environment, check=True, timeout=60)
    eventually(lambda: clopos.order(order_id)["status"] == "IGNORE")


def test_the_emulator_does_not_verify_signatures_as_the_guide_says(stack, clopos):
    """If it does one day, the guide and the README must no longer say so."""

    class AnotherSignature(SigV4):
        def __call__(self, request):
            signed = super().__call__(request)
            signature = signed.headers["Authorization"]
            signed.headers["Authorization"] = signature[:-4] + (
                "0000" if signature[-4:] != "0000" else "1111"
            )
            return signed

    stack.refresh_token()
    assert (
        stack.call("PUT", "/orders/108", '{"status": "IGNORE"}', auth=AnotherSignature()).status_code == 200
    )


def test_the_stack_publishes_outcomes_on_the_default_bus(stack):
    described = stack.client("cloudformation").describe_stacks(StackName="clopos-cancel")["Stacks"][0]
    values = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described["Parameters"]}
    assert values["EventBusName"] == "default"
    assert values["CloposBaseUrl"] == stack.outputs["CloposUrl"]


def test_parameters_come_from_the_environment_and_from_the_template(monkeypatch):
    monkeypatch.setenv("STACK_PARAMETERS", "QueueWorkers=4 EventBusName=")
    assert parameters_from_environment() == {"QueueWorkers": "4", "EventBusName": ""}
    assert set(parameters_from_environment()) <= set(built_template()["Parameters"])


def test_the_outputs_can_be_reached(outputs):
    written = json.loads(start.OUTPUTS.read_text())
    assert written == outputs
    assert requests.get(f"{written['AwsEndpointUrl']}/_ministack/health", timeout=30).ok
