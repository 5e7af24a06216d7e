"""Issuing and checking tokens, as documented."""

import re

import pytest
import requests

from local.simulator import CREDENTIALS, REFUSALS
from tests.local.simulator.conftest import IGNORE, auth, put, rate_limit


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


def test_any_string_can_be_accepted_as_a_token(clopos):
    clopos.accept_token("local-token")
    assert put(clopos, "local-token").status_code == 200


def test_auth_can_be_slow_while_orders_are_answered_at_once(clopos, token):
    clopos.configure(auth_latency=3600)
    assert put(clopos, token).status_code == 200
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{clopos.url}/auth", json=CREDENTIALS, timeout=0.3)


def test_orders_can_be_slow_while_auth_is_answered_at_once(clopos, token):
    clopos.configure(latency=3600)
    assert auth(clopos).status_code == 200
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{clopos.url}/orders/108", headers={"x-token": token}, timeout=0.3)
