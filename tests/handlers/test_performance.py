"""What performance depends on, without a clock: imported modules, package size, and numbers of calls.

`make bench` measures the speed itself (docs/performance.md).
"""

import json
import subprocess
import sys

import pytest

from local.common import BUILD
from local.emulator.deploy import archive, files
from tools.build import RUNTIME

HANDLERS = {
    "ApiFunction": "api",
    "QueueFunction": "queue_worker",
    "WebhookFunction": "webhook",
    "TokenRefreshFunction": "token_refresh",
}
MB = 1_000_000
# Modules that a cold start imports: 610 on 3.13, plus 5 % because other versions of Python differ.
MAX_MODULES = 640
# Each costs milliseconds of every cold start: 140 for pydantic alone, about 12 for asyncio.
UNWANTED = {"asyncio", "pydantic", "jsonschema", "unittest", "pytest", "aiohttp", "numpy", "yaml"}
UNWANTED_FOR_ONE_ROUTE = {
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.data_classes",
}


def imported(function):
    """Return the modules that importing a handler from the artifact loads."""
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "LAMBDA_TASK_ROOT": str(BUILD / function),
        "POWERTOOLS_METRICS_NAMESPACE": "CloposOrders",
        "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
        "CLOPOS_BASE_URL": "http://127.0.0.1:9",
        "TOKEN_SECRET_ARN": "none",
        "TOKEN_REFRESH_FUNCTION": "",
        "QUEUE_URL": "none",
        "DEAD_LETTER_QUEUE_URL": "none",
        "CREDENTIALS_SECRET_ARN": "none",
        "WEBHOOK_SECRET_ARN": "none",
        "EVENT_BUS_NAME": "",
        "QUEUE_WORKERS": "2",
        "API_RESERVE": "30",
        "CANCELLATION_TYPES": "order.cancelled",
    }
    script = (
        "import importlib, json, sys; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]); "
    )
    script += "print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script, BUILD / function, HANDLERS[function]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("function", HANDLERS)
def test_a_cold_start_imports_no_more_than_it_needs(function):
    modules = imported(function)
    assert not UNWANTED & set(modules)
    assert len(modules) <= MAX_MODULES


def test_the_api_does_not_import_what_it_does_not_need():
    assert not UNWANTED_FOR_ONE_ROUTE & set(imported("ApiFunction"))


@pytest.mark.parametrize("function", HANDLERS)
def test_the_package_is_small(function):
    assert len(archive(BUILD / function)) <= 8 * MB


def test_the_package_holds_bytecode_for_the_runtime_or_none():
    """Bytecode of another version is useless; a build without the runtime's Python makes none."""
    compiled = [name for name, _ in files(BUILD / "ApiFunction") if name.endswith(".pyc")]
    tag = "cpython-{}{}".format(*RUNTIME)
    assert [name for name in compiled if tag not in name] == []
    if sys.version_info[:2] == RUNTIME:
        sources = [name for name, _ in files(BUILD / "ApiFunction") if name.endswith(".py")]
        assert len(compiled) == len(sources)


def test_hundreds_of_cancellations_read_the_token_once_and_open_one_connection(
    clopos, call_api, aws_calls, connections
):
    clopos.configure(quota=10**6, failed_quota=10**6)
    for _ in range(300):
        assert call_api(108).status == 200
    assert [operation for operation, _ in aws_calls] == ["GetSecretValue"]
    assert len(connections) == 1


def test_many_batches_read_the_token_once_and_open_a_connection_a_thread(
    clopos, run_batch, function, aws_calls, connections
):
    clopos.configure(quota=10**6, failed_quota=10**6)
    for _ in range(25):
        assert run_batch(*({"order_id": 108} for _ in range(10))).fates == ["done"] * 10
    assert [operation for operation, _ in aws_calls].count("GetSecretValue") == 1
    assert 1 <= len(connections) <= function("queue_worker").THREADS
