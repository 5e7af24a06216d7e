"""Every documented refusal, in every documented shape."""

import pytest

from local.simulator import REFUSALS, STYLES
from tests.local.simulator.conftest import auth, get, put, rate_limit


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
def test_a_refusal_can_have_any_style(clopos, token, style, answer):
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


@pytest.mark.parametrize(
    ("call", "status", "error"),
    [
        (lambda clopos, token: put(clopos, "nonsense"), 401, "unauthorized"),
        (lambda clopos, token: put(clopos, ""), 401, "unauthorized"),
        (lambda clopos, token: put(clopos, clopos.issue_token(expires_in=-1)), 401, "unauthorized"),
        (lambda clopos, token: put(clopos, token, 404404), 404, "resource_not_found"),
        (lambda clopos, token: put(clopos, token, body="{}"), 400, "invalid_parameter"),
        (lambda clopos, token: get(clopos, token, **{"with[0]": "customer:id"}), 400, "invalid_parameter"),
        (lambda clopos, token: put(clopos, token, body='{"status": "DELIVERED"}'), 400, "validation_failed"),
    ],
)
def test_the_order_pages_name_the_same_errors_differently(clopos, token, call, status, error):
    clopos.configure(vocabulary="orders")
    response = call(clopos, token)
    assert (response.status_code, response.json()["error"]) == (status, error)


def test_the_order_pages_do_not_tell_a_missing_token_from_an_invalid_or_expired_one(clopos):
    clopos.configure(vocabulary="orders")
    messages = {put(clopos, token).json()["message"] for token in ("", "nonsense", clopos.issue_token(-1))}
    assert messages == {"Missing or invalid authentication headers"}


def test_the_order_pages_name_a_full_quota_rate_limited(clopos, token):
    clopos.configure(vocabulary="orders", quota=1)
    assert [put(clopos, token).json().get("error") for _ in range(2)] == [None, "rate_limited"]
