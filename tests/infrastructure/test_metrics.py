"""The metrics of dashboard and alarms are those that the functions emit, and the ones that AWS measures itself."""

import ast
import json

import pytest

from tests.infrastructure.cloudformation import ROOT, Stack

STACK = Stack(EventBusName="orders")
SERVICE = {"service"}
# What the functions emit (docs: contract, "Observability"), and by which dimensions.
EMITTED = {
    **dict.fromkeys(
        [
            *("OrdersCancelled", "OrdersRejected", "OrdersDeferred", "OrdersFailed"),
            *("WebhooksAccepted", "WebhooksIgnored", "WebhooksRefused"),
            *("CloposLatency", "CloposThrottled", "CloposQuotaLeft", "CloposAccessDenied"),
            *("TokenRefreshed", "TokenRefreshFailed", "TokenSecondsLeft"),
            *("MessageAge", "OutcomesUnpublished"),
        ],
        SERVICE,
    ),
    "InternalErrors": {"service", "function_name", "function_version"},
    "ColdStart": {"service", "function_name"},  # by Powertools
}
# What AWS measures itself (CloudWatch user guide, services that publish metrics).
MEASURED = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): [{"QueueName"}],
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible"): [{"QueueName"}],
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): [{"QueueName"}],
    ("AWS/Lambda", "Errors"): [{"FunctionName"}, {"FunctionName", "Resource", "ExecutedVersion"}],
    ("AWS/Lambda", "Throttles"): [{"FunctionName"}],
    ("AWS/ApiGateway", "5XXError"): [{"ApiName"}],
    **{("CloposOrders", name): [dimensions] for name, dimensions in EMITTED.items()},
}
BODY = json.loads(STACK["Dashboard"]["DashboardBody"])
WIDGETS = {widget["properties"]["title"]: widget for widget in BODY["widgets"]}


def on_dashboard():
    for widget in WIDGETS.values():
        for first, *rest in widget["properties"]["metrics"]:
            if isinstance(first, dict):  # a search: all metrics of this name
                [schema, name] = first["expression"].split("'")[1].split("} MetricName=")
                namespace, *dimensions = schema.removeprefix("{").split(",")
                yield (namespace, name.split('"')[1]), set(dimensions)
            else:
                yield (first, rest[0]), {key for key in rest[1::2] if isinstance(key, str)}


def in_alarms():
    for alarm in STACK.of_type("AWS::CloudWatch::Alarm").values():
        yield (alarm["Namespace"], alarm["MetricName"]), {each["Name"] for each in alarm["Dimensions"]}


@pytest.mark.parametrize(("metric", "dimensions"), [*on_dashboard(), *in_alarms()])
def test_alarms_and_widgets_use_only_metrics_that_exist(metric, dimensions):
    assert dimensions in MEASURED[metric]


def test_every_metric_that_is_emitted_is_on_the_dashboard():
    assert {name for namespace, name in dict(on_dashboard()) if namespace == "CloposOrders"} == EMITTED.keys()


def test_the_functions_emit_these_metrics_and_no_other():
    """The names are strings in the code: arguments of `add_metric` or `single_metric`, or values of a table."""
    names, texts = set(), set()
    for path in (ROOT / "functions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_metric":
                names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    assert names <= EMITTED.keys()
    assert EMITTED.keys() - {"ColdStart"} <= texts


def test_the_dashboard_is_one_of_the_free_ones():
    """Three dashboards of up to 50 metrics each are free (CloudWatch pricing)."""
    assert len(list(on_dashboard())) <= 50


def test_widgets_do_not_overlap():
    places = [(widget["x"], widget["y"]) for widget in BODY["widgets"]]
    assert len(set(places)) == len(places)
    assert all(widget["x"] + widget["width"] <= 24 for widget in BODY["widgets"])
    assert all(widget["properties"]["region"] == "eu-central-1" for widget in BODY["widgets"])
