"""Lambda freezes an environment between two invocations, for minutes or hours, and thaws it with the next one."""

import json
import time

import pytest

from tests.runtime.conftest import EVENTS, event

LIFETIME_S = (
    250  # shorter than a secret is cached, so that only the token's expiry can be why it is read again
)


def outcome(payload):
    """What stays the same from one invocation to the next."""
    return payload.get("statusCode", payload.get("success", payload))


@pytest.mark.parametrize("function", EVENTS)
def test_connections_that_were_closed_meanwhile_are_opened_again(start, function, clopos_relay, aws_relay):
    environment = start(function)
    first = environment.invoke(event(EVENTS[function]))
    assert not first.error
    opened = clopos_relay.opened
    environment.freeze()
    clopos_relay.close_connections()
    aws_relay.close_connections()
    environment.thaw()
    again = environment.invoke(event(EVENTS[function]))
    assert outcome(again.payload) == outcome(first.payload)
    assert clopos_relay.opened == 2 * opened


def test_a_token_that_expired_meanwhile_is_not_used(start, clopos, secretsmanager, references, secrets):
    def store_token(lifetime_s):
        token = clopos.issue_token(expires_in=lifetime_s)
        secrets.add(token)
        content = json.dumps({"token": token, "expires_at": int(time.time()) + lifetime_s})
        secretsmanager.put_secret_value(SecretId=references["TOKEN_SECRET_ARN"], SecretString=content)
        return token

    old = store_token(LIFETIME_S)
    environment = start("ApiFunction", wrapper="later")
    assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    environment.freeze()
    new = store_token(3600)
    environment.thaw(after_s=LIFETIME_S)
    assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    assert [call.headers["x-token"] for call in clopos.calls(108)] == [old, new]
