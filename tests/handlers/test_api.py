"""`PUT /orders/{id}`: the request, the call to Clopos, and the response."""

import json
import os
import subprocess
import sys

import pytest

from local.common import ROOT
from local.simulator import Fault
from tests.handlers.conftest import EVENTS
from tests.traces import Traces


def test_an_order_is_cancelled_at_clopos_answered_in_the_contracts_shape_and_reported(
    clopos, call_api, output
):
    said = {  # the example of Clopos's documentation
        "id": 108, "venue_id": 31, "type": "CALL_CENTER_ORDER", "integration": "call_center_new",
        "integration_uuid": None, "integration_id": None, "customer_ref_id": None, "integration_status": "CREATED",
        "status": "IGNORE", "created_at": "2026-02-02T13:45:53.000000Z", "updated_at": "2026-02-02T17:46:02.000000Z",
        "integration_response": None,
    }  # fmt: skip
    clopos.add_order(108, venue_id=31)
    clopos.fail(108, Fault(data=said))
    answer = call_api(108, headers={"X-Venue": "31", "x-correlation-id": "request-0"})
    data = said | {"created_at": "2026-02-02T13:45:53Z", "updated_at": "2026-02-02T17:46:02Z"}
    assert answer.status == 200
    assert answer.body == {"success": True, "data": data, "request_id": "request-1"}
    assert list(answer.body["data"]) == list(data)
    assert clopos.order(108)["status"] == "IGNORE"
    [line] = output.orders()
    assert (line["message"], line["level"]) == ("order cancelled", "INFO")
    assert (line["source"], line["order_id"], line["venue_id"]) == ("api", "108", 31)
    assert (line["outcome"], line["attempts"]) == ("cancelled", 1)
    assert (line["request_id"], line["correlation_id"]) == ("request-1", "request-0")
    assert line["function_request_id"] == "request-1"  # in every line, whoever logs it
    assert line["gateway_request_id"]
    assert line["caller"].startswith("arn:aws:")
    assert line["source_ip"]
    answer.body["data"].pop("integration_response")  # free-form, so it may contain customer data
    assert line["result"] == answer.body
    metrics = output.metrics()
    [latency_ms] = metrics.pop("CloposLatency")
    assert latency_ms > 0
    assert metrics == {"OrdersCancelled": [1], "CloposQuotaLeft": [299]}
    [emf] = [line["_aws"]["CloudWatchMetrics"][0] for line in output.lines() if "OrdersCancelled" in line]
    assert emf["Namespace"] == "CloposOrders"
    assert {"Name": "CloposLatency", "Unit": "Milliseconds"} in emf["Metrics"]


def test_clopos_gets_exactly_the_documented_call_from_a_client_with_a_name(clopos, call_api, token):
    clopos.fail(108, Fault(headers={"Set-Cookie": "session=1; Path=/"}))
    assert [call_api(108).status for _ in range(2)] == [200, 200]
    for call in clopos.calls():
        assert (call.method, call.path) == ("PUT", "/open-api/v2/orders/108")
        assert json.loads(call.body) == {"status": "IGNORE"}
        headers = {name: call.headers[name] for name in ("content-type", "accept", "x-token")}
        assert headers == {"content-type": "application/json", "accept": "application/json", "x-token": token}
        assert call.headers["user-agent"].startswith("clopos-cancel/")
        assert not {"authorization", "x-venue", "cookie"} & {name.lower() for name in call.headers}


def test_proxies_of_the_environment_get_no_token(environment, call_api):
    call_api(108)  # has read the token secret: that call may go through a proxy
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        environment(name, "http://127.0.0.1:9")
    assert call_api(108).status == 200


def test_bad_input_is_refused_with_what_to_change(clopos, call_api, output):
    answer = call_api(108, headers={"x-venue": ["1", "1"], "x-correlation-id": "two\nlines"})
    expected = {"success": False, "error": "invalid_request", "message": "x-venue: send it once"}
    expected |= {"retryable": False, "request_id": "request-1", "upstream": None}
    assert (answer.status, answer.body) == (400, expected)
    assert "Retry-After" not in answer.headers
    assert clopos.calls() == []
    [line] = output.orders()
    assert (line["message"], line["outcome"], line["attempts"]) == ("order not cancelled", "rejected", 0)
    assert (line["result"], line["order_id"], line["venue_id"]) == (answer.body, None, None)
    assert line.get("correlation_id") is None  # one that cannot be logged is absent
    assert output.metrics() == {"OrdersRejected": [1]}


@pytest.mark.parametrize(("asked", "retry_after"), [("40.2", 41), (None, 60), ("soon", 60)])
def test_a_caller_is_asked_to_wait_as_long_as_clopos_asks_or_a_sane_time(
    clopos, call_api, asked, retry_after
):
    clopos.fail(108, Fault(429, {"success": False}, {"RateLimit-Reset": asked}), repeat=None)
    answer = call_api(108, remaining_s=4.5)
    assert (answer.told, answer.headers["Retry-After"]) == ((429, "rate_limited", True), str(retry_after))


def test_the_quota_is_waited_for_if_there_is_time(clopos, call_api, output):
    clopos.fail(108, Fault(429, {"success": False}, {"RateLimit-Reset": "0.05"}), repeat=2)
    assert call_api(108).status == 200
    assert output.orders()[0]["attempts"] == 3
    assert output.metrics()["CloposThrottled"] == [2]


def test_a_bug_of_ours_is_answered_and_its_text_stays_inside(call_api, function, output, monkeypatch, token):
    def cancel(*_):
        raise KeyError(token)

    monkeypatch.setattr(function("api").clopos, "cancel", cancel)
    answer = call_api(108)
    assert answer.told == (500, "internal_error", True)
    assert answer.headers["Retry-After"]
    [line] = output.logs("unexpected error")
    assert line["error"] == "KeyError"
    assert "in cancel" in line["stack"][-1]


TRACED = """
import json, sys
sys.path[:0] = ["functions", "."]
import api, queue_worker
from local.lambda_events import LambdaContext
from tests.handlers.conftest import http_event
api.handler(http_event("api.json", "/orders/108", '{"status": "IGNORE"}', {}), LambdaContext())
queue_worker.handler(json.load(sys.stdin), LambdaContext())
"""


def test_an_order_is_a_subsegment_with_the_call_to_clopos_under_it(
    clopos, environment, token, on_queue, on_dead_letter_queue
):
    """In its own process: X-Ray's SDK reads its environment variables when it is imported."""
    environment("LAMBDA_TASK_ROOT", str(ROOT / "functions"))
    environment(
        "_X_AMZN_TRACE_ID", "Root=1-69600000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    )
    record = json.loads((EVENTS / "queue.json").read_text())["Records"][0]
    event = json.dumps({"Records": [record]})
    with Traces() as traces:
        environment("AWS_XRAY_DAEMON_ADDRESS", traces.address)
        command = [sys.executable, "-c", TRACED]
        subprocess.run(
            command, cwd=ROOT, env=os.environ, input=event, text=True, check=True, capture_output=True
        )
    assert len(clopos.calls(108)) == 2
    assert not [segment for segment in traces.segments if token in segment]
    traced = [json.loads(text.partition("\n")[2]) for text in traces.segments]
    orders = {segment["id"]: segment for segment in traced if segment["name"] == "cancel_order"}.values()
    assert [order["annotations"] for order in orders] == [{"order_id": "108", "outcome": "cancelled"}] * 2
    calls = [call for order in orders for call in order["subsegments"]]
    seen = [
        (call["namespace"], call["http"]["request"]["method"], call["http"]["response"]["status"])
        for call in calls
    ]
    assert seen == [("remote", "PUT", 200)] * 2
