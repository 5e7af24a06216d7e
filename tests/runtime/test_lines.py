"""Every output line of a function is a JSON object and contains no secret (`start` checks this)."""

import json
from pathlib import Path

import pytest

from local.emulator.deploy import built_template, functions
from tests.runtime.conftest import event, webhook_event

NOISY = Path(__file__).with_name("noisy.py")
INVOCATIONS = {
    "ApiFunction": lambda: event("api.json"),
    "QueueFunction": lambda: event("queue.json"),
    "WebhookFunction": webhook_event,
    "TokenRefreshFunction": lambda: event("schedule.json"),
}
#: What Lambda sets for a function's `LoggingConfig`. Somebody who looks for an error turns on DEBUG.
LOGGING = {
    "as in the template": {},
    "debug": {"AWS_LAMBDA_LOG_LEVEL": "DEBUG"},
    "text": {"AWS_LAMBDA_LOG_FORMAT": "Text", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"},
}


@pytest.mark.parametrize("logging", LOGGING)
@pytest.mark.parametrize("function", INVOCATIONS)
def test_libraries_write_json_too(start, function, logging):
    module = functions(built_template())[function]["Handler"].partition(".")[0]
    environment = start(
        function, wrapper=NOISY, WRAPPED_MODULE=module, PYTHONWARNINGS="always", **LOGGING[logging]
    )
    assert not environment.invoke(INVOCATIONS[function]()).error
    environment.kill()
    lines = "\n".join(environment.lines)
    for said in ("a warning", "an error with its cause", "on the root logger"):
        assert said in lines
    assert lines.count("unhandled exception") == 2


def test_broken_connections_leave_no_line_of_urllib3(start, clopos):
    clopos.fail(108, "reset", "close", "truncated")
    environment = start("ApiFunction", AWS_LAMBDA_LOG_LEVEL="DEBUG")
    assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    environment.kill()
    assert [
        line for line in map(json.loads, environment.lines) if "_aws" not in line and "order_id" not in line
    ] == []


def test_the_runtimes_report_of_a_failed_refresh_is_json(start, clopos):
    """It raises, so that Lambda tries again and counts an error. What the runtime client then writes counts too."""
    clopos.fail_auth("wrong_credentials", repeat=None)
    result = start("TokenRefreshFunction").invoke(event("schedule.json"))
    assert "clopos_access_denied" in result.error["errorMessage"]


def test_an_order_is_one_line(start, clopos):
    environment = start("ApiFunction")
    result = environment.invoke(event("api.json"))
    environment.kill()
    [line] = [line for line in map(json.loads, environment.lines) if line.get("message") == "order cancelled"]
    assert (line["request_id"], line["order_id"]) == (result.request_id, "108")
