"""The token: callers do not notice that it expires, and no more tokens are requested than needed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import cancellation.tokens
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.tokens import Tokens, parse_token
from local.simulator import CREDENTIALS, Fault

EXPIRED = time.time() - 1


@pytest.fixture
def token_secret(secretsmanager, secret, environment, refreshable):
    """Put something into the token secret, which the workers and the refresh share."""
    arn = secret({"token": "not-used-yet"})
    environment("TOKEN_SECRET_ARN", arn)

    def store(value):
        text = value if isinstance(value, str) else json.dumps(value)
        secretsmanager.put_secret_value(SecretId=arn, SecretString=text)

    store.arn = arn
    return store


def refreshes(clopos):
    return len(clopos.calls(method="POST"))


# -- without a token


@pytest.mark.parametrize("content", [None, "", "{}", '{"token": "half', b"\x00"])
def test_a_call_without_a_token_fails_and_does_not_reach_clopos(
    call_api, clopos, secret, environment, content
):
    environment("TOKEN_SECRET_ARN", secret(content or None))
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (503, "token_unavailable", True)
    assert int(answer.headers["Retry-After"]) > 0
    assert clopos.calls() == []


def test_without_a_refresh_function_the_secret_is_read_again_and_then_access_is_denied(
    call_api, clopos, secret, environment
):
    environment("TOKEN_SECRET_ARN", secret({"token": clopos.issue_token()}))
    environment("TOKEN_REFRESH_FUNCTION", "")
    clopos.revoke_tokens()
    answer = call_api(108)
    assert (answer.body["error"], answer.body["upstream"]["status"]) == ("clopos_access_denied", 401)
    assert len(clopos.calls(108)) == 1


# -- a token that is refused


@pytest.mark.parametrize("vocabulary", ["errors", "orders"])
@pytest.mark.parametrize("end", ["revoke_tokens", "expire_tokens"])
def test_a_token_that_is_refused_is_refreshed_and_the_caller_notices_nothing(
    call_api, clopos, token_secret, output, vocabulary, end
):
    clopos.configure(vocabulary=vocabulary)
    token_secret({"token": clopos.issue_token()})
    getattr(clopos, end)()
    assert call_api(108).status == 200
    first, second = clopos.calls(108)
    assert first.headers["x-token"] != second.headers["x-token"]
    assert refreshes(clopos) == 1
    assert output.orders()[0]["attempts"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401, ""),
        Fault(401, "<html>Unauthorized</html>"),
        Fault(401, {"success": False}),
        Fault(401, {"success": False, "message": "The token has expired"}),
        Fault(200, {"success": False, "error": "Token expired"}),
    ],
    ids=lambda fault: f"{fault.status} {fault.body}",
)
def test_any_401_that_does_not_name_the_configuration_is_worth_one_renewal(
    call_api, clopos, token_secret, fault
):
    token_secret({"token": clopos.issue_token()})
    clopos.fail(108, fault)
    assert call_api(108).status == 200
    assert refreshes(clopos) == 1


@pytest.mark.parametrize("state", ["integrator_deactivated", "test_mode", "test_mode_200", "module_missing"])
def test_a_fault_of_the_configuration_is_not_worth_a_renewal(call_api, clopos, token_secret, state):
    token_secret({"token": clopos.issue_token()})
    clopos.configure(state=state)
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        502,
        "clopos_access_denied",
        False,
    )
    assert len(clopos.calls(method=None)) == 1


def test_a_newer_token_in_the_secret_is_used_without_a_refresh(call_api, clopos, token_secret):
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    clopos.revoke_tokens()
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    assert refreshes(clopos) == 0


def test_a_token_in_the_secret_that_was_revoked_as_well_is_refreshed_too(call_api, clopos, token_secret):
    token_secret({"token": clopos.issue_token()})
    assert call_api(108).status == 200
    token_secret({"token": clopos.issue_token()})
    clopos.revoke_tokens()
    assert call_api(108).status == 200
    assert refreshes(clopos) == 1


def test_a_token_past_its_expiry_is_never_used(call_api, clopos, token_secret):
    old = clopos.issue_token()
    token_secret({"token": old, "expires_at": EXPIRED})
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


@pytest.mark.parametrize("everything", [False, True], ids=["one order", "every order"])
def test_a_token_that_stays_refused_does_not_create_many_versions(
    call_api, run_batch, clopos, token_secret, aws_calls, everything
):
    token_secret({"token": clopos.issue_token()})
    if everything:
        clopos.fail_all("invalid_token")
        clopos.fail_all_gets("invalid_token")
    else:
        clopos.fail(108, "invalid_token", repeat=None)
    aws_calls.clear()
    for _ in range(5):
        assert call_api(108).body["error"] == "clopos_access_denied"
        assert run_batch({"order_id": 108}).fates == ["queued"]
    assert [operation for operation, _ in aws_calls].count("PutSecretValue") <= 1


# -- many callers, one refresh


def workers(token_secret, count):
    return [Tokens(token_secret.arn, "refresh") for _ in range(count)]


def renew_side_by_side(workers, old, threads=1, deadline_s=25):
    """Make all workers renew a token, each on several threads; return the results, including errors."""

    def renew(worker):
        try:
            return worker.renew(old, Deadline.after(deadline_s))[0].value
        except CancelError as exc:
            return exc

    with ThreadPoolExecutor(len(workers) * threads) as callers:
        return list(callers.map(renew, workers * threads))


def test_a_hundred_callers_wait_for_one_slow_refresh(clopos, token_secret, output):
    old = parse_token(json.dumps({"token": clopos.issue_token()}))
    token_secret(old.value)
    clopos.revoke_tokens()
    clopos.configure(auth_latency=2.5)
    renewed = renew_side_by_side(workers(token_secret, 12), old, threads=9)
    assert len(renewed) == 108
    assert len(set(renewed)) == 1
    assert renewed[0] != old.value
    assert refreshes(clopos) == 1
    output.secrets.add(renewed[0])


def test_a_failed_refresh_is_not_repeated_by_every_caller(clopos, token_secret):
    old = parse_token(json.dumps({"token": clopos.issue_token()}))
    token_secret(old.value)
    clopos.fail_auth("unavailable", repeat=None)
    failures = renew_side_by_side(workers(token_secret, 10), old, threads=2, deadline_s=4)
    assert {failure.code for failure in failures} <= {"clopos_unavailable", "token_unavailable"}
    assert refreshes(clopos) <= 3


def test_twenty_messages_and_an_expired_token_do_not_call_a_failing_auth_twenty_times(
    clopos, run_batch, token_secret
):
    token_secret({"token": clopos.issue_token(), "expires_at": EXPIRED})
    clopos.add_orders(range(1, 21))
    clopos.fail_auth("unavailable", repeat=None)
    for first in (1, 11):
        batch = run_batch(*({"order_id": n} for n in range(first, first + 10)), remaining_s=15)
        assert batch.fates == ["queued"] * 10
    assert refreshes(clopos) <= 4


def test_a_good_token_is_found_after_the_refresh_of_another(clopos, token_secret, monkeypatch):
    """While another refresh is running, a worker polls the secret."""
    old = parse_token(json.dumps({"token": clopos.issue_token()}))
    token_secret(old.value)
    monkeypatch.setattr(cancellation.tokens, "POLL_S", 0.1)
    clopos.configure(auth_latency=1)
    [worker] = workers(token_secret, 1)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(w.renew, old, Deadline.after(10)) for w in [worker, *workers(token_secret, 1)]]
        time.sleep(0.3)
        newer = clopos.issue_token()
        token_secret(newer)
        assert newer in {result.result()[0].value for result in waiting}


# -- why there is no new token


@pytest.mark.parametrize(
    ("auth", "error"),
    [
        ("wrong_credentials", "clopos_access_denied"),
        ("unknown_integrator", "clopos_access_denied"),
        ("client_disabled", "clopos_access_denied"),
        ("missing_fields", "clopos_access_denied"),
        ("test_mode_200", "clopos_access_denied"),
        ("html_200", "clopos_bad_response"),
        ("server_error", "clopos_unavailable"),
        ("gateway_timeout", "clopos_timeout"),
        ("reset", "clopos_unavailable"),
    ],
)
def test_a_caller_is_told_why_there_is_no_new_token(call_api, clopos, token_secret, auth, error):
    token_secret({"token": clopos.issue_token(), "expires_at": EXPIRED})
    clopos.fail_auth(auth, repeat=None)
    answer = call_api(108, remaining_s=6)
    assert answer.body["error"] == error
    assert clopos.calls(108) == []


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"RateLimit-Reset": "37"}, 37), ({"Retry-After": "50", "RateLimit-Reset": "9"}, 50)],
)
def test_the_time_that_auth_asks_for_reaches_the_caller_and_the_back_off(
    call_api, run_batch, clopos, token_secret, output, headers, wait_s
):
    token_secret({"token": clopos.issue_token(), "expires_at": EXPIRED})
    clopos.fail_auth(Fault(429, {"success": False, "error": "too_many_requests"}, headers), repeat=None)
    answer = call_api(108)
    assert (answer.status, answer.body["error"]) == (429, "rate_limited")
    assert wait_s - 2 <= int(answer.headers["Retry-After"]) <= wait_s
    assert output.orders()[0]["duration_ms"] < 15_000  # at once, since waiting until the deadline cannot help
    assert wait_s - 2 <= run_batch({"order_id": 108}, remaining_s=30).hidden_s[0] <= wait_s
    assert refreshes(clopos) == 1


# -- the refresh function


def test_a_refresh_stores_what_clopos_gave(refresh, clopos, secretsmanager, token_secret, output):
    result = refresh()
    stored = secretsmanager.get_secret_value(SecretId=token_secret.arn)["SecretString"]
    output.secrets.add(parse_token(stored).value)
    assert result == {"success": True, "refreshed": True, "expires_at": json.loads(stored)["expires_at"]}
    assert output.metrics()["TokenRefreshed"] == [1]


def test_auth_gets_the_four_documented_values_and_nothing_else(refresh, clopos, secret, environment):
    environment("CREDENTIALS_SECRET_ARN", secret(CREDENTIALS | {"note": "of the operator", "password": "x"}))
    refresh()
    [call] = clopos.calls(method="POST")
    assert json.loads(call.body) == CREDENTIALS
    assert "x-token" not in call.headers


def test_a_request_that_another_workers_has_answered_already_fetches_nothing(
    refresh, clopos, token_secret, output
):
    token_secret({"token": clopos.issue_token(), "expires_at": time.time() + 3600})
    assert refresh(refused="the fingerprint of another token") == {"success": True, "refreshed": False}
    assert clopos.calls(method="POST") == []
    assert output.metrics() == {"TokenRefreshed": [0]}


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        (CREDENTIALS | {"brand": "", "client_secret": ""}, "needs client_secret, brand"),
        ({}, "needs client_id, client_secret, brand, integrator_id"),
        ([], "needs client_id, client_secret, brand, integrator_id"),
        ("not JSON", "is not JSON"),
    ],
)
def test_credentials_that_are_incomplete_are_named_and_not_sent(
    refresh, clopos, secret, environment, credentials, said
):
    environment("TOKEN_SECRET_ARN", secret())  # otherwise the worker would get the token that it holds
    environment(
        "CREDENTIALS_SECRET_ARN",
        secret(credentials if isinstance(credentials, str) else json.dumps(credentials)),
    )
    with pytest.raises(CancelError, match=said):
        refresh()
    assert refresh(refused="x" * 16)["error"] == "clopos_access_denied"
    assert clopos.calls(method="POST") == []


def test_credentials_that_are_not_filled_in_yet_raise_no_alarm(refresh, secret, environment, output):
    environment("CREDENTIALS_SECRET_ARN", secret())
    assert refresh()["error"] == "token_unavailable"
    assert output.metrics() == {"TokenRefreshed": [0]}
    [line] = output.logs("token not refreshed")
    assert line["level"] == "WARNING"


def test_a_scheduled_refresh_that_fails_is_an_error_of_the_function(refresh, clopos, output):
    clopos.fail_auth("wrong_credentials", repeat=None)
    with pytest.raises(CancelError, match="Clopos rejects the credentials"):
        refresh()
    assert output.metrics() == {"TokenRefreshFailed": [1]}


@pytest.mark.parametrize(
    ("token", "expires_at"),
    [
        ("abc\r\nX-Header: 1", 1_900_000_000),
        ("two words", 1_900_000_000),
        ("é", 1_900_000_000),
        ("a-fine-token", 10**400),
        ("a-fine-token", True),
    ],
)
def test_a_token_that_cannot_be_used_is_not_stored(
    refresh, clopos, secretsmanager, token_secret, token, expires_at
):
    token_secret({"token": clopos.issue_token()})
    before = secretsmanager.get_secret_value(SecretId=token_secret.arn)["SecretString"]
    answer = {"success": True, "token": token, "expires_at": expires_at}
    clopos.fail_auth(Fault(200, answer), repeat=None)
    with pytest.raises(CancelError, match="Clopos sent"):
        refresh()
    assert secretsmanager.get_secret_value(SecretId=token_secret.arn)["SecretString"] == before


# -- what is cached


def test_the_token_is_read_again_after_five_minutes_of_the_wall_clock(
    call_api, clopos, token_secret, aws_calls, monkeypatch
):
    token_secret({"token": clopos.issue_token()})
    aws_calls.clear()
    now = time.time
    for later in (0, 200, 299, 301):
        monkeypatch.setattr(time, "time", lambda later=later: now() + later)
        assert call_api(108).status == 200
    assert [operation for operation, _ in aws_calls] == ["GetSecretValue"] * 2
