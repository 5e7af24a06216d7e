"""The token: callers do not notice that it expires, and no more tokens are requested than needed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import cancellation.tokens
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.tokens import Tokens, parse_token
from local.simulator import CREDENTIALS, STATES, Fault

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
    store.read = lambda: secretsmanager.get_secret_value(SecretId=arn)["SecretString"]
    return store


def refreshes(clopos):
    return len(clopos.calls(method="POST"))


# -- without a token


@pytest.mark.parametrize("content", [None, " "])
def test_an_unusable_token_fails_and_the_next_one_is_found_within_ten_seconds(
    call_api, clopos, secret, secretsmanager, environment, content, later
):
    arn = secret(content)
    environment("TOKEN_SECRET_ARN", arn)
    answer = call_api(108)
    assert answer.told == (503, "token_unavailable", True)
    assert int(answer.headers["Retry-After"]) > 0
    assert clopos.calls() == []
    secretsmanager.put_secret_value(SecretId=arn, SecretString=clopos.issue_token())
    later(10)
    assert call_api(108).status == 200


# -- a token that is refused


@pytest.mark.parametrize(
    ("end", "vocabulary", "for_browsers"),
    [
        ("revoke_tokens", "errors", "html"),
        ("expire_tokens", "orders", "redirect"),
        ("expire_tokens", "live", ""),
    ],
)
def test_a_token_that_is_refused_is_refreshed_and_the_caller_notices_nothing(
    call_api, clopos, token_secret, end, vocabulary, for_browsers
):
    clopos.configure(vocabulary=vocabulary, for_browsers=for_browsers)
    token_secret({"token": clopos.issue_token()})
    getattr(clopos, end)()
    assert call_api(108).status == 200
    first, second = clopos.calls(108)
    assert first.headers["x-token"] != second.headers["x-token"]
    assert refreshes(clopos) == 1


@pytest.mark.parametrize("state", [state for state, (_, orders) in STATES.items() if orders])
def test_a_fault_of_the_configuration_is_not_worth_a_renewal(call_api, clopos, token_secret, state):
    token_secret({"token": clopos.issue_token()})
    clopos.configure(state=state)
    assert call_api(108).told == (502, "clopos_access_denied", False)
    assert len(clopos.calls(method=None)) == 1


def test_a_token_past_its_expiry_is_never_used(call_api, clopos, token_secret):
    old = clopos.issue_token()
    token_secret({"token": old, "expires_at": EXPIRED})
    assert call_api(108).status == 200
    [call] = clopos.calls(108)
    assert call.headers["x-token"] != old


@pytest.mark.parametrize("everything", [False, True], ids=["one order", "every order"])
def test_a_token_that_stays_refused_is_access_denied_and_does_not_create_many_versions(
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
        answer = call_api(108)
        assert answer.told == (502, "clopos_access_denied", False)
        assert (answer.body["upstream"]["status"], answer.body["upstream"]["message"]) == (
            401,
            "Invalid token",
        )
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert [operation for operation, _ in aws_calls].count("PutSecretValue") <= 1


# -- many callers, one refresh


def renew_side_by_side(token_secret, clopos, count, threads=1, deadline_s=25):
    """Make workers renew a dead token, each on several threads; return the results, including errors."""
    old = parse_token(clopos.issue_token())
    token_secret(old.value)
    clopos.revoke_tokens(old.value)
    workers = [Tokens(token_secret.arn, "refresh") for _ in range(count)]

    def renew(worker):
        try:
            return worker.renew(old, Deadline.after(deadline_s))[0].value
        except CancelError as exc:
            return exc

    with ThreadPoolExecutor(count * threads) as callers:
        return list(callers.map(renew, workers * threads))


def test_a_hundred_callers_wait_for_one_slow_refresh(clopos, token_secret, output):
    clopos.configure(auth_latency=2.5)
    renewed = renew_side_by_side(token_secret, clopos, 12, threads=9)
    assert len(renewed) == 108
    assert len(set(renewed)) == 1
    assert refreshes(clopos) == 1
    output.secrets.add(renewed[0])


def test_a_token_that_another_thread_has_found_meanwhile_costs_no_call(clopos, token_secret, aws_calls):
    old, worker = parse_token(clopos.issue_token()), Tokens(token_secret.arn, "refresh")
    token_secret(clopos.issue_token())
    found = worker.renew(old, Deadline.after(20))
    aws_calls.clear()
    assert (worker.renew(old, Deadline.after(20)), aws_calls) == (found, [])


def test_a_failed_refresh_is_not_repeated_by_every_caller(clopos, token_secret):
    clopos.fail_auth("unavailable", repeat=None)
    failures = renew_side_by_side(token_secret, clopos, 10, threads=2, deadline_s=4)
    assert {failure.code for failure in failures} <= {"clopos_unavailable", "token_unavailable"}
    assert refreshes(clopos) <= 3


def test_a_good_token_is_found_while_the_refresh_of_another_is_running(clopos, token_secret, monkeypatch):
    """While another refresh is running, a worker polls the secret."""
    monkeypatch.setattr(cancellation.tokens, "POLL_S", 0.1)
    old = parse_token(clopos.issue_token())
    token_secret(old.value)
    clopos.revoke_tokens()
    clopos.fail_auth(Fault(503, "", delay=2), repeat=None)
    workers = [Tokens(token_secret.arn, "refresh") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(worker.renew, old, Deadline.after(20)) for worker in workers]
        while not refreshes(clopos):
            time.sleep(0.01)
        newer = clopos.issue_token()
        token_secret(newer)
        assert [result.result()[0].value for result in waiting] == [newer] * 2


# -- why there is no new token


@pytest.mark.parametrize(
    ("auth", "error"),
    [
        ("missing_fields", "clopos_access_denied"),
        ("test_mode_200", "clopos_access_denied"),
        ("html_200", "clopos_bad_response"),
        ("gateway_timeout", "clopos_timeout"),
        ("reset", "clopos_unavailable"),
    ],
)
def test_a_caller_is_told_why_there_is_no_new_token(call_api, clopos, token_secret, auth, error):
    token_secret({"token": clopos.issue_token(), "expires_at": EXPIRED})
    clopos.fail_auth(auth, repeat=None)
    assert call_api(108, remaining_s=6).body["error"] == error
    assert clopos.calls(108) == []


def test_the_time_that_auth_asks_for_reaches_the_caller_and_the_back_off(
    call_api, run_batch, clopos, token_secret
):
    token_secret({"token": clopos.issue_token(), "expires_at": EXPIRED})
    clopos.fail_auth(Fault(429, {"success": False}, {"RateLimit-Reset": "700"}), repeat=None)
    answer = call_api(108)
    assert answer.told == (429, "rate_limited", True)
    assert int(answer.headers["Retry-After"]) == 700
    assert 600 < run_batch({"order_id": 108}, remaining_s=30).hidden_s[0] <= 700  # less what has passed since
    assert refreshes(clopos) == 1


# -- the refresh function


def test_auth_gets_the_four_documented_values_and_what_it_gives_is_stored(
    refresh, clopos, secret, environment, token_secret, output
):
    environment(
        "CREDENTIALS_SECRET_ARN", secret("\ufeff" + json.dumps(CREDENTIALS | {"note": "of the operator"}))
    )
    result = refresh()
    [call] = clopos.calls(method="POST")
    assert json.loads(call.body) == CREDENTIALS
    assert "x-token" not in call.headers
    stored = json.loads(token_secret.read())
    output.secrets.add(stored["token"])
    assert result == {"success": True, "refreshed": True, "expires_at": stored["expires_at"]}
    [line] = output.logs("token refreshed")
    assert line["function_request_id"] == "request-1"
    metrics = output.metrics()
    assert metrics["TokenRefreshed"] == [1]
    assert 3000 < metrics["TokenSecondsLeft"][0] <= 3601


def test_a_token_whose_expiry_is_not_known_is_used(refresh, call_api, clopos, token_secret, output):
    """One beyond a year, such as milliseconds, is not known: the alarm on the expiry can fire."""
    clopos.configure(expiry="milliseconds")
    assert refresh() == {"success": True, "refreshed": True, "expires_at": None}
    assert output.metrics() == {"TokenRefreshed": [1]}
    assert call_api(108).status == 200


@pytest.mark.parametrize("given", ["two words", ""])
def test_a_token_that_cannot_be_used_is_not_stored(refresh, clopos, token_secret, given):
    token_secret({"token": clopos.issue_token()})
    before = token_secret.read()
    answer = {"success": True, "token": given, "expires_at": time.time() + 3600}
    clopos.fail_auth(Fault(200, answer), repeat=None)
    with pytest.raises(CancelError, match="clopos_bad_response"):
        refresh()
    assert token_secret.read() == before


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
        ("[]", "needs client_id, client_secret, brand, integrator_id"),
        (CREDENTIALS | {"client_id": 7}, "has a wrong client_id"),
        ("not JSON", "is not JSON"),
    ],
)
def test_credentials_that_are_incomplete_are_named_and_not_sent(
    refresh, clopos, secret, environment, credentials, said
):
    environment("TOKEN_SECRET_ARN", secret())  # otherwise the worker would get the token that it holds
    environment("CREDENTIALS_SECRET_ARN", secret(credentials))
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


def test_a_scheduled_refresh_that_fails_is_an_error_of_the_function_until_the_next_one(
    refresh, clopos, token_secret, output
):
    clopos.fail_auth("wrong_credentials")
    with pytest.raises(CancelError, match="Clopos rejects the credentials"):
        refresh()
    assert output.metrics() == {"TokenRefreshFailed": [1]}
    assert refresh()["refreshed"] is True
