import json
import threading
import time

import pytest

from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.tokens import Tokens, parse_token
from local.simulator import CREDENTIALS


@pytest.fixture
def token_secret(stack, store_token, refreshable):
    """The deployed token secret; a worker may have it refreshed by the deployed function."""
    return store_token


@pytest.mark.parametrize("content", [None, "", "{}", '{"token": "half'])
def test_a_call_without_a_token_fails_and_does_not_reach_clopos(
    call_api, clopos, secret, environment, content
):
    environment("TOKEN_SECRET_ARN", secret(content or None))
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (503, "token_unavailable", True)
    assert int(answer.headers["Retry-After"]) > 0
    assert clopos.calls() == []


@pytest.mark.parametrize("said", ["token_expired", "invalid_token", "token_expired:identifier"])
def test_a_refused_token_is_refreshed_and_the_caller_notices_nothing(call_api, clopos, token_secret, said):
    token_secret({"token": clopos.issue_token()})
    clopos.fail(108, said)
    assert call_api(108).status == 200
    first, second = clopos.calls(108)
    assert first.headers["x-token"] != second.headers["x-token"]
    assert len(clopos.calls(method="POST")) == 1


def test_a_newer_token_in_the_secret_is_used_without_a_refresh(call_api, clopos, token_secret):
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    clopos.revoke_tokens()
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    assert clopos.calls(method="POST") == []


def test_a_token_in_the_secret_that_was_revoked_as_well_is_refreshed_too(call_api, clopos, token_secret):
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    token_secret({"token": clopos.issue_token()})
    clopos.revoke_tokens()
    assert call_api(108).status == 200
    assert len(clopos.calls(method="POST")) == 1


def test_a_token_past_its_expiry_is_never_used(call_api, clopos, token_secret):
    old = clopos.issue_token()
    token_secret({"token": old, "expires_at": time.time() - 1})
    assert call_api(108).status == 200
    [call] = clopos.calls(108)
    assert call.headers["x-token"] != old


def test_a_token_that_is_refused_again_after_the_refresh_is_access_denied(call_api, clopos, token_secret):
    token_secret({"token": clopos.issue_token()})
    clopos.fail(108, "invalid_token", repeat=None)
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        502,
        "clopos_access_denied",
        False,
    )
    assert answer.body["upstream"] == {"status": 401, "error": "Invalid token", "message": "Invalid token"}
    assert len(clopos.calls(108)) == 2


def test_where_nobody_may_refresh_the_secret_is_read_again_and_then_access_is_denied(
    call_api, clopos, secret, environment
):
    environment("TOKEN_SECRET_ARN", secret({"token": clopos.issue_token()}))
    environment("TOKEN_REFRESH_FUNCTION", "")
    clopos.fail(108, "token_expired")
    answer = call_api(108)
    assert (answer.body["error"], answer.body["upstream"]["status"]) == ("clopos_access_denied", 401)
    assert len(clopos.calls(108)) == 1


@pytest.mark.parametrize(
    ("auth", "error"),
    [
        ("wrong_credentials", "clopos_access_denied"),
        ("unknown_integrator", "clopos_access_denied"),
        ("client_disabled", "clopos_access_denied"),
        ("test_mode_200", "clopos_access_denied"),
        ("html_200", "clopos_bad_response"),
        ("server_error", "clopos_unavailable"),
        ("gateway_timeout", "clopos_timeout"),
    ],
)
def test_a_caller_is_told_why_there_is_no_new_token(call_api, clopos, token_secret, auth, error):
    token_secret({"token": clopos.issue_token()})
    clopos.revoke_tokens()
    clopos.fail_auth(auth, repeat=None)
    assert call_api(108).body["error"] == error
    clopos.heal()


def test_a_burst_of_workers_with_an_expired_token_leads_to_one_refresh(stack, clopos, token_secret):
    old = parse_token(json.dumps({"token": clopos.issue_token()}))
    token_secret(old.value)
    workers = [
        Tokens(stack.outputs["TokenSecretArn"], stack.outputs["TokenRefreshFunctionName"]) for _ in range(8)
    ]
    renewed = []
    threads = [
        threading.Thread(target=lambda w=worker: renewed.append(w.renew(old, Deadline.after(25))[0].value))
        for worker in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(renewed) == 8
    assert old.value not in renewed
    assert len(clopos.calls(method="POST")) == 1


# -- the refresh function


def test_a_refresh_stores_what_clopos_gave(refresh, clopos, secretsmanager, stack, output):
    result = refresh()
    stored = secretsmanager.get_secret_value(SecretId=stack.outputs["TokenSecretArn"])["SecretString"]
    assert result == {"success": True, "refreshed": True, "expires_at": json.loads(stored)["expires_at"]}
    clopos.add_order(1)
    assert parse_token(stored).value
    [call] = clopos.calls(method="POST")
    assert json.loads(call.body) == CREDENTIALS
    assert output.metrics()["TokenRefreshed"] == [1]


def test_a_request_that_another_workers_has_answered_already_fetches_nothing(
    refresh, clopos, store_token, output
):
    store_token({"token": clopos.issue_token(), "expires_at": time.time() + 3600})
    assert refresh(refused="the fingerprint of another token") == {"success": True, "refreshed": False}
    assert clopos.calls(method="POST") == []
    assert output.metrics() == {"TokenRefreshed": [0]}


@pytest.mark.parametrize(
    "credentials",
    ['{"client_id": "", "client_secret": "", "brand": "", "integrator_id": ""}', "not JSON", "[]", "{}"],
)
def test_credentials_that_nobody_filled_in_are_named_and_not_sent(
    refresh, function, clopos, secret, environment, credentials
):
    environment("CREDENTIALS_SECRET_ARN", secret(credentials))
    environment("TOKEN_SECRET_ARN", secret())
    with pytest.raises(CancelError, match="fill them in"):
        refresh()
    assert refresh(refused="x" * 16)["error"] == "clopos_access_denied"
    assert clopos.calls(method="POST") == []
