"""Refusals in all their forms, and scripted faults: which calls get them, and what they do."""

import http.client
import ssl

import pytest
import requests

from local.simulator import FORMS, Fault, inner_token, quoting, refusal
from tests.local.simulator.conftest import IGNORE, auth, get, put


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        ("message", {"success": False, "message": "Order not found"}),
        ("schema", {"error": "not_found", "message": "Order not found", "details": None}),
    ],
)
def test_a_refusal_can_have_any_style(clopos, token, style, answer):
    clopos.fail(108, f"not_found:{style}")
    assert put(clopos, token).json() == answer
    clopos.configure(style=style)
    assert put(clopos, token, 404404).json() == answer


@pytest.mark.parametrize("status", [200, 400, 404])
def test_nobody_knows_the_status_of_a_list_of_objects(clopos, token, status):
    clopos.configure(style="objects", objects_status=status)
    clopos.fail(109, refusal("not_found", "objects", status))
    for order_id in (404404, 109):
        response = put(clopos, token, order_id)
        assert (response.status_code, response.json()["success"]) == (status, False)
        said = {"message": "Order not found", "type": "server_side", "exception": "NotFoundHttpException"}
        assert response.json()["error"] == [said | {"http_code": 404}]


@pytest.mark.parametrize(
    ("vocabulary", "errors"),
    [
        ("errors", ("Invalid token", "not_found", "validation_failed")),
        ("orders", ("unauthorized", "resource_not_found", "invalid_parameter")),
        ("live", ("Invalid token", "NotFoundHttpException", "validation_failed")),
    ],
)
def test_the_same_errors_have_different_names(clopos, token, vocabulary, errors):
    clopos.configure(vocabulary=vocabulary)
    answers = [put(clopos, "nonsense"), put(clopos, token, 404404), put(clopos, token, body="{}")]
    found = [answer.json()["error"] for answer in answers]
    assert tuple(error[0]["exception"] if isinstance(error, list) else error for error in found) == errors


@pytest.mark.parametrize(("kind", "status"), [("html", 404), ("redirect", 302)])
def test_a_backend_for_browsers_refuses_in_json_only_if_asked(clopos, token, kind, status):
    clopos.configure(for_browsers=kind)
    assert put(clopos, token).status_code == 200
    response = put(clopos, token, 404404)
    assert (response.history or [response])[0].status_code == status
    assert put(clopos, token, 404404, Accept="application/json").json()["error"] == "not_found"


# -- which calls


def test_each_fault_answers_one_call_and_the_last_one_as_often_as_asked(clopos, token):
    clopos.add_order(109)
    clopos.fail(108, Fault(500, {"message": "oops"}), {"status": 504, "headers": {"Retry-After": "3"}})
    clopos.fail(108, "unavailable", repeat=2)
    assert put(clopos, "nonsense").status_code == 401  # uses up no fault
    assert put(clopos, token, 109).status_code == 200
    answers = [put(clopos, token) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [500, 504, 503, 503, 200]
    assert (answers[0].json(), answers[1].headers["Retry-After"]) == ({"message": "oops"}, "3")
    assert [call.fault for call in clopos.calls(108)][2:] == ["scripted", "unavailable", "unavailable", None]


def test_faults_are_for_one_order_or_all_for_puts_reads_or_auth(clopos, token):
    clopos.fail_all("unavailable")
    clopos.fail_get(108, "not_found")
    clopos.fail_all_gets("server_error", repeat=1)
    clopos.fail_auth("gateway_timeout")
    assert [get(clopos, token).status_code for _ in range(3)] == [500, 404, 200]
    assert [auth(clopos).status_code for _ in range(2)] == [504, 200]
    assert [put(clopos, token).status_code for _ in range(3)] == [503, 503, 503]
    clopos.heal()
    assert put(clopos, token).status_code == 200


@pytest.mark.parametrize("fault", ["odd", "not_found:odd", {"wire": "odd"}, {"odd": 1}], ids=str)
def test_a_fault_that_does_not_exist_is_an_error(clopos, fault):
    with pytest.raises(ValueError, match=r"Error: ."):
        clopos.fail(108, fault)


# -- what they do


def test_a_second_answer_comes_on_the_connection_that_nobody_asked_on(clopos, token):
    clopos.fail(108, Fault(404, "{}", wire="second_answer", interval=0))
    connection = http.client.HTTPConnection(clopos.url.split("/")[2])
    headers = {"x-token": token, "Content-Type": "application/json"}
    connection.request("PUT", "/open-api/v2/orders/108", IGNORE, headers)
    received = b""
    while b"IGNORE" not in received:
        received += connection.sock.recv(65536)
    connection.close()
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"404", b"200"]


@pytest.mark.parametrize("form", FORMS)
def test_an_error_can_quote_the_token_inside_the_token(clopos, token, form):
    clopos.fail(108, quoting("inner_token", form))
    assert f"value {FORMS[form](inner_token(token))} is" in put(clopos, token).json()["message"]


def test_an_answer_can_be_wrong_about_its_order(clopos, token):
    clopos.fail(108, Fault(data={"id": 1}, processed=False), Fault(504, processed=True))
    assert put(clopos, token).json()["data"].items() > {"id": 1, "status": "IGNORE"}.items()
    assert clopos.order(108)["status"] == "PENDING"
    assert put(clopos, token).status_code == 504
    assert clopos.order(108)["status"] == "IGNORE"


# -- TLS


def test_the_same_is_served_over_tls_to_those_who_trust_its_certificate(clopos, token):
    trusting = ssl.create_default_context(cafile=clopos.ca_file)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # Python's default from 3.13 on
    connection = http.client.HTTPSConnection(clopos.tls_url.split("/")[2], context=trusting)
    connection.request("GET", "/open-api/v2/orders/108", headers={"x-token": token})
    assert connection.getresponse().status == 200
    connection.close()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{clopos.tls_url}/orders/108", timeout=10)
