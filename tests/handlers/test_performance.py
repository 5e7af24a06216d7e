"""What performance depends on, without a clock: what is in the package, imported modules, and numbers of calls.

`make bench` measures the speed itself (docs/performance.md).
"""

import json
import re
import subprocess
import sys
from collections import defaultdict

import pytest

from local.common import BUILD, ROOT
from local.emulator.deploy import archive, built_template, files
from local.lambda_events import environment_variables
from tests.conftest import FUNCTIONS
from tools.build import RUNTIME, SERVICES

MB = 1_000_000
# Modules that a cold start imports: 610 on 3.13, plus 5 % because other versions of Python differ.
MAX_MODULES = 640
# Each costs milliseconds of every cold start: 140 for pydantic alone, about 12 for asyncio.
UNWANTED = {"asyncio", "pydantic", "jsonschema", "unittest", "pytest", "aiohttp", "numpy", "yaml"}
UNWANTED |= {"aws_lambda_powertools.event_handler", "aws_lambda_powertools.utilities.data_classes"}


def imported(function):
    """Return the modules that importing a handler from the artifact loads."""
    script = (
        "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps([*sys.modules]))"
    )
    nowhere = defaultdict(lambda: "nowhere")
    variables = environment_variables(built_template(), function, BUILD / function, nowhere)
    run = subprocess.run(
        [sys.executable, "-S", "-P", "-B", "-c", script, variables["_HANDLER"].removesuffix(".handler")],
        env={**variables, "PYTHONPATH": str(BUILD / function)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_cold_start_imports_no_more_than_it_needs(function):
    modules = imported(function)
    assert not UNWANTED & modules
    assert len(modules) <= MAX_MODULES


@pytest.mark.parametrize("function", FUNCTIONS)
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


# Prints where botocore sends a request of each service in each region, and the scope for which it is signed.
ADDRESSES = """
import json, sys, botocore.session
session, addresses = botocore.session.get_session(), []
session.set_credentials("access-key", "secret-key")
for service, (operation, parameters) in json.loads(sys.argv[1]).items():
    for partition in session.get_available_partitions():
        for region in session.get_available_regions(service, partition):
            client = session.create_client(service, region)
            url = client.generate_presigned_url(operation, parameters)
            addresses.append([service, url.split("?")[0], *url.split("%2F")[2:4]])
print(json.dumps(addresses))
"""
OPERATIONS = {
    "events": ("put_events", {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}),
    "lambda": ("invoke", {"FunctionName": "function"}),
    "secretsmanager": ("get_secret_value", {"SecretId": "secret"}),
    "sqs": ("list_queues", {}),
}


def test_the_package_knows_the_services_that_the_functions_make_clients_of():
    sources = [path.read_text() for path in (ROOT / "functions").rglob("*.py")]
    assert {name for source in sources for name in re.findall(r'\bclient\("(\w+)"', source)} == SERVICES


def test_requests_go_where_an_untrimmed_botocore_sends_them():
    """In every region of every partition; the local stack has addresses of its own and would not show it."""
    assert OPERATIONS.keys() == SERVICES
    artifact, untrimmed = (
        json.loads(
            subprocess.run(
                [sys.executable, "-P", "-B", "-c", ADDRESSES, json.dumps(OPERATIONS)],
                env={"PYTHONPATH": path},
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        for path in (str(BUILD / "ApiFunction"), "")
    )
    assert artifact == untrimmed
    assert ["sqs", "https://sqs.cn-north-1.amazonaws.com.cn/", "cn-north-1", "sqs"] in untrimmed


def test_hundreds_of_cancellations_read_the_token_once_and_open_one_connection(
    clopos, call_api, aws_calls, connections
):
    clopos.configure(quota=40_000, failed_quota=40_000)
    for _ in range(300):
        assert call_api(108).status == 200
    assert [operation for operation, _ in aws_calls] == ["GetSecretValue"]
    assert len(connections) == 1


def test_many_batches_read_the_token_once_and_open_a_connection_a_thread(
    clopos, run_batch, function, aws_calls, connections
):
    clopos.configure(quota=40_000, failed_quota=40_000)
    for _ in range(25):
        assert run_batch(*({"order_id": 108} for _ in range(10))).fates == ["done"] * 10
    assert [operation for operation, _ in aws_calls].count("GetSecretValue") == 1
    assert 1 <= len(connections) <= function("queue_worker").THREADS
