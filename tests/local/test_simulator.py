"""The Clopos simulator against the upstream's documented facts, over real HTTP."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from local.simulator import CREDENTIALS, FAULTS, REFUSALS, STYLES, Fault, Simulator, SimulatorClient

IGNORE = '{"status": "IGNORE"}'
ORDER_FIELDS = {
    "id",
    "venue_id",
    "type",
    "integration",
    "integration_uuid",
    "integration_id",
    "customer_ref_id",
    "integration_status",
    "status",
    "created_at",
    "updated_at",
    "integration_response",
}
REFUSED = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}


@pytest.fixture(scope="module")
def running():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def clopos(running):
    running.reset()
    running.add_order(108)
    return running


@pytest.fixture
def token(clopos):
    return clopos.issue_token()


def put(clopos, token, order_id=108, body=IGNORE, **headers):
    headers = {"x-token": token, "Content-Type": "application/json"} | headers
    return requests.put(f"{clopos.url}/orders/{order_id}", data=body, headers=headers, timeout=10)


def auth(clopos, **changes):
    return requests.post(f"{clopos.url}/auth", json=CREDENTIALS | changes, timeout=10)


def rate_limit(response):
    return [response.headers.get(f"RateLimit-{name}") for name in ("Limit", "Remaining", "Reset")]


# -- cancelling an order


def test_a_pending_order_is_cancelled_and_shown_whole(clopos, token):
    response = put(clopos, token)
    assert response.status_code == 200
    assert response.json() == {"success": True, "data": clopos.order(108)}
    assert set(response.json()["data"]) == ORDER_FIELDS
    assert response.json()["data"]["id"] == 108
    assert response.json()["data"]["status"] == "IGNORE"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", response.json()["data"]["updated_at"])


def test_cancelling_twice_answers_200_twice(clopos, token):
    assert [put(clopos, token).status_code for _ in range(2)] == [200, 200]
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("status", ["RECEIVED", "DELIVERED"])
def test_an_order_past_pending_is_not_cancelled(clopos, token, status):
    clopos.add_order(109, status=status)
    response = put(clopos, token, 109)
    assert (response.status_code, response.json()) == (400, REFUSED)
    assert clopos.order(109)["status"] == status


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"status": "DELIVERED"}', "Status is not allowed"),
        ('{"status": null}', "Status is not allowed"),
        ('{"status": "IGNORE", "note": "x"}', "The body must include only the status field"),
        ('["IGNORE"]', "Content-Type and body must be application/json"),
        ("status=IGNORE", "Content-Type and body must be application/json"),
        ("", "Content-Type and body must be application/json"),
        (b"\xff", "Content-Type and body must be application/json"),
    ],
)
def test_a_body_that_is_not_exactly_the_documented_one_is_refused(clopos, token, body, message):
    response = put(clopos, token, body=body)
    assert response.status_code == 400
    assert response.json() == {"success": False, "error": "validation_failed", "message": message}
    assert clopos.order(108)["status"] == "PENDING"


def test_a_body_that_is_not_declared_as_json_is_refused(clopos, token):
    assert put(clopos, token, **{"Content-Type": "text/plain"}).status_code == 400


def test_an_unknown_order_is_not_found(clopos, token):
    response = put(clopos, token, 404404)
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


def test_an_order_is_only_found_in_its_own_venue(clopos, token):
    clopos.add_order(7, venue_id=2)
    assert put(clopos, token, 7).status_code == 404
    assert put(clopos, token, 7, **{"x-venue": "1"}).status_code == 404
    assert put(clopos, token, 7, **{"x-venue": "2"}).json()["data"]["venue_id"] == 2
    assert put(clopos, clopos.issue_token(venue_id=2), 7).status_code == 200


def test_a_venue_that_is_no_number_is_a_bad_parameter(clopos, token):
    response = put(clopos, token, **{"x-venue": "main"})
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")


def test_an_order_can_be_read_with_the_same_fields_and_more(clopos, token):
    response = requests.get(f"{clopos.url}/orders/108", headers={"x-token": token}, timeout=10)
    assert response.status_code == 200
    assert set(response.json()["data"]) > ORDER_FIELDS
    assert response.json()["data"]["status"] == "PENDING"


def test_another_route_is_not_found(clopos, token):
    response = requests.delete(f"{clopos.url}/orders/108", headers={"x-token": token}, timeout=10)
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


# -- tokens


def test_auth_gives_a_token_that_works_next_to_older_ones(clopos, token):
    answer = auth(clopos).json()
    assert set(answer) == {"success", "token", "token_type", "expires_in", "expires_at", "message"}
    assert (answer["success"], answer["token_type"], answer["expires_in"]) == (True, "Bearer", 3600)
    assert isinstance(answer["expires_at"], int)
    assert answer["token"].count(".") == 2
    assert {put(clopos, each).status_code for each in (token, answer["token"])} == {200}


@pytest.mark.parametrize(
    ("changes", "status", "answer"),
    [
        (
            {"brand": ""},
            400,
            {"error": REFUSALS["missing_fields"][3], "message": REFUSALS["missing_fields"][3]},
        ),
        (
            {"integrator_id": "x"},
            400,
            {"error": "Invalid integrator_id", "message": "Invalid integrator_id"},
        ),
        ({"client_secret": "wrong"}, 401, {"message": "Invalid client credentials"}),
    ],
)
def test_auth_refuses_wrong_values_as_documented(clopos, changes, status, answer):
    response = auth(clopos, **changes)
    assert (response.status_code, response.json()) == (status, {"success": False} | answer)


def test_auth_refuses_a_body_that_is_not_json(clopos):
    response = requests.post(f"{clopos.url}/auth", data="client_id=x", timeout=10)
    assert response.json()["error"] == "Missing client_id, client_secret, brand, or integrator_id"


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Headers are missing"),
        ({"Authorization": "Bearer t"}, "Headers are missing"),
        ({"x-token": "nonsense"}, "Invalid token"),
    ],
)
def test_a_call_without_a_good_x_token_is_refused(clopos, headers, error):
    headers |= {"Content-Type": "application/json"}
    response = requests.put(f"{clopos.url}/orders/108", data=IGNORE, headers=headers, timeout=10)
    assert response.status_code == 401
    assert response.json() == {"success": False, "error": error, "message": error}
    assert rate_limit(response) == [None, None, None]


def test_a_token_past_its_lifetime_is_refused_as_expired(clopos):
    clopos.configure(token_lifetime=-1)
    answer = auth(clopos).json()
    response = put(clopos, answer["token"])
    assert (response.status_code, response.json()["error"]) == (401, "Token expired")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z", response.json()["expires_at"])


def test_tokens_can_be_made_to_expire_early(clopos, token):
    clopos.expire_tokens()
    assert put(clopos, token).json()["error"] == "Token expired"
    assert put(clopos, clopos.issue_token()).status_code == 200


def test_tokens_can_be_revoked_one_or_all(clopos, token):
    other = clopos.issue_token()
    clopos.revoke_tokens(token)
    assert (put(clopos, token).json()["error"], put(clopos, other).status_code) == ("Invalid token", 200)
    clopos.revoke_tokens()
    assert put(clopos, other).json()["error"] == "Invalid token"


def test_any_string_can_be_taken_for_a_good_token(clopos):
    clopos.accept_token("local-token")
    assert put(clopos, "local-token").status_code == 200


# -- refusals


@pytest.mark.parametrize(
    ("state", "of_auth", "of_orders"),
    [
        ("ok", (200, None), (200, None)),
        ("client_disabled", (401, "Client is disabled"), (200, None)),
        ("integrator_deactivated", (400, "Invalid integrator_id"), (401, "Invalid integrator_id")),
        ("test_mode", (401, REFUSALS["test_mode"][3]), (401, REFUSALS["test_mode"][3])),
        ("test_mode_200", (200, REFUSALS["test_mode"][3]), (200, REFUSALS["test_mode"][3])),
        ("module_missing", (200, None), (403, "does not have access to module call_center")),
    ],
)
def test_the_configuration_of_the_brand_decides_every_call(clopos, token, state, of_auth, of_orders):
    clopos.configure(state=state)
    for response, (status, error) in ((auth(clopos), of_auth), (put(clopos, token), of_orders)):
        assert (response.status_code, response.json().get("error")) == (status, error)
        assert response.json()["success"] is (error is None)


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        ("sentence", {"success": False, "error": "Invalid token", "message": "Invalid token"}),
        ("identifier", {"success": False, "error": "invalid_token", "message": "Invalid token"}),
        ("message", {"success": False, "message": "Invalid token"}),
        ("bare", {"message": "Invalid token"}),
        ("schema", {"error": "invalid_token", "message": "Invalid token", "details": None}),
    ],
)
def test_a_refusal_can_be_dressed_in_either_vocabulary(clopos, token, style, answer):
    clopos.fail(108, f"invalid_token:{style}")
    assert put(clopos, token).json() == answer
    clopos.configure(style=style)
    assert put(clopos, "nonsense").json() == answer


@pytest.mark.parametrize("name", REFUSALS)
def test_every_refusal_can_be_scripted(clopos, token, name):
    status, style, error, text = REFUSALS[name]
    clopos.fail(108, name)
    response = put(clopos, token)
    assert response.status_code == status
    assert response.json().items() >= STYLES[style](error, text).items()
    assert clopos.order(108)["status"] == "PENDING"


def test_a_scripted_refusal_says_all_that_a_real_one_does(clopos, token):
    clopos.fail(108, "token_expired", "rate_limited")
    assert put(clopos, token).json()["expires_at"].endswith("Z")
    assert rate_limit(put(clopos, token))[1:] == ["0", "1"]


# -- rate limits


def test_every_authenticated_answer_tells_of_the_tier_closest_to_its_limit(clopos, token):
    assert rate_limit(put(clopos, token))[:2] == ["300", "299"]
    assert rate_limit(put(clopos, token, 404404))[:2] == ["300", "298"]
    clopos.configure(failed_quota=2)
    assert rate_limit(put(clopos, token, 404404))[:2] == ["2", "1"]


def test_the_reset_is_whole_seconds_in_a_real_window_and_decimals_in_a_short_one(clopos, token):
    assert rate_limit(put(clopos, token))[2] == "60"
    clopos.configure(window=5)
    reset = rate_limit(put(clopos, token))[2]
    assert re.fullmatch(r"\d\.\d{3}", reset)
    assert 0 < float(reset) <= 5


def test_a_call_over_the_quota_is_refused_and_costs_no_quota_but_counts_as_failed(clopos, token):
    clopos.configure(quota=2, failed_quota=3)
    assert [put(clopos, token).status_code for _ in range(3)] == [200, 200, 429]
    refused = put(clopos, token)
    assert refused.json() == {
        "success": False,
        "error": "too_many_requests",
        "message": "Too many requests",
    }
    assert rate_limit(refused)[:2] == ["2", "0"]
    assert 0 < int(rate_limit(refused)[2]) <= 60
    assert put(clopos, token).status_code == 429  # the third failed call
    assert rate_limit(put(clopos, token))[0] == "3"


def test_unauthenticated_calls_use_up_the_failed_calls_of_the_ip(clopos, token):
    clopos.configure(failed_quota=2)
    assert [put(clopos, "nonsense").status_code for _ in range(3)] == [401, 401, 429]
    assert put(clopos, token).status_code == 429


def test_auth_has_a_tier_of_its_own(clopos, token):
    clopos.configure(auth_quota=2)
    assert [auth(clopos).status_code for _ in range(3)] == [200, 200, 429]
    assert rate_limit(auth(clopos))[:2] == ["2", "0"]
    assert put(clopos, token).status_code == 200


def test_after_the_announced_wait_a_call_is_taken_again(clopos, token):
    clopos.configure(quota=1, window=0.2)
    refused = next(r for r in iter(lambda: put(clopos, token), None) if r.status_code == 429)
    time.sleep(float(refused.headers["RateLimit-Reset"]))
    assert put(clopos, token).status_code == 200


# -- faults


def test_scripted_faults_are_met_one_a_call_and_then_the_order_is_cancelled(clopos, token):
    clopos.fail(108, Fault(500, {"message": "oops"}), "unavailable")
    clopos.fail(108, {"status": 504, "headers": {"Retry-After": "3"}}, repeat=2)
    answers = [put(clopos, token) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [500, 503, 504, 504, 200]
    assert answers[0].json() == {"message": "oops"}
    assert answers[2].headers["Retry-After"] == "3"
    assert [call.fault for call in clopos.calls(108)] == [
        "scripted",
        "unavailable",
        "scripted",
        "scripted",
        None,
    ]


def test_the_last_fault_can_be_repeated_for_ever_until_healed(clopos, token):
    clopos.fail(108, "server_error", "unavailable", repeat=None)
    assert [put(clopos, token).status_code for _ in range(4)] == [500, 503, 503, 503]
    clopos.heal()
    assert put(clopos, token).status_code == 200


def test_a_fault_of_one_order_leaves_others_alone(clopos, token):
    clopos.add_order(109)
    clopos.fail(108, "server_error")
    assert (put(clopos, token, 109).status_code, put(clopos, token).status_code) == (200, 500)


def test_an_outage_is_for_every_put_but_not_for_auth(clopos, token):
    clopos.add_order(109)
    clopos.fail_all("html")
    assert [put(clopos, token, order_id).status_code for order_id in (108, 109)] == [502, 502]
    assert auth(clopos).status_code == 200


def test_auth_can_fail_too(clopos):
    clopos.fail_auth("unavailable", "reset")
    assert auth(clopos).status_code == 503
    with pytest.raises(requests.ConnectionError):
        auth(clopos)
    assert auth(clopos).status_code == 200


def test_a_refused_call_uses_no_fault_up(clopos, token):
    clopos.fail(108, "server_error")
    assert put(clopos, "nonsense").status_code == 401
    assert put(clopos, token).status_code == 500


@pytest.mark.parametrize(
    ("name", "cancelled"),
    [("reset", "PENDING"), ("reset_after", "IGNORE"), ("close", "PENDING"), ("close_after", "IGNORE")],
)
def test_a_connection_breaks_before_or_after_the_order_was_cancelled(clopos, token, name, cancelled):
    clopos.fail(108, name)
    expected = "Connection reset by peer" if "reset" in name else "closed connection without response"
    with pytest.raises(requests.ConnectionError, match=expected):
        put(clopos, token)
    assert clopos.order(108)["status"] == cancelled
    assert [(call.status, call.fault) for call in clopos.calls(108)] == [(None, name)]


def test_a_truncated_answer_is_shorter_than_its_content_length(clopos, token):
    clopos.fail(108, "truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        put(clopos, token)
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("delivery", ["drip", "drip_headers"])
def test_a_dripping_answer_arrives_byte_by_byte(clopos, token, delivery):
    clopos.fail(108, Fault(delivery=delivery, interval=0.0005))
    assert put(clopos, token).json()["data"] == clopos.order(108)


@pytest.mark.parametrize(
    ("delivery", "patience", "at_once"), [("drip", 10, b"HTTP/1.1 200"), ("drip_headers", 0.2, b"H")]
)
def test_what_drips_slowly_does_not_come_at_once(clopos, token, delivery, patience, at_once):
    clopos.fail(108, Fault(delivery=delivery, interval=3600))
    host, port = clopos.url.removeprefix("http://").split("/")[0].split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PUT /open-api/v2/orders/108 HTTP/1.1\r\nHost: x\r\nx-token: {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(IGNORE)}\r\n\r\n{IGNORE}".encode()
        )
        connection.settimeout(patience)
        try:
            received = connection.recv(12)
        except TimeoutError:  # nothing came
            received = b""
    assert received == at_once


def test_a_delayed_answer_outlasts_the_timeout_of_an_impatient_client(clopos, token):
    clopos.fail(108, Fault(delay=60))
    with pytest.raises(requests.ReadTimeout):
        requests.put(
            f"{clopos.url}/orders/108",
            data=IGNORE,
            headers={"x-token": token, "Content-Type": "application/json"},
            timeout=0.3,
        )
    assert clopos.order(108)["status"] == "IGNORE"


def test_an_answer_from_a_proxy_is_html_without_rate_limit_headers(clopos, token):
    clopos.fail(108, "html")
    response = put(clopos, token)
    assert (response.status_code, response.headers["Content-Type"]) == (502, "text/html")
    assert response.text.startswith("<html>")
    assert rate_limit(response) == [None, None, None]


def test_an_answer_can_be_empty(clopos, token):
    clopos.fail(108, "empty")
    assert put(clopos, token).content == b""


def test_the_older_variant_of_the_answer_is_as_documented(clopos, token):
    clopos.fail(108, "older")
    assert put(clopos, token).json() == {
        "success": True,
        "data": {"id": 108, "status": "IGNORE"},
        "timestamp": "2025-10-23 14:13:09",
        "unix": 1761211989,
    }


def test_an_envelope_can_carry_extras(clopos, token):
    clopos.fail(108, "extras")
    answer = put(clopos, token).json()
    assert answer.keys() > {"success", "data", "total", "time", "sorts"}
    assert answer["data"].items() > clopos.order(108).items()


def test_a_failing_answer_may_hide_that_the_order_was_cancelled(clopos, token):
    clopos.fail(108, Fault(504, processed=True))
    assert put(clopos, token).status_code == 504
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_fault_counts_as_a_call_and_as_a_failed_one(clopos, token):
    clopos.configure(failed_quota=1)
    clopos.fail(108, "server_error")
    assert rate_limit(put(clopos, token))[:2] == ["1", "0"]
    assert put(clopos, token).status_code == 429


def test_chance_faults_are_the_same_again_with_the_same_seed(clopos, token):
    def run(seed):
        clopos.reset()
        clopos.add_orders(range(1, 61))
        clopos.fail_some(0.3, "server_error", "unavailable", seed=seed)
        order_ids = range(1, 61) if seed == 1 else range(60, 0, -1)
        return {order_id: put(clopos, token, order_id).status_code for order_id in order_ids}

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first != other
    assert {200, 500, 503} == set(first.values())


@pytest.mark.parametrize(
    "bad",
    [
        lambda clopos: clopos.add_order(1, status="LOST"),
        lambda clopos: clopos.configure(state="odd"),
        lambda clopos: clopos.configure(odd=1),
        lambda clopos: clopos.fail(1, "odd"),
        lambda clopos: clopos.fail(1),
        lambda clopos: clopos.fail(1, "html", repeat=0),
        lambda clopos: clopos.fail(1, {"delivery": "by pigeon"}),
    ],
)
def test_a_control_says_what_is_wrong_with_its_arguments(clopos, bad):
    with pytest.raises(ValueError, match=r"Error: ."):
        bad(clopos)


def test_every_named_fault_can_be_told_by_its_name(clopos):
    assert all(fault.name == name for name, fault in FAULTS.items())
    clopos.fail(108, *FAULTS)


# -- what it was sent


def test_every_call_is_recorded_as_it_came(clopos, token):
    put(clopos, token, 108, **{"x-venue": "1"})
    put(clopos, token, "a%2Fb", body="{}")
    auth(clopos)
    first, second = clopos.calls()
    assert (first.method, first.path, first.order_id) == ("PUT", "/open-api/v2/orders/108", "108")
    assert (first.body, first.status, first.fault) == (IGNORE, 200, None)
    assert (first.headers["X-Token"], first.headers["X-Venue"]) == (token, "1")
    assert second.path == "/open-api/v2/orders/a%2Fb"
    assert second.time > first.time
    assert clopos.calls(108) == clopos.calls("108") == [first]
    assert [call.path for call in clopos.calls(method="POST")] == ["/open-api/v2/auth"]
    assert len(clopos.calls(method=None)) == 3
    assert token not in repr(first)


def test_a_reset_forgets_all_but_the_tokens(clopos, token):
    clopos.configure(quota=1)
    clopos.fail_all("html")
    put(clopos, token)
    clopos.reset()
    assert (clopos.statuses(), clopos.calls(method=None), clopos.configure()["quota"]) == ({}, [], 300)
    assert put(clopos, token).status_code == 404


# -- as a process of its own


@pytest.fixture
def start():
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "local.simulator", *arguments]
        where = Path(__file__).parents[2]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_says_where_it_listens_and_ends_cleanly(start, signal_number):
    process = start("--port", "0", "--seed-orders", "3", "--token-lifetime", "120", "--accept-token", "local")
    clopos = SimulatorClient(re.search(r"http://127\.0\.0\.1:\d+/open-api/v2", process.stdout.readline())[0])
    assert clopos.statuses() == {"1": "PENDING", "2": "PENDING", "3": "PENDING"}
    assert put(clopos, "local", 3).status_code == 200
    assert auth(clopos).json()["expires_in"] == 120
    os.kill(process.pid, signal_number)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_taken_port_is_said_so(start, running):
    port = running.url.split("/")[2].split(":")[1]
    process = start("--port", port)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors == f"Clopos simulator: cannot listen on 127.0.0.1:{port}: the port is taken\n"
    with pytest.raises(OSError, match="address already in use"):
        Simulator(port=int(port)).__enter__()


def test_an_unknown_setting_is_said_so(start):
    process = start("--state", "odd")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "state is one of" in errors


def test_the_controls_are_listed_with_what_they_do(clopos):
    listed = requests.get(clopos.url.replace("/open-api/v2", "/_simulator/"), timeout=10).json()
    assert listed["heal"] == "Forget every fault that is still to come."
    assert {"add_order", "order", "fail", "calls", "issue_token", "revoke_tokens", "reset"} < set(listed)


def test_a_misspelt_argument_is_not_passed_over(clopos):
    url = clopos.url.replace("/open-api/v2", "/_simulator/fail")
    answer = requests.post(url, json={"order_id": 1, "faults": ["html"], "repeats": 3}, timeout=10)
    assert answer.status_code == 400
    assert "unexpected keyword argument 'repeats'" in answer.json()["error"]
