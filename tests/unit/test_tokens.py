"""The token: what the secret holds, what `/auth` answers, and how a worker gets a newer one."""

import io
import json

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from cancellation import clopos
from cancellation.clopos import CREDENTIALS, MAX_LIFETIME_S, Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.exchange import Exchange
from cancellation.tokens import Token, Tokens, parse_token
from tests.strategies import values
from tests.unit.conftest import ACCESS_DENIED

NOW = 1_800_000_000
KEYS = dict.fromkeys(CREDENTIALS, "fake-credential")


@pytest.mark.parametrize(
    ("secret", "expires_at"),
    [
        ("abc.def", None),
        ('"abc.def"', None),
        ('{"token": " abc.def\\n"}', None),
        ('{"token": "abc.def", "expires_at": 1767852332}', 1767852332),
        (f'{{"token": "abc.def", "expires_at": {NOW + MAX_LIFETIME_S}}}', NOW + MAX_LIFETIME_S),
        (f'{{"token": "abc.def", "expires_at": {NOW + MAX_LIFETIME_S + 1}}}', None),
        (f'{{"token": "abc.def", "expires_at": {NOW * 1000}}}', None),  # milliseconds
        (f'{{"token": "abc.def", "expires_at": {"9" * 400}}}', None),
        ('{"token": "abc.def", "expires_at": true}', None),
    ],
)
def test_a_token_is_read_from_json_or_as_it_was_pasted(clock, secret, expires_at):
    assert parse_token(secret) == ("abc.def", expires_at)


@given(st.text() | values.map(json.dumps) | st.fixed_dictionaries({"token": values}).map(json.dumps))
def test_a_secret_yields_a_token_that_fits_into_a_header_or_none(secret):
    token = parse_token(secret)
    assert token is None or (token.value.isascii() and token.value.isprintable() and " " not in token.value)


@pytest.mark.parametrize(
    "secret", ["", "{}", '{"token": 5}', '{"token": "abc"', "two words", "é", '{"a":' * 9999]
)
def test_a_secret_without_a_token_yields_none(secret):
    assert parse_token(secret) is None


# -- /auth


def authenticate(monkeypatch, status, content):
    class Connections:
        def __init__(self, _):
            pass

        def exchange(self, *_):
            return Exchange("POST", "clopos", 0.0, 0.0, status, {}, json.dumps(content).encode())

    monkeypatch.setattr(clopos, "Connections", Connections)
    return Clopos("http://clopos.invalid").authenticate(KEYS, Deadline.after(5))


@pytest.mark.parametrize(
    ("answer", "expires_at"),
    [
        ({"expires_at": NOW + 60, "expires_in": 3600}, NOW + 60),
        ({"expires_at": f"{NOW + 60}"}, NOW + 60),
        ({"expires_at": NOW + 60.9}, NOW + 60),
        ({"expires_in": 3600}, NOW + 3600),
        ({"expires_in": "3600", "expires_at": "soon"}, NOW + 3600),
        ({"expires_at": NOW * 1000}, None),  # milliseconds
        ({"expires_at": NOW * 1000, "expires_in": 3600}, NOW + 3600),
        ({"expires_at": NOW}, None),
        ({"expires_at": "9" * 5000, "expires_in": True}, None),
        ({}, None),
    ],
)
def test_the_expiry_is_read_in_any_form_and_unknown_if_it_is_absurd(clock, monkeypatch, answer, expires_at):
    answer = {"success": True, "token": "abc.def", **answer}
    assert authenticate(monkeypatch, 200, answer) == ("abc.def", expires_at)


@pytest.mark.parametrize(
    ("code", "status", "answer"),
    [
        ("clopos_access_denied", 401, {"message": "Wrong fake-credential"}),
        ("clopos_access_denied", 400, {"success": False, "error": "Invalid integrator_id"}),
        ("clopos_access_denied", 404, {"success": False, "error": [{"message": "?", "http_code": 404}]}),
        ("clopos_access_denied", 200, {"success": False, "error": "Client is disabled"}),
        ("clopos_bad_response", 200, {"success": True, "token": ""}),
        ("rate_limited", 429, {"success": False}),
        ("clopos_unavailable", 503, None),
    ],
)
def test_a_refusal_by_auth_is_about_the_credentials_and_never_about_an_order(
    monkeypatch, code, status, answer
):
    with pytest.raises(CancelError) as refused:
        authenticate(monkeypatch, status, answer)
    assert refused.value.code == code
    assert "fake-credential" not in f"{refused.value} {refused.value.upstream}"


# -- renewal


@pytest.fixture
def renew(aws, clock):
    """Renew a refused token; `answers` are those of the refresh function, which may store another one."""

    def renew(*answers, stored="old", expires_at=NOW + 3600, refused_expires_at=NOW + 3600):
        aws.secrets["arn"] = json.dumps({"token": stored, "expires_at": expires_at})
        answers = iter(answers)

        def invoke(**_):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            if "stores" in answer:
                aws.secrets["arn"] = json.dumps({"token": answer["stores"], "expires_at": NOW + 3600})
            error = {"FunctionError": "Unhandled"} if "crashes" in answer else {}
            return {"Payload": io.BytesIO(json.dumps(answer).encode()), **error}

        aws.invoke = invoke
        token, is_last = Tokens("arn", "refresh").renew(Token("old", refused_expires_at), Deadline.after(20))
        return token.value, is_last

    return renew


BUSY = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
OTHER = {"success": False, "error": "clopos_timeout", "message": "slow", "retry_after_s": 5}


@pytest.mark.parametrize(
    ("answers", "stored", "renewed"),
    [
        ([], "newer", ("newer", False)),  # found in the secret: it may have been revoked as well
        ([{"success": True, "refreshed": True, "stores": "new"}], "old", ("new", True)),
        ([{"success": True, "refreshed": False, "stores": "new"}], "old", ("new", False)),
        ([OTHER | {"stores": "new"}], "old", ("new", False)),  # by another worker's request
        ([{"success": True, "refreshed": False, "accepted": True}], "old", ("old", True)),
        ([BUSY, BUSY, {"success": True, "refreshed": True, "stores": "new"}], "old", ("new", True)),
    ],
)
def test_a_newer_token_is_found_or_requested(renew, answers, stored, renewed):
    assert renew(*answers, stored=stored) == renewed


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        ([OTHER], "clopos_timeout", "no new token: slow"),
        ([{"success": False, "error": "?"}], "token_unavailable", "no new token"),
        ([{"success": True, "refreshed": True}], "token_unavailable", "stored no new token"),
        (
            [{"crashes": True, "success": True, "accepted": True}],
            "token_unavailable",
            "its own log has the reason",
        ),
        ([ACCESS_DENIED], "token_unavailable", "could not be refreshed"),
        ([BUSY] * 100, "token_unavailable", "did not finish in time"),
    ],
)
def test_why_there_is_no_newer_token(renew, clock, answers, code, message):
    with pytest.raises(CancelError, match=f"{code}: .*{message}"):
        renew(*answers)
    assert clock.now < NOW + 20


def test_a_token_that_expired_is_not_used_though_clopos_accepted_it(renew):
    with pytest.raises(CancelError, match="stored no new token"):
        renew({"success": True, "accepted": True}, refused_expires_at=NOW)


def test_an_expired_token_in_the_secret_is_not_newer(renew):
    answer = {"success": True, "refreshed": True, "stores": "new"}
    assert renew(answer, stored="newer", expires_at=NOW) == ("new", True)


def test_without_a_refresh_function_a_refused_token_is_a_matter_of_access(aws, clock):
    aws.secrets["arn"] = "old"
    with pytest.raises(CancelError, match="clopos_access_denied"):
        Tokens("arn", "").renew(Token("old", None), Deadline.after(20))
