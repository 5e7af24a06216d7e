"""What template.yaml promises: alarms, dashboard, and that all of it agrees with the code and the lock files."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path

import pytest
from aws_lambda_powertools.metrics.provider.cold_start import reset_cold_start_flag
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cancellation.errors import CancelError
from local.simulator import Fault
from local.stack import STACK_NAME, built_template, functions
from tools.build import RUNTIME

ROOT = Path(__file__).parents[2]
TEMPLATE = built_template()
ALARMS = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
# What AWS measures by itself, and by which dimension (CloudWatch user guide, services that publish metrics).
BY_AWS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible"): {"QueueName"},
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): {"QueueName"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "Throttles"): {"FunctionName"},
    ("AWS/ApiGateway", "5XXError"): {"ApiName"},
}


def dashboard_metrics():
    """Return the metrics on the dashboard: namespace, name, and the names of the dimensions."""
    body = json.loads(TEMPLATE["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        for namespace, name, *dimensions in widget["properties"]["metrics"]:
            yield (namespace, name), {key for key in dimensions[::2] if isinstance(key, str)}


def alarm_metrics():
    for alarm in ALARMS.values():
        yield (
            (alarm["Namespace"], alarm["MetricName"]),
            {dimension["Name"] for dimension in alarm["Dimensions"]},
        )


@pytest.fixture
def emitted(call_api, run_batch, call_webhook, refresh, secret, environment, clopos, output):
    """Every metric that the handlers emit, and the names of its dimensions, after a bit of everything."""
    reset_cold_start_flag()
    call_api(108)
    call_api(404)
    clopos.fail(108, "module_missing", Fault(429, {}, {"RateLimit-Reset": "0.01"}))
    assert call_api(108).body["error"] == "clopos_access_denied"
    assert call_api(108).status == 200
    clopos.fail(108, "unavailable")
    assert run_batch({"order_id": 108}).fates == ["queued"]
    call_webhook()
    call_webhook(signed_body="another")
    refresh()
    environment("CREDENTIALS_SECRET_ARN", secret("{}"))
    with pytest.raises(CancelError, match="fill them in"):
        refresh()
    return {
        ("CloposOrders", metric["Name"]): set(directive["Dimensions"][0])
        for line in output.lines()
        if "_aws" in line
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


def test_no_alarm_and_no_widget_points_at_nothing(emitted):
    measured = BY_AWS | emitted
    wanted = [*dashboard_metrics(), *alarm_metrics()]
    assert len(wanted) > 20
    assert [(metric, dimensions) for metric, dimensions in wanted if measured.get(metric) != dimensions] == []


def test_every_metric_that_is_emitted_is_on_the_dashboard(emitted):
    assert emitted.keys() <= {metric for metric, _ in dashboard_metrics()}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_and_tells_somebody(name):
    alarm = ALARMS[name]
    assert len(alarm["AlarmDescription"].split(".")) > 1
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]


def test_the_manual_names_every_alarm():
    manual = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^\| `(\w+Alarm)` \|", manual, re.MULTILINE)) == ALARMS.keys()


# -- one place for each setting


def test_runtime_memory_and_log_level_stand_in_one_place():
    shared = TEMPLATE["Globals"]["Function"]
    assert shared["Runtime"] == "python{}.{}".format(*RUNTIME)
    assert shared["MemorySize"] >= 128
    assert shared["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "INFO"
    for function in functions(TEMPLATE).values():
        assert not {"Runtime", "MemorySize", "Architectures"} & function.keys()
        assert "POWERTOOLS_LOG_LEVEL" not in function["Environment"]["Variables"]


# -- the lock files


def locked(name):
    """Return what a lock file pins: versions by name."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", (ROOT / name).read_text()))


def test_what_the_functions_need_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {Requirement(text).name for text in project["dependencies"]} <= locked("requirements.txt").keys()


def test_what_is_tested_is_what_is_deployed():
    tested = locked("requirements/dev.txt")
    assert {name: tested.get(name) for name in locked("requirements.txt")} == locked("requirements.txt")
    assert {name: importlib.metadata.version(name) for name in locked("requirements.txt")} == locked(
        "requirements.txt"
    ), "the environment is older than the lock file: make .venv/.installed"


@pytest.mark.parametrize("name", locked("requirements.txt"))
def test_every_locked_package_supports_the_runtime(name):
    supported = importlib.metadata.metadata(name)["Requires-Python"] or ""
    assert "{}.{}.0".format(*RUNTIME) in SpecifierSet(supported)


def test_the_stack_has_the_name_that_samconfig_gives_it():
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert config["default"]["global"]["parameters"]["stack_name"] == STACK_NAME
