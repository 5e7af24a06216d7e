"""What a token secret holds: JSON with an expiry, or a bare token as it was pasted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.errors import CancelError
from cancellation.tokens import parse_token
from tests.strategies import values


@pytest.mark.parametrize(
    ("secret", "token", "expires_at"),
    [
        ("abc.def.ghi", "abc.def.ghi", None),
        ("  abc.def.ghi\n", "abc.def.ghi", None),
        ('"abc.def.ghi"', "abc.def.ghi", None),
        ('{"token": "abc.def.ghi"}', "abc.def.ghi", None),
        ('{"token": "abc.def.ghi", "expires_at": 1767852332}', "abc.def.ghi", 1767852332),
        ('{"token": "abc.def.ghi", "expires_at": %s}' % ("9" * 400), "abc.def.ghi", None),
    ],
)
def test_a_token_is_read_from_json_or_as_it_was_pasted(secret, token, expires_at):
    assert parse_token(secret) == (token, expires_at)


@pytest.mark.parametrize(
    "secret", ["", "  ", "{}", '{"token": ""}', '{"token": 5}', '{"token": "abc"', "two words", "a\nb"]
)
def test_a_secret_without_a_token_is_reported(secret):
    with pytest.raises(CancelError, match="token_unavailable"):
        parse_token(secret)


@given(st.text() | values.map(json.dumps) | st.fixed_dictionaries({"token": values}).map(json.dumps))
def test_a_secret_yields_a_token_that_fits_into_a_header_or_an_error(secret):
    try:
        token = parse_token(secret)
    except CancelError as exc:
        token, error = None, exc.code
    if token is None:
        assert error == "token_unavailable"
    else:
        assert token.value.isascii()
        assert token.value.isprintable()
        assert " " not in token.value
