"""No part of a secret stays in a text that Clopos wrote."""

import base64
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.redaction import redact, redact_fields

INNER = "oauth_5up3r/s3cr3t+upstream=token"


def jwt(payload):
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.not/a+real=signature"


SECRET = jwt({"brand": "local", "token": INNER, "exp": 1767852332})
FORMS = {
    "whole": str,
    "cut short at the end": lambda secret: secret[:10],
    "cut short at the start": lambda secret: secret[-10:],
    "eight characters": lambda secret: secret[5:13],
    "URL-encoded": lambda secret: quote(secret, safe=""),
    "all of it URL-encoded": lambda secret: "".join(f"%{ord(char):02x}" for char in secret),
    "capitals": str.upper,
    "URL-encoded capitals": lambda secret: quote(secret, safe="").upper(),
    "hexadecimal": lambda secret: secret.encode().hex().upper(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, INNER], ids=["the token", "the token inside the token"])
@pytest.mark.parametrize("sentence", ["{}", "Token {} is invalid", "x-token={};", "a{}b", "%{}%", "é{}İ"])
def test_a_token_and_the_one_inside_are_hidden_in_every_form_and_the_rest_stays(form, secret, sentence):
    assert redact(sentence.format(FORMS[form](secret)), (SECRET,)) == sentence.format("***")


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", [SECRET, INNER])
def test_little_of_a_secret_is_left_if_it_is_encoded_in_base64(encode, before, secret):
    hidden = redact(encode(f"{before}{secret}".encode()).decode(), (SECRET,))
    assert hidden.count("***") == 1
    assert len(hidden) <= len(encode(before.encode())) + 6


@pytest.mark.parametrize(
    "said",
    [
        "Invalid token",
        "Status is not allowed",
        "eyJhbGc is short",
        "100 % of it, 50%2 and %zz",
        "two\nlines",
        "",
    ],
)
def test_words_that_are_no_part_of_a_secret_stay(said):
    assert redact(said, (SECRET, jwt({"token": 7}), jwt([1]), "a.bc!.d")) == said


def test_a_percent_sign_before_a_secret_hides_nothing_of_it():
    assert redact("%2" + "00000000", ("00000000",)) == "%2***"


def test_a_secret_is_hidden_in_each_field():
    said = {"a": "client not-a-real-secret", "b": 7, "c": None, "d": {"x": ["local-brand"]}, "e": {"x": 1}}
    hidden = said | {"a": "client ***", "d": None}
    assert redact_fields(said, ("not-a-real-secret", "local-brand")) == hidden


@given(
    secret=st.text(string.ascii_letters + string.digits + "-_.+/=", min_size=8, max_size=60),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    start=st.integers(0, 52),
    shape=st.sampled_from([str, str.upper, str.lower, str.swapcase, lambda text: quote(text, safe="")]),
)
def test_no_eight_characters_of_a_secret_are_left(secret, before, after, start, shape):
    start = min(start, len(secret) - 8)
    hidden = redact(before + shape(secret[start : start + 20]) + after, (secret,)).lower()
    assert not [i for i in range(len(secret) - 7) if shape(secret[i : i + 8]).lower() in hidden]
