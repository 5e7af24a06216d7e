"""AWS services accept connections and never answer: handlers still end in time and log the result."""

import time

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

import cancellation.aws
from tests.unreachable import stalled_listener


@pytest.fixture
def stalled(environment, monkeypatch):
    """Make a service accept connections and never answer, for the handlers that start after this."""
    monkeypatch.setattr(cancellation.aws, "CALL_S", 1)  # instead of 5 s
    with stalled_listener() as (host, port):
        yield lambda service: environment(f"AWS_ENDPOINT_URL_{service}", f"http://{host}:{port}")


def in_time(call, remaining_s):
    """Return the result of a call that ends before Lambda would end it."""
    started = time.monotonic()
    result = call(remaining_s=remaining_s)
    assert time.monotonic() - started < remaining_s
    return result


@pytest.mark.parametrize(
    ("service", "error"),
    [("SECRETS_MANAGER", "token_unavailable"), ("LAMBDA", "token_unavailable"), ("EVENTBRIDGE", None)],
)
def test_a_caller_is_answered_in_time_while_a_service_stands_still(
    call_api, stalled, environment, secret, output, service, error
):
    stalled(service)
    if service == "LAMBDA":
        environment("TOKEN_SECRET_ARN", secret({"token": "not-a-real-token", "expires_at": 1}))
    environment("TOKEN_REFRESH_FUNCTION", "refresh")
    environment("EVENT_BUS_NAME", "default" if service == "EVENTBRIDGE" else "")
    answer = in_time(call_api, 6)
    assert (answer.status, answer.body.get("error")) == (503 if error else 200, error)
    assert len(output.orders()) == 1
    counted = {"LAMBDA": "TokenRefreshFailed", "EVENTBRIDGE": "OutcomesUnpublished"}  # which alarms watch
    assert service not in counted or output.metrics()[counted[service]] == [1]


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "SQS", "EVENTBRIDGE"])
def test_a_batch_of_ten_ends_in_time_while_a_service_stands_still(
    clopos, run_batch, stalled, environment, output, service
):
    """Ten messages: some are cancelled, some rejected and, because Clopos fails, some deferred."""
    stalled(service)
    environment("EVENT_BUS_NAME", "default" if service == "EVENTBRIDGE" else "")
    clopos.add_orders(range(1, 5))
    clopos.fail(1, "html_200", repeat=None)
    clopos.fail(2, "html_200", repeat=None)
    orders = [1, 2, 3, 4, 404, 405, 406, "../1", 407, 408]
    batch = in_time(lambda **context: run_batch(*({"order_id": n} for n in orders), **context), 18)
    assert len(output.orders()) == 10
    assert sorted(line["message_id"] for line in output.orders()) == sorted(batch.ids)
    assert set(batch.fates) <= {"done", "queued"} or service == "SECRETS_MANAGER"
    for fate, line in zip(batch.fates, output.orders(), strict=True):
        if fate == "done":
            assert clopos.order(line["order_id"])["status"] == "IGNORE"


def test_a_refresh_ends_in_time_while_the_new_token_cannot_be_stored(
    refresh, function, secret, environment, output, monkeypatch
):
    monkeypatch.setattr(cancellation.aws, "CALL_S", 0.5)
    environment("TOKEN_SECRET_ARN", secret())
    module = function("token_refresh")
    monkeypatch.setattr(module.secretsmanager, "put_secret_value", lambda **_: time.sleep(60), raising=False)
    started = time.monotonic()
    answer = refresh(refused="x" * 16)
    assert time.monotonic() - started < 15  # the timeout of the function
    assert (answer["error"], answer["retryable"]) == ("token_unavailable", True)
    assert output.metrics() == {"TokenRefreshFailed": [1]}


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "SQS"])
def test_a_webhook_is_answered_in_time_while_a_service_stands_still(call_webhook, stalled, output, service):
    stalled(service)
    answer = in_time(call_webhook, 6)
    assert answer.told == (503, "service_unavailable", True)
    assert int(answer.headers["Retry-After"]) > 0
    assert len(output.logs("webhook refused")) == 1


# -- cached secrets


@pytest.fixture
def unreadable(monkeypatch):
    """Return a function that makes every read of a secret fail from now on."""
    make = BaseClient._make_api_call

    def call(client, operation, parameters):
        if operation == "GetSecretValue":
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.example")
        return make(client, operation, parameters)

    return lambda: monkeypatch.setattr(BaseClient, "_make_api_call", call)


def test_a_cached_token_is_used_until_it_expires_while_secrets_manager_cannot_be_reached(
    clopos, call_api, environment, secret, unreadable, later, monkeypatch
):
    environment("TOKEN_SECRET_ARN", secret({"token": clopos.issue_token(), "expires_at": time.time() + 3240}))
    assert call_api(108).status == 200
    unreadable()
    for seconds in (301, 3000, 10**6):
        later(seconds)
        assert call_api(108).status == 200
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3241)
    assert call_api(108).body["error"] in ("token_unavailable", "clopos_access_denied")


def test_a_cached_webhook_secret_is_used_for_a_quarter_of_an_hour_while_secrets_manager_cannot_be_reached(
    call_webhook, unreadable, later
):
    assert call_webhook().status == 202
    unreadable()
    for seconds, status in ((301, 202), (840, 202), (901, 503)):
        later(seconds)
        assert call_webhook().status == status
