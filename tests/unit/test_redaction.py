"""No part of a secret stays in a text that Clopos wrote."""

import base64
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.redaction import redact

SECRET = "eyJhbGciOiJIUzI1NiJ9.eyJicmFuZCI6ImxvY2FsIn0.not/a+real=token"


def forms(secret):
    return {
        "whole": secret,
        "cut short at the end": secret[:10],
        "cut short at the start": secret[-10:],
        "a piece of eight": secret[5:13],
        "URL-encoded": quote(secret, safe=""),
        "all of it URL-encoded": "".join(f"%{ord(char):02x}" for char in secret),
        "capitals": secret.upper(),
        "small letters": secret.lower(),
        "URL-encoded capitals": quote(secret, safe="").upper(),
        "hexadecimal": secret.encode().hex(),
        "twice": secret + " and " + secret,
    }


@pytest.mark.parametrize("form", forms(SECRET).values(), ids=forms(SECRET).keys())
@pytest.mark.parametrize("sentence", ["{}", "Token {} is invalid", "({})", "x-token={};", "a{}b", "%{}%"])
def test_a_secret_is_hidden_in_every_form_and_the_rest_stays(form, sentence):
    hidden = redact(sentence.format(form), (SECRET,))
    assert hidden == sentence.format(" and ".join(["***"] * (2 if " and " in form else 1)))


@pytest.mark.parametrize(
    "said",
    [
        "Invalid token",
        "Integrator is in test mode. But brand is not in test mode",
        "Status is not allowed",
        "eyJhbGc is short",
        "100 % of it, 50%2 and %zz",
        "two\nlines\x00\x1b[31m",
        "",
    ],
)
def test_words_that_are_no_part_of_a_secret_stay(said):
    assert redact(said, (SECRET,)) == said


def test_a_percent_sign_before_a_secret_hides_nothing_of_it():
    assert redact("%2" + "00000000", ("00000000",)) == "%2***"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_little_of_a_secret_is_left_if_it_is_encoded_in_base64(encode, before):
    text = encode(f"{before}{SECRET}".encode()).decode()
    hidden = redact(text, (SECRET,))
    assert hidden.count("***") == 1
    assert len(hidden) <= len(encode(before.encode())) + 6


def test_several_secrets_are_hidden():
    said = "client not-a-real-secret, brand local-brand, nobody"
    assert redact(said, ("not-a-real-secret", "local-brand")) == "client ***, brand ***, nobody"


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
    pieces = {shape(secret[i : i + 8]).lower() for i in range(len(secret) - 7)}
    assert not [piece for piece in pieces if piece in hidden]
