"""`PUT /orders/{id}`: the request, the calls to Clopos, and the response."""

import json
import os
import subprocess
import sys

import pytest

from local.common import ROOT
from local.simulator import Fault
from tests.handlers.conftest import EVENTS
from tests.traces import Traces

# The example of Clopos's documentation.
DOCUMENTED = json.loads("""{
    "id": 108, "venue_id": 1, "type": "CALL_CENTER_ORDER",
    "integration": "call_center_new", "integration_uuid": null, "integration_id": null,
    "customer_ref_id": null, "integration_status": "CREATED", "status": "IGNORE",
    "created_at": "2026-02-02T13:45:53.000000Z", "updated_at": "2026-02-02T17:46:02.000000Z",
    "integration_response": null
}""")
ORDER = DOCUMENTED | {"created_at": "2026-02-02T13:45:53Z", "updated_at": "2026-02-02T17:46:02Z"}
BODY = 'the body must be exactly {"status": "IGNORE"}'
ID = "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (DOCUMENTED, ORDER),
        ({"id": 108, "status": "IGNORE"}, dict.fromkeys(ORDER) | {"id": 108, "status": "IGNORE"}),
        (
            DOCUMENTED
            | {"integration_id": 4711, "integration_response": "accepted", "receipt_id": 10950, "type": 7},
            ORDER | {"integration_id": "4711", "type": None},
        ),
        (DOCUMENTED | {"integration_response": {"code": 3}}, ORDER | {"integration_response": {"code": 3}}),
    ],
    ids=["documented", "older", "from a live brand", "with a response"],
)
def test_a_cancelled_order_is_answered_in_the_contracts_shape(clopos, call_api, said, answered):
    clopos.fail(108, Fault(200, {"success": True, "data": said, "total": 1, "unix": 1761211989}))
    answer = call_api(108)
    assert (answer.status, answer.body) == (
        200,
        {"success": True, "data": answered, "request_id": "request-1"},
    )
    assert list(answer.body["data"]) == list(ORDER)


def test_the_order_is_cancelled_at_clopos_and_reported(clopos, call_api, output):
    answer = call_api(108, headers={"x-venue": "1", "x-correlation-id": "request-0"})
    assert clopos.order(108)["status"] == "IGNORE"
    [line] = output.orders()
    assert (line["message"], line["level"]) == ("order cancelled", "INFO")
    assert (line["source"], line["order_id"], line["venue_id"]) == ("api", "108", 1)
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


@pytest.mark.parametrize("sent", ["x" * 129, "two\nlines", ""])
def test_a_correlation_id_that_cannot_be_logged_is_absent(call_api, output, sent):
    call_api(108, headers={"x-correlation-id": sent})
    assert output.orders()[0].get("correlation_id") is None


def test_clopos_gets_exactly_the_documented_call_from_a_client_with_a_name(clopos, call_api, token):
    call_api(108)
    [call] = clopos.calls()
    assert (call.method, call.path) == ("PUT", "/open-api/v2/orders/108")
    assert json.loads(call.body) == {"status": "IGNORE"}
    headers = {name: call.headers[name] for name in ("content-type", "accept", "x-token")}
    assert headers == {"content-type": "application/json", "accept": "application/json", "x-token": token}
    assert call.headers["user-agent"].startswith("clopos-cancel/")
    assert not {"authorization", "x-venue", "cookie"} & {name.lower() for name in call.headers}


def test_no_cookie_of_clopos_is_sent_back(clopos, call_api):
    clopos.fail(108, Fault(headers={"Set-Cookie": "session=1; Path=/"}))
    assert [call_api(108).status for _ in range(2)] == [200, 200]
    assert "cookie" not in clopos.calls()[-1].headers


def test_a_venue_is_passed_on(clopos, call_api):
    clopos.add_order(7, venue_id=31)
    answer = call_api(7, headers={"X-Venue": "31"})
    assert (answer.status, answer.body["data"]["venue_id"]) == (200, 31)
    assert clopos.calls(7)[0].headers["x-venue"] == "31"


@pytest.mark.parametrize("order_id", ["1", "a-b_C9", "0", "x" * 64])
def test_every_id_of_the_contract_reaches_clopos(clopos, call_api, order_id):
    clopos.add_order(order_id)
    assert call_api(order_id).status == 200
    assert clopos.order(order_id)["status"] == "IGNORE"


def test_proxies_of_the_environment_get_no_token(environment, call_api):
    call_api(108)  # has read the token secret: that call may go through a proxy
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        environment(name, "http://127.0.0.1:9")
    assert call_api(108).status == 200


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"order_id": "../1"}, ID),
        ({"headers": {"x-venue": ["1", "1"]}}, "x-venue: send it once"),
        ({"body": '{"status": "RECEIVED"}'}, BODY),
        ({"body": '{"status": "RECEIVED", "status": "IGNORE"}'}, "a key occurs twice in the JSON"),
        ({"queryStringParameters": {"x": "2"}}, "send no query parameters"),
    ],
    ids=["id", "venue", "body", "key", "query"],
)
def test_bad_input_is_refused_with_what_to_change(clopos, call_api, output, call, message):
    answer = call_api(**call)
    expected = {"success": False, "error": "invalid_request", "message": message, "retryable": False}
    assert (answer.status, answer.body) == (400, expected | {"request_id": "request-1", "upstream": None})
    assert "Retry-After" not in answer.headers
    assert clopos.calls() == []
    [line] = output.orders()
    assert (line["message"], line["outcome"], line["attempts"]) == ("order not cancelled", "rejected", 0)
    assert (line["result"], line["order_id"], line["venue_id"]) == (answer.body, None, None)
    assert output.metrics() == {"OrdersRejected": [1]}


def test_a_byte_order_mark_before_the_body_is_nothing(call_api):
    assert call_api(108, '\ufeff{"status": "IGNORE"}').status == 200


@pytest.mark.parametrize("order_id", [108, 404])
def test_an_answer_must_not_be_cached_or_sniffed(call_api, order_id):
    headers = call_api(order_id).headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("asked", "retry_after"),
    [
        ({"RateLimit-Reset": "40.2"}, 41),
        ({"RateLimit-Reset": "30", "Retry-After": "50"}, 50),
        ({"Retry-After": "300"}, 300),
        ({"RateLimit-Reset": None}, 60),
        ({"RateLimit-Reset": "soon"}, 60),
        ({"RateLimit-Reset": "nan", "Retry-After": "-1"}, 60),
        ({"RateLimit-Reset": "9" * 5000, "Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"}, 60),
    ],
)
def test_a_caller_is_asked_to_wait_as_long_as_clopos_asks_or_a_sane_time(
    clopos, call_api, asked, retry_after
):
    clopos.fail(108, Fault(429, {"success": False, "error": "too_many_requests"}, asked), repeat=None)
    answer = call_api(108, remaining_s=4.5)
    assert (answer.status, answer.body["error"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) == retry_after


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
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (500, "internal_error", True)
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
    trace = "Root=1-69600000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    environment("_X_AMZN_TRACE_ID", trace)
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
    assert [call["namespace"] for call in calls] == ["remote"] * 2
    assert [call["http"]["request"]["method"] for call in calls] == ["PUT"] * 2
    assert [call["http"]["response"]["status"] for call in calls] == [200] * 2
