"""Cancelling and reading orders, as documented."""

import re

import pytest
import requests

from local.simulator import CUSTOMER
from tests.local.simulator.conftest import RECEIPT, get, put

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


def test_an_order_can_be_read_with_its_customer_and_is_not_changed_by_it(clopos, token):
    response = get(clopos, token)
    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "data": clopos.order(108) | {"payload": {"customer": CUSTOMER}},
    }
    assert clopos.order(108)["status"] == "PENDING"


def test_a_cancelled_order_shows_no_customer(clopos, token):
    assert "payload" not in put(clopos, token).json()["data"]


def test_an_order_is_read_with_its_receipt_if_asked(clopos, token):
    clopos.add_order(109, status="RECEIVED", receipt_id=10950)
    receipt = {"id": 10950, "service_notification_id": None, "status": "OPEN"}
    assert get(clopos, token, 109, **RECEIPT).json()["data"]["receipt"] == receipt
    assert "receipt" not in get(clopos, token, 109).json()["data"]
    some = get(clopos, token, 109, **{"with[0]": "receipt:id,status"})
    assert some.json()["data"]["receipt"] == {"id": 10950, "status": "OPEN"}


def test_the_receipt_of_an_order_without_one_is_null(clopos, token):
    clopos.add_order(108, receipt_id=1)
    clopos.add_order(108)
    assert get(clopos, token, **RECEIPT).json()["data"]["receipt"] is None


@pytest.mark.parametrize("asked", ["receipt:total", "customer:id", "receipt", "id"])
def test_an_unknown_relation_is_a_bad_parameter(clopos, token, asked):
    response = get(clopos, token, **{"with[0]": asked})
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")


def test_an_unknown_order_cannot_be_read(clopos, token):
    assert get(clopos, token, 404404).status_code == 404
    assert requests.get(f"{clopos.url}/orders/108", timeout=10).json()["error"] == "Headers are missing"


def test_a_strict_clopos_rejects_an_order_that_is_cancelled_already(clopos, token):
    clopos.configure(strict=True)
    assert put(clopos, token).status_code == 200
    again = put(clopos, token)
    assert (again.status_code, again.json()) == (400, REFUSED)
    assert get(clopos, token).json()["data"]["status"] == "IGNORE"


def test_an_order_may_have_an_id_that_is_no_number(clopos, token):
    clopos.add_order("ORD-12345")
    assert put(clopos, token, "ORD-12345").json()["data"]["id"] == "ORD-12345"


def test_another_route_is_not_found(clopos, token):
    response = requests.delete(f"{clopos.url}/orders/108", headers={"x-token": token}, timeout=10)
    assert (response.status_code, response.json()["error"]) == (404, "not_found")
