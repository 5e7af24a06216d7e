"""Scripted faults: which calls get them, and what they do."""

import socket

import pytest
import requests

from local.simulator import FAULTS, RUDE_FAULTS, Fault
from tests.local.simulator.conftest import IGNORE, auth, get, put, rate_limit


def test_each_scripted_fault_answers_one_call_and_then_the_order_is_cancelled(clopos, token):
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


def test_the_last_fault_can_be_repeated_until_healed(clopos, token):
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


def test_a_refused_call_uses_up_no_fault(clopos, token):
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
            f"PUT /open-api/v2/orders/108 HTTP/1.1\r\nHost: localhost\r\nx-token: {token}\r\n"
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


def test_random_faults_are_the_same_with_the_same_seed(clopos, token):
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
        lambda clopos: clopos.fail(1, {"delivery": "odd"}),
        lambda clopos: clopos.fail(1, {"encoding": "odd"}),
        lambda clopos: clopos.fail(1, {"variant": "odd"}),
        lambda clopos: clopos.fail(1, {"interim": [200]}),
        lambda clopos: clopos.fail(1, {"odd": 1}),
        lambda clopos: clopos.fail(1, {"body": "\ud800"}),
    ],
)
def test_a_control_says_what_is_wrong_with_its_arguments(clopos, bad):
    with pytest.raises(ValueError, match=r"Error: ."):
        bad(clopos)


@pytest.mark.parametrize("faults", [FAULTS, RUDE_FAULTS], ids=["FAULTS", "RUDE_FAULTS"])
def test_every_fault_of_the_catalogue_is_known_by_its_name(clopos, faults):
    assert all(fault.name == name for name, fault in faults.items())
    clopos.fail(108, *faults)


def test_no_two_faults_have_the_same_name():
    assert not FAULTS.keys() & RUDE_FAULTS.keys()


def test_a_read_has_faults_of_its_own(clopos, token):
    clopos.fail(108, "server_error")
    clopos.fail_get(108, "unavailable", "not_found")
    assert [get(clopos, token).status_code for _ in range(3)] == [503, 404, 200]
    assert [call.fault for call in clopos.calls(108, "GET")] == ["unavailable", "not_found", None]
    assert clopos.calls(108) == []
    assert put(clopos, token).status_code == 500


def test_an_outage_can_be_for_every_read(clopos, token):
    clopos.fail_get(108, "not_found")
    clopos.fail_all_gets("unavailable", repeat=2)
    assert [get(clopos, token).status_code for _ in range(4)] == [503, 503, 404, 200]
    assert put(clopos, token).status_code == 200


def test_fields_of_the_answer_can_be_replaced_while_the_order_is_cancelled(clopos, token):
    clopos.fail(108, Fault(data={"integration_id": 4711}))
    assert put(clopos, token).json()["data"] == clopos.order(108) | {"integration_id": 4711}
    assert clopos.order(108)["status"] == "IGNORE"


def test_an_answer_can_claim_a_cancellation_that_did_not_happen(clopos, token):
    clopos.fail(108, Fault(processed=False))
    assert put(clopos, token).json()["data"]["status"] == "IGNORE"
    assert clopos.order(108)["status"] == "PENDING"


def test_a_fault_leaves_clopos_s_own_refusal_as_it_is(clopos, token):
    clopos.add_order(109, status="DELIVERED")
    clopos.fail(109, Fault(data={"id": 1}, variant="older"))
    assert put(clopos, token, 109).json()["message"] == "Status is not allowed"


def test_a_body_can_be_any_bytes(clopos, token):
    everything = bytes(range(256))
    clopos.fail(108, Fault(200, everything))
    assert put(clopos, token).content == everything
