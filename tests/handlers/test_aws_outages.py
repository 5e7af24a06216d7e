"""AWS services accept connections and never answer: handlers still end in time and log the result."""

import time

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

import cancellation.aws
from tests.unreachable import stalled_listener

EXPIRED = {"token": "not-a-real-token", "expires_at": 1}


@pytest.fixture
def stalled(environment):
    """Make a service accept connections and never answer, for the handlers that start after this."""
    with stalled_listener() as (host, port):
        yield lambda service: environment(f"AWS_ENDPOINT_URL_{service}", f"http://{host}:{port}")


def seconds(call):
    started = time.monotonic()
    result = call()
    return result, time.monotonic() - started


def test_a_caller_is_answered_in_time_while_secrets_manager_stands_still(call_api, stalled, output):
    stalled("SECRETS_MANAGER")
    answer, took_s = seconds(lambda: call_api(108, remaining_s=4.5))
    assert (answer.status, answer.body["error"]) == (503, "token_unavailable")
    assert took_s < 2.5
    assert len(output.orders()) == 1


def test_a_caller_is_answered_in_time_while_the_refresh_cannot_be_invoked(
    call_api, stalled, environment, secret, output
):
    stalled("LAMBDA")
    environment("TOKEN_SECRET_ARN", secret(EXPIRED))
    environment("TOKEN_REFRESH_FUNCTION", "refresh")
    answer, took_s = seconds(lambda: call_api(108, remaining_s=4.5))
    assert (answer.status, answer.body["error"]) == (503, "token_unavailable")
    assert took_s < 2.5
    assert len(output.orders()) == 1
    assert output.metrics()["TokenRefreshFailed"] == [1]  # which an alarm watches


def test_a_caller_is_answered_in_time_while_the_event_bus_stands_still(
    call_api, stalled, environment, output
):
    stalled("EVENTBRIDGE")
    environment("EVENT_BUS_NAME", "default")
    answer, took_s = seconds(lambda: call_api(108, remaining_s=4.5))
    assert answer.status == 200
    assert took_s < 4.5
    assert len(output.orders()) == 1
    assert output.metrics()["OutcomesUnpublished"] == [1]


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "SQS", "EVENTBRIDGE"])
def test_a_batch_of_ten_ends_in_time_while_a_service_stands_still(
    clopos, run_batch, function, stalled, environment, output, service, monkeypatch
):
    """Ten messages: some are cancelled, some rejected and, because Clopos fails, some deferred."""
    monkeypatch.setattr(cancellation.aws, "CALL_S", 1)
    stalled(service)
    environment("EVENT_BUS_NAME", "default" if service == "EVENTBRIDGE" else "")
    clopos.add_orders(range(1, 5))
    clopos.fail(1, "html_200", repeat=None)
    clopos.fail(2, "html_200", repeat=None)
    orders = [1, 2, 3, 4, 404, 405, 406, "../1", 407, 408]
    batch, took_s = seconds(lambda: run_batch(*({"order_id": n} for n in orders), remaining_s=15))
    assert took_s < 6
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
    monkeypatch.setattr(module.secretsmanager, "put_secret_value", lambda **_: time.sleep(5), raising=False)
    answer, took_s = seconds(lambda: refresh(refused="x" * 16))
    assert (answer["error"], answer["retryable"]) == ("token_unavailable", True)
    assert took_s < 3
    assert output.metrics() == {"TokenRefreshFailed": [1]}


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "SQS"])
def test_a_webhook_is_answered_in_time_while_a_service_stands_still(call_webhook, stalled, output, service):
    stalled(service)
    answer, took_s = seconds(lambda: call_webhook(remaining_s=4))
    assert (answer.status, answer.body["error"]) == (503, "service_unavailable")
    assert took_s < 3
    assert len(output.logs("webhook refused")) == 1


# -- cached secrets


def test_a_cached_token_is_used_while_secrets_manager_cannot_be_reached(
    clopos, call_api, environment, secret, aws_calls, function, monkeypatch
):
    environment("TOKEN_SECRET_ARN", secret({"token": clopos.issue_token(), "expires_at": time.time() + 3240}))
    assert call_api(108).status == 200
    break_secrets_manager(monkeypatch)
    now = time.time
    for later in (301, 600, 3000):
        monkeypatch.setattr(time, "time", lambda later=later: now() + later)
        assert call_api(108).status == 200
    monkeypatch.setattr(time, "time", lambda: now() + 3241)
    assert call_api(108).body["error"] in ("token_unavailable", "clopos_access_denied")


def test_a_cached_webhook_secret_is_used_for_a_quarter_of_an_hour_while_secrets_manager_cannot_be_reached(
    call_webhook, monkeypatch
):
    assert call_webhook().status == 202
    break_secrets_manager(monkeypatch)
    now = time.time
    for later, status in ((301, 202), (899, 202), (901, 503)):
        monkeypatch.setattr(time, "time", lambda later=later: now() + later)
        assert call_webhook(age_s=later).status == status  # the signature is checked by the real clock


def break_secrets_manager(monkeypatch):
    """Make every read of a secret fail from now on."""
    make = BaseClient._make_api_call

    def call(client, operation, parameters):
        if operation == "GetSecretValue":
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.example")
        return make(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
