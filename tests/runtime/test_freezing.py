"""Lambda freezes an environment between two invocations, for minutes or hours, and thaws it with the next one."""

import json
import time

import pytest

from tests.runtime.conftest import event, webhook_event

INVOCATIONS = {
    "ApiFunction": lambda: event("api.json"),
    "QueueFunction": lambda: event("queue-standard-webhooks.json"),
    "WebhookFunction": webhook_event,
    "TokenRefreshFunction": lambda: event("schedule.json"),
}


def outcome(payload):
    """What stays the same from one invocation to the next."""
    return payload.get("statusCode", payload.get("success", payload))


@pytest.mark.parametrize("function", INVOCATIONS)
def test_connections_that_were_closed_meanwhile_are_opened_again(start, function, clopos_relay, aws_relay):
    environment = start(function)
    first = environment.invoke(INVOCATIONS[function]())
    assert not first.error
    opened = clopos_relay.opened
    environment.freeze()
    clopos_relay.close_connections()
    aws_relay.close_connections()
    environment.thaw()
    again = environment.invoke(INVOCATIONS[function]())
    assert outcome(again.payload) == outcome(first.payload)
    assert clopos_relay.opened == 2 * opened


def test_a_token_that_expired_meanwhile_is_not_used(start, clopos, stack, references, secrets):
    secretsmanager = stack.client("secretsmanager")

    def store_token(lifetime_s):
        token = clopos.issue_token(expires_in=lifetime_s)
        secrets.add(token)
        content = json.dumps({"token": token, "expires_at": int(time.time()) + lifetime_s})
        secretsmanager.put_secret_value(SecretId=references["TOKEN_SECRET_ARN"], SecretString=content)
        return token

    old = store_token(2)
    environment = start("ApiFunction")
    assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    environment.freeze()
    new = store_token(3600)
    time.sleep(2.5)
    environment.thaw()
    assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    assert [call.headers["x-token"] for call in clopos.calls(108)] == [old, new]
