"""What `make start` prints and writes works as it is, and what cannot work is refused in one sentence."""

import json
import os
import socket
import subprocess
import sys

import pytest
import requests

from local import settings, start
from local.common import HOST, ROOT, StackError
from local.emulator.clients import REGION, ROOT_USER
from tests.conftest import eventually
from tools.signing import SigV4

TEMPLATE = {
    "Parameters": dict.fromkeys(("CloposBaseUrl", "QueueWorkers", "EventBusName", "GradualDeployments"))
}


@pytest.fixture
def outputs(stack):
    """The outputs of the running stack, in the file where the calls look for them."""
    outputs = stack.outputs | {"PageUrl": f"http://{HOST}:0"}
    # Of a stack that runs beside the tests.
    left = start.OUTPUTS.read_text() if start.OUTPUTS.exists() else None
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
    assert call.format_map(outputs) in start.GUIDE.format_map(outputs)
    script = (start.ENVIRONMENT + call).format_map(outputs)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(["bash", "-euc", script], cwd=ROOT, env=environment, check=True, timeout=60)
    eventually(lambda: clopos.order(order_id)["status"] == "IGNORE")


def test_the_emulator_does_not_verify_signatures_as_the_guide_says(stack, clopos):
    """If it does one day, the guide and the README must no longer say so."""

    class AnotherSignature(SigV4):
        def __call__(self, request):
            signed = super().__call__(request)
            signed.headers["Authorization"] = signed.headers["Authorization"][:-4] + "beef"
            return signed

    stack.refresh_token()
    answer = stack.call(
        "PUT", "/orders/108", '{"status": "IGNORE"}', auth=AnotherSignature(ROOT_USER, REGION)
    )
    assert answer.status_code == 200


def test_the_stack_publishes_outcomes_on_the_default_bus(stack):
    described = stack.client("cloudformation").describe_stacks(StackName="clopos-cancel")["Stacks"][0]
    values = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described["Parameters"]}
    assert values["EventBusName"] == "default"
    assert values["CloposBaseUrl"] == stack.outputs["CloposUrl"]


def test_the_outputs_can_be_reached(outputs):
    written = json.loads(start.OUTPUTS.read_text())
    assert written == outputs
    assert requests.get(f"{written['AwsEndpointUrl']}/_ministack/health", timeout=30).ok


def test_all_ports_that_cannot_be_used_are_named_before_anything_is_built(monkeypatch):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("LOCAL_AWS_PORT", str(taken))
        monkeypatch.setenv("LOCAL_CLOPOS_PORT", "70000")
        monkeypatch.setenv("LOCAL_PAGE_PORT", str(taken))
        # As in the Makefile: with any Python, and without the packages of an environment.
        checked = subprocess.run(
            [sys.executable, "-S", "-m", "local.settings"], cwd=ROOT, capture_output=True, text=True
        )
    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        "Choose other ports, or stop what is using these:",
        f"  LOCAL_AWS_PORT={taken}: Address already in use",
        "  LOCAL_CLOPOS_PORT=70000: is not a port",
        f"  LOCAL_PAGE_PORT={taken}: is named twice",
    ]


def test_the_simulators_port_does_not_matter_with_another_upstream(monkeypatch):
    monkeypatch.setenv("LOCAL_CLOPOS_PORT", "70000")
    monkeypatch.setenv("CLOPOS_BASE_URL", "https://clopos.example")
    monkeypatch.setenv("LOCAL_AWS_PORT", "0")
    assert settings.CLOPOS_PORT not in settings.start_ports()


def test_a_second_start_in_the_same_folder_is_refused_and_leaves_the_first_ones_outputs(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(settings, "STATE", tmp_path)
    monkeypatch.setattr(start, "OUTPUTS", tmp_path / "outputs.json")
    monkeypatch.setattr(start, "_run_until_interrupted", lambda: pytest.fail("it was started"))
    start.OUTPUTS.write_text("of the first one")
    with settings.only_start(), pytest.raises(StackError, match="make start runs in this folder already"):
        start.start()
    assert start.OUTPUTS.read_text() == "of the first one"
    with settings.only_start():
        pass  # the first one has ended


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        (" QueueWorkers=10  EventBusName= ", {"QueueWorkers": "10", "EventBusName": ""}),
        ("EventBusName='a b=c'", {"EventBusName": "a b=c"}),
    ],
)
def test_parameters_are_read(text, parameters, monkeypatch):
    monkeypatch.setenv("STACK_PARAMETERS", text)
    assert settings.parameters(TEMPLATE) == parameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("QueueWorkers", "'QueueWorkers' does not have the form Name=value"),
        ("Workers=3", "the template has no parameter 'Workers'. It has: CloposBaseUrl, QueueWorkers"),
        ("CloposBaseUrl=https://x", "set the environment variable CLOPOS_BASE_URL instead"),
        ("GradualDeployments=true", "the emulator has no CodeDeploy"),
        ("EventBusName='open", "STACK_PARAMETERS cannot be read: No closing quotation"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused_with_the_reason(text, message, monkeypatch):
    monkeypatch.setenv("STACK_PARAMETERS", text)
    with pytest.raises(StackError, match="STACK_PARAMETERS") as error:
        settings.parameters(TEMPLATE)
    assert message in str(error.value)
