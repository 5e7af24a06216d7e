"""The metrics of dashboard and alarms are those that the functions emit, and the ones that AWS measures itself."""

import ast
import json

import pytest

from tests.infrastructure.cloudformation import ROOT, Stack

STACK = Stack(EventBusName="orders")
# What the functions emit, and by which dimensions.
BY_SERVICE = (
    *("OrdersCancelled", "OrdersRejected", "OrdersDeferred", "OrdersFailed", "OrdersDeadLettered"),
    *("WebhooksAccepted", "WebhooksIgnored", "WebhooksRefused", "MessageAge", "OutcomesUnpublished"),
    *("CloposLatency", "CloposThrottled", "CloposQuotaLeft", "CloposAccessDenied"),
    *("TokenRefreshed", "TokenRefreshFailed", "TokenSecondsLeft"),
)
EMITTED = {
    **{name: {"service"} for name in BY_SERVICE},
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
WIDGETS = json.loads(STACK["StatusDashboard"]["DashboardBody"])["widgets"]
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")


def on_dashboard():
    for widget in WIDGETS:
        row = []
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):  # a search: all metrics of this name
                [schema, name] = metric[0]["expression"].split("'")[1].split("} MetricName=")
                namespace, *dimensions = schema.removeprefix("{").split(",")
                yield (namespace, name.split('"')[1]), set(dimensions)
                continue
            texts = [each for each in metric if isinstance(each, str)]
            row = [row[index] if text == "." else text for index, text in enumerate(texts)]  # "." repeats
            yield (row[0], row[1]), set(row[2::2])


def in_alarms():
    for alarm in ALARMS.values():
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


@pytest.mark.parametrize("refresh", ["ENABLED", "DISABLED"])
@pytest.mark.parametrize("bus", ["", "orders"])
def test_the_dashboard_begins_with_the_state_of_every_alarm_that_outlives_a_deployment(refresh, bus):
    stack = Stack(TokenRefresh=refresh, EventBusName=bus)
    first = json.loads(stack["StatusDashboard"]["DashboardBody"])["widgets"][0]
    assert first["type"] == "alarm"
    lasting = stack.of_type("AWS::CloudWatch::Alarm").keys() - {name for name in ALARMS if "Crash" in name}
    assert sorted(first["properties"]["alarms"]) == sorted(f"${{{name}.Arn}}" for name in lasting)


def test_the_dashboard_asks_the_log_the_questions_of_the_manual():
    counted, latest = [each["properties"]["query"] for each in WIDGETS if each["type"] == "log"]
    logs = "SOURCE '${ApiLogGroup}' | SOURCE '${QueueLogGroup}' | "
    assert latest.startswith(logs)
    _, _, stats = counted.removeprefix(logs).partition(" | ")
    assert stats.replace(" | sort", "\n| sort") in (ROOT / "docs" / "operations.md").read_text()


def test_the_dashboard_is_one_of_the_free_ones_and_can_be_left_out():
    """Three dashboards of up to 50 metrics each are free (CloudWatch pricing)."""
    assert len(list(on_dashboard())) <= 50
    assert Stack(Dashboard="false").of_type("AWS::CloudWatch::Dashboard") == {}


def test_the_costs_page_counts_the_alarms_and_metrics_that_there_are():
    costs = (ROOT / "docs" / "costs.md").read_text()
    stacks = (Stack(), STACK, Stack(TokenRefresh="DISABLED"))
    counts = [len(stack.of_type("AWS::CloudWatch::Alarm")) for stack in stacks]
    assert "{} alarms ({} with `EventBusName`, {} with `TokenRefresh=DISABLED`)".format(*counts) in costs
    assert f"These are {len(BY_SERVICE)}." in costs
