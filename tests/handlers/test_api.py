"""`PUT /orders/{id}`: the request, the calls to Clopos, and the response."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.emulator.xray import address, open_daemon
from local.simulator import Fault

ROOT = Path(__file__).parents[2]

ORDER = {
    "id": 108,
    "venue_id": 1,
    "type": "CALL_CENTER_ORDER",
    "integration": "call_center_new",
    "integration_uuid": None,
    "integration_id": None,
    "customer_ref_id": None,
    "integration_status": "CREATED",
    "status": "IGNORE",
    "created_at": "2026-02-02T13:45:53Z",
    "updated_at": "2026-02-02T17:46:02Z",
    "integration_response": None,
}
DOCUMENTED = ORDER | {
    "created_at": "2026-02-02T13:45:53.000000Z",
    "updated_at": "2026-02-02T17:46:02.000000Z",
}
ONLY_ID = dict.fromkeys(ORDER) | {"id": 108, "status": "IGNORE"}

BODY = 'the body must be exactly {"status": "IGNORE"}'
ID = "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"


def test_a_cancelled_order_is_answered_in_the_contracts_shape(clopos, call_api):
    clopos.fail(108, Fault(200, {"success": True, "data": DOCUMENTED}))
    answer = call_api(108)
    assert answer.status == 200
    assert answer.body == {"success": True, "data": ORDER, "request_id": "request-1"}
    assert list(answer.body["data"]) == list(ORDER)


def test_the_order_is_cancelled_at_clopos_and_reported(clopos, call_api, output):
    answer = call_api(108, headers={"x-venue": "1"})
    assert clopos.order(108)["status"] == "IGNORE"
    [line] = output.orders()
    assert line["message"] == "order cancelled"
    assert line["level"] == "INFO"
    assert (line["source"], line["order_id"], line["venue_id"]) == ("api", "108", 1)
    assert (line["outcome"], line["attempts"]) == ("cancelled", 1)
    answer.body["data"].pop("integration_response")  # free-form, so it may contain customer data
    assert line["result"] == answer.body
    assert 0 <= line["duration_ms"] < 60_000
    metrics = output.metrics()
    [latency_ms] = metrics.pop("CloposLatency")
    assert latency_ms > 0
    assert metrics == {"OrdersCancelled": [1], "CloposQuotaLeft": [299]}


def test_metrics_have_the_contracts_namespace_and_units(call_api, output):
    call_api(108)
    [emf] = [line["_aws"]["CloudWatchMetrics"][0] for line in output.lines() if "OrdersCancelled" in line]
    assert emf["Namespace"] == "CloposOrders"
    assert sorted((metric["Name"], metric["Unit"]) for metric in emf["Metrics"]) == [
        ("CloposLatency", "Milliseconds"),
        ("CloposQuotaLeft", "Count"),
        ("OrdersCancelled", "Count"),
    ]


def test_the_older_answer_leaves_nulls(clopos, call_api):
    clopos.fail(
        108, Fault(200, {"success": True, "data": {"id": 108, "status": "IGNORE"}, "unix": 1761211989})
    )
    assert call_api(108).body["data"] == ONLY_ID


def test_unknown_upstream_fields_are_dropped(clopos, call_api):
    clopos.fail(108, "live_fields")
    body = call_api(108).body
    assert set(body) == {"success", "data", "request_id"}
    assert set(body["data"]) == set(ORDER)


@pytest.mark.parametrize(
    ("upstream", "answered"),
    [
        ("2026-02-02T17:46:02.999999Z", "2026-02-02T17:46:02Z"),
        ("2026-02-02T21:46:02+04:00", "2026-02-02T17:46:02Z"),
        ("2026-02-02T17:46:02", "2026-02-02T17:46:02Z"),
        ("2026-02-02 17:46:02", "2026-02-02T17:46:02Z"),
        (None, None),
    ],
)
def test_timestamps_become_rfc_3339_in_utc(clopos, call_api, upstream, answered):
    clopos.fail(108, Fault(200, {"success": True, "data": ORDER | {"updated_at": upstream}}))
    assert call_api(108).body["data"]["updated_at"] == answered


def test_what_clopos_says_about_the_order_is_passed_on(clopos, call_api):
    said = {"integration_uuid": "4f5a", "customer_ref_id": "ref-7", "integration_response": {"code": 3}}
    clopos.fail(108, Fault(200, {"success": True, "data": DOCUMENTED | said}))
    assert call_api(108).body["data"] == ORDER | said


def test_cancelling_twice_is_answered_twice(call_api):
    assert [call_api(108).status for _ in range(2)] == [200, 200]


# -- the call to Clopos


def test_clopos_gets_exactly_the_documented_call(clopos, call_api, token):
    call_api(108)
    [call] = clopos.calls()
    assert (call.method, call.path) == ("PUT", "/open-api/v2/orders/108")
    assert json.loads(call.body) == {"status": "IGNORE"}
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-token"] == token
    assert "authorization" not in call.headers
    assert "x-venue" not in call.headers


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


def test_one_connection_serves_many_calls(clopos, call_api, connections):
    for _ in range(5):
        call_api(108)
    assert len(clopos.calls()) == 5
    assert len(connections) == 1


def test_proxies_of_the_environment_get_no_token(environment, call_api):
    call_api(108)  # has read the token secret: that call may go through a proxy
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        environment(name, "http://127.0.0.1:9")
    assert call_api(108).status == 200


# -- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"order_id": "../1"}, ID),
        ({"headers": {"x-venue": ["1", "1"]}}, "x-venue: send it once"),
        ({"body": '{"status": "RECEIVED"}'}, BODY),
        ({"queryStringParameters": {"x": "2"}}, "send no query parameters"),
    ],
    ids=["id", "venue", "body", "query"],
)
def test_bad_input_is_refused_with_what_to_change(clopos, call_api, output, call, message):
    answer = call_api(**call)
    assert answer.status == 400
    assert answer.body == {
        "success": False,
        "error": "invalid_request",
        "message": message,
        "retryable": False,
        "request_id": "request-1",
        "upstream": None,
    }
    assert "Retry-After" not in answer.headers
    assert clopos.calls() == []
    [line] = output.orders()
    assert (line["message"], line["outcome"], line["attempts"]) == ("order not cancelled", "rejected", 0)
    assert line["result"] == answer.body
    assert (line["order_id"], line["venue_id"]) == (None, None)
    assert output.metrics() == {"OrdersRejected": [1]}


# -- the response


@pytest.mark.parametrize("order_id", [108, 404])
def test_an_answer_must_not_be_cached_or_sniffed(call_api, order_id):
    headers = call_api(order_id).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("asked", "retry_after"),
    [
        ({"RateLimit-Reset": "41"}, "41"),
        ({"RateLimit-Reset": "40.2"}, "41"),
        ({"RateLimit-Reset": "30", "Retry-After": "50"}, "50"),
        ({"Retry-After": "300"}, "300"),
    ],
)
def test_a_caller_is_asked_to_wait_as_long_as_clopos_asks(clopos, call_api, asked, retry_after):
    clopos.fail(108, Fault(429, {"success": False, "error": "too_many_requests"}, asked), repeat=None)
    answer = call_api(108)
    assert (answer.status, answer.body["error"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == retry_after


@pytest.mark.parametrize(
    "asked", [{}, {"RateLimit-Reset": "soon"}, {"Retry-After": "-1"}, {"Retry-After": "inf"}]
)
def test_a_caller_is_asked_to_wait_even_if_clopos_does_not_say_how_long(clopos, call_api, asked):
    answered = Fault(429, {"success": False}, {"RateLimit-Reset": None} | asked)
    clopos.fail(108, answered, repeat=None)
    assert int(call_api(108).headers["Retry-After"]) >= 1


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


# -- traces

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
    record = json.loads((ROOT / "events" / "queue.json").read_text())["Records"][0]
    environment("LAMBDA_TASK_ROOT", str(ROOT / "functions"))
    environment(
        "_X_AMZN_TRACE_ID", "Root=1-69600000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    )
    with open_daemon() as daemon:
        environment("AWS_XRAY_DAEMON_ADDRESS", address(daemon))
        subprocess.run(
            [sys.executable, "-c", TRACED],
            cwd=ROOT,
            env=os.environ,
            input=json.dumps({"Records": [record]}),
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        daemon.setblocking(False)
        segments = []
        while True:
            try:
                segments.append(daemon.recv(65536).decode())
            except BlockingIOError:  # nothing more was received
                break
    assert len(clopos.calls(108)) == 2
    assert not [segment for segment in segments if token in segment]
    traced = {
        segment["id"]: segment for segment in (json.loads(text.partition("\n")[2]) for text in segments)
    }
    orders = [segment for segment in traced.values() if segment["name"] == "cancel_order"]
    assert [order["annotations"] for order in orders] == [{"order_id": "108", "outcome": "cancelled"}] * 2
    calls = [call for order in orders for call in order["subsegments"]]
    assert [call["namespace"] for call in calls] == ["remote"] * 2
    assert [call["http"]["request"]["method"] for call in calls] == ["PUT"] * 2
    assert [call["http"]["response"]["status"] for call in calls] == [200] * 2
