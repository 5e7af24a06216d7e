"""Cancelling and reading orders, the quotas, and the tokens, as documented or reported; what is recorded."""

import re
import time

import jwt
import pytest
import requests

from local.simulator import CUSTOMER, STATUSES
from tests.local.simulator.conftest import IGNORE, RECEIPT, auth, get, put, rate_limit

REFUSED = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}


def test_a_pending_order_is_cancelled_and_shown_whole(clopos, token):
    response = put(clopos, token)
    assert response.status_code == 200
    assert response.json() == {"success": True, "data": clopos.order(108)}
    data = response.json()["data"]
    assert len(data) == 12  # documented fields
    assert (data["id"], data["status"]) == (108, "IGNORE")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", data["updated_at"])


@pytest.mark.parametrize(("strict", "status"), [(False, 200), (True, 400)])
def test_an_order_that_is_cancelled_already_is_cancelled_again_unless_clopos_is_strict(
    clopos, token, strict, status
):
    clopos.configure(strict=strict)
    assert [put(clopos, token).status_code for _ in range(2)] == [200, status]
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("status", sorted(set(STATUSES) - {"PENDING", "IGNORE"}))
def test_an_order_past_pending_is_not_cancelled(clopos, token, status):
    clopos.add_order(109, status=status)
    response = put(clopos, token, 109)
    assert (response.status_code, response.json()) == (400, REFUSED)
    assert clopos.order(109)["status"] == status


def test_an_order_may_exist_only_after_a_while(clopos, token):
    clopos.add_order(109, exists_in=3600)
    assert [call(clopos, token, 109).status_code for call in (put, get)] == [404, 404]
    clopos.add_order(109, exists_in=0)
    assert put(clopos, token, 109).status_code == 200


def test_a_read_may_lag_behind_a_cancellation(clopos, token):
    clopos.configure(read_lag=3600, strict=True)
    assert [put(clopos, token).status_code for _ in range(2)] == [200, 400]
    assert get(clopos, token).json()["data"]["status"] == "PENDING"
    clopos.configure(read_lag=0)
    assert get(clopos, token).json()["data"]["status"] == "IGNORE"


def test_an_order_is_only_found_in_its_own_venue(clopos, token):
    clopos.add_order(7, venue_id=2)
    assert put(clopos, token, 7).status_code == 404
    assert put(clopos, token, 7, **{"x-venue": "2"}).json()["data"]["venue_id"] == 2
    assert put(clopos, clopos.issue_token(venue_id=2), 7).status_code == 200


def test_an_order_is_read_with_its_customer_and_its_receipt_and_not_changed(clopos, token):
    clopos.add_order("ORD-1", status="RECEIVED", receipt_id=10950)
    receipt = {"id": 10950, "service_notification_id": None, "status": "OPEN"}
    whole = clopos.order("ORD-1") | {"payload": {"customer": CUSTOMER}}
    assert get(clopos, token, "ORD-1").json() == {"success": True, "data": whole}
    assert get(clopos, token, "ORD-1", **RECEIPT).json()["data"] == whole | {"receipt": receipt}
    assert get(clopos, token, **RECEIPT).json()["data"]["receipt"] is None
    clopos.add_order(109, auto_order_accept=True)
    assert get(clopos, token, 109, **RECEIPT).json()["data"]["receipt"]["id"] == 10950
    assert clopos.order(109)["status"] == "RECEIVED"
    assert clopos.order("ORD-1")["status"] == "RECEIVED"


# -- quotas


def test_every_authenticated_answer_tells_of_the_tier_closest_to_its_limit(clopos, token):
    assert rate_limit(put(clopos, token)) == ["300", "299", "60"]
    assert rate_limit(get(clopos, token, 404404))[:2] == ["300", "298"]
    assert rate_limit(put(clopos, "nonsense")) == [None, None, None]
    clopos.configure(failed_quota=2)
    assert rate_limit(put(clopos, token, 404404))[:2] == ["2", "1"]


def test_a_call_over_the_quota_is_refused_and_costs_no_quota_but_counts_as_failed(clopos, token):
    clopos.configure(quota=2, failed_quota=2)
    assert [put(clopos, token).status_code for _ in range(3)] == [200, 200, 429]
    refused = put(clopos, token)
    assert (refused.status_code, refused.json()["error"]) == (429, "too_many_requests")
    assert rate_limit(refused)[:2] == ["2", "0"]
    assert put(clopos, "nonsense").status_code == 429  # the failed calls, which come before the token
    clopos.configure(auth_quota=1)
    assert [auth(clopos).status_code for _ in range(2)] == [200, 429]


def test_after_the_announced_wait_a_call_is_taken_again(clopos, token, monkeypatch):
    clopos.configure(quota=1, window=50)
    assert put(clopos, token).status_code == 200
    reset = rate_limit(put(clopos, token))[2]
    assert re.fullmatch(r"\d+\.\d{3}", reset)  # decimals, since the window is shorter than Clopos's
    now = time.monotonic
    monkeypatch.setattr("local.simulator.rate_limits.time.monotonic", lambda: now() + float(reset))
    assert put(clopos, token).status_code == 200


# -- tokens


def test_auth_gives_a_token_that_holds_the_upstreams_own_one(clopos):
    answer = auth(clopos).json()
    assert set(answer) == {"success", "token", "token_type", "expires_in", "expires_at", "message"}
    token = answer["token"]
    assert put(clopos, token).status_code == 200
    payload = jwt.decode(token, options={"verify_signature": False})
    assert set(payload) == {"token", "brand", "stage", "venue_id", "integrator_id", "iat", "exp"}
    assert payload["token"].startswith("oauth_")


def test_a_token_can_be_unknown_expired_or_revoked(clopos, token):
    assert requests.get(f"{clopos.url}/orders/108", timeout=10).json()["error"] == "Headers are missing"
    assert put(clopos, "nonsense").json()["error"] == "Invalid token"
    expired = put(clopos, clopos.issue_token(-1)).json()
    assert (expired["error"], expired["expires_at"][-1]) == ("Token expired", "Z")
    other = clopos.issue_token()
    clopos.revoke_tokens(token)
    assert [put(clopos, each).status_code for each in (token, other)] == [401, 200]
    clopos.expire_tokens()
    assert put(clopos, other).json()["error"] == "Token expired"


# -- what is recorded


def test_every_call_is_recorded(clopos, token):
    put(clopos, token, 108, **{"x-venue": "1"})
    put(clopos, token, "a%2Fb", body="{}")
    auth(clopos)
    first, second = clopos.calls()
    assert (first.method, first.path, first.order_id) == ("PUT", "/open-api/v2/orders/108", "108")
    assert (first.body, first.status, first.fault) == (IGNORE, 200, None)
    assert (first.headers["X-Token"], first.headers["X-Venue"]) == (token, "1")
    assert second.path == "/open-api/v2/orders/a%2Fb"
    assert clopos.calls(108) == clopos.calls("108") == [first]
    assert [call.path for call in clopos.calls(method="POST")] == ["/open-api/v2/auth"]
    assert token not in repr(first)


def test_a_reset_forgets_all_but_the_tokens(clopos, token):
    clopos.configure(quota=1)
    clopos.fail_all("html")
    put(clopos, token)
    clopos.reset()
    assert (clopos.statuses(), clopos.calls(method=None), clopos.configure()["quota"]) == ({}, [], 300)
    assert put(clopos, token).status_code == 404
