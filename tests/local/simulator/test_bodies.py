"""Bodies and headers that no documentation mentions."""

import contextlib
import gzip
import json
import math
import zlib

import pytest
import requests

from local.simulator import CREDENTIALS, RUDE_FAULTS, Fault
from local.simulator.catalogue import ODD_HEADERS, ODD_NUMBERS
from local.simulator.echoes import FORMS
from tests.local.simulator.conftest import IGNORE, auth, put

MIB = 2**20


def put_raw(clopos, token):
    """Return the answer with its body as it travelled."""
    response = requests.put(
        f"{clopos.url}/orders/108",
        data=IGNORE,
        headers={"x-token": token, "Content-Type": "application/json"},
        timeout=10,
        stream=True,
    )
    return response, response.raw.read(decode_content=False)


@pytest.mark.parametrize(
    ("encoding", "header", "decode"),
    [
        ("gzip", "gzip", gzip.decompress),
        ("deflate", "deflate", zlib.decompress),
        ("raw_deflate", "deflate", lambda content: zlib.decompress(content, wbits=-15)),
        ("gzip_twice", "gzip, gzip", lambda content: gzip.decompress(gzip.decompress(content))),
        ("unknown", "x-clopos", bytes),
        ("not_gzip", "gzip", bytes),
        ("not_brotli", "br", bytes),
    ],
)
def test_a_body_is_encoded_as_said_or_only_said_to_be(clopos, token, encoding, header, decode):
    clopos.fail(108, encoding)
    response, content = put_raw(clopos, token)
    assert response.headers["Content-Encoding"] == header
    assert json.loads(decode(content))["data"] == clopos.order(108)


@pytest.mark.parametrize("encoding", ["not_gzip", "garbage", "gzip_bad_checksum"])
def test_a_broken_content_coding_cannot_be_decoded(clopos, token, encoding):
    clopos.fail(108, encoding)
    with pytest.raises(requests.exceptions.ContentDecodingError):
        put(clopos, token)
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_truncated_gzip_ends_early(clopos, token):
    clopos.fail(108, "gzip_truncated")
    _, content = put_raw(clopos, token)
    with pytest.raises(EOFError):
        gzip.decompress(content)


def test_a_scripted_answer_can_be_encoded_too(clopos, token):
    clopos.fail(108, Fault(404, {"success": False, "error": "not_found"}, encoding="gzip"))
    assert put(clopos, token).json()["error"] == "not_found"


def test_a_bomb_is_small_on_the_wire_and_large_when_it_is_inflated(clopos, token):
    clopos.fail(108, "bomb")
    _, content = put_raw(clopos, token)
    assert len(content) < MIB / 50
    inflated = gzip.decompress(content)
    assert len(inflated) > 4 * MIB
    assert json.loads(inflated)["data"] == clopos.order(108)


def test_an_oversized_body_is_the_answer_and_over_a_mebibyte_of_spaces(clopos, token):
    clopos.fail(108, "oversized")
    response, content = put_raw(clopos, token)
    assert int(response.headers["Content-Length"]) == len(content) > MIB
    assert json.loads(content)["data"] == clopos.order(108)


def test_an_answer_may_start_with_a_byte_order_mark(clopos, token):
    clopos.fail(108, "byte_order_mark")
    content = put(clopos, token).content
    assert content.startswith(b"\xef\xbb\xbf{")
    assert json.loads(content.decode("utf-8-sig"))["data"] == clopos.order(108)


def test_an_answer_may_not_be_utf8(clopos, token):
    clopos.fail(108, "invalid_utf8")
    content = put(clopos, token).content
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    assert json.loads(content.decode(errors="replace"))["data"]["status"] == "IGNORE"


def test_an_answer_may_hold_a_number_of_5000_digits(clopos, token):
    clopos.fail(108, "huge_integer")
    content = put(clopos, token).content
    with pytest.raises(ValueError, match="Exceeds the limit"):
        json.loads(content)
    assert json.loads(content, parse_int=str)["data"]["integration_id"] == "9" * 5000


def test_an_answer_may_hold_a_number_that_becomes_infinite(clopos, token):
    clopos.fail(108, "huge_exponent")
    content = put(clopos, token).content
    assert b"1e999" in content
    assert json.loads(content)["data"]["integration_response"]["score"] == math.inf


def test_an_answer_may_hold_what_json_does_not_have(clopos, token):
    clopos.fail(108, "not_a_number")
    text = put(clopos, token).text
    assert "NaN" in text
    assert "Infinity" in text


def test_an_answer_may_hold_lone_surrogates(clopos, token):
    clopos.fail(108, "lone_surrogates")
    content = put(clopos, token).content
    assert rb"\ud800" in content
    with pytest.raises(UnicodeEncodeError):
        json.loads(content)["data"]["integration"].encode()


def test_an_answer_may_be_nested_too_deeply_for_a_parser(clopos, token):
    clopos.fail(108, "deeply_nested")
    content = put(clopos, token).content
    with pytest.raises(RecursionError):
        json.loads(content)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("year_1", {"updated_at": "0001-01-01T00:00:00+23:59"}),
        ("year_9999", {"updated_at": "9999-12-31T23:59:59-23:59"}),
        ("integer_integration_id", {"integration_id": 4711}),
        ("list_for_object", {"integration_response": []}),
        ("text_id", {"id": "108"}),
        ("odd_types", {"venue_id": "one", "type": None, "updated_at": 1.5}),
        ("another_order", {"id": 999_108}),
    ],
)
def test_an_odd_field_does_not_change_that_the_order_is_cancelled(clopos, token, name, data):
    clopos.fail(108, name)
    assert put(clopos, token).json()["data"].items() >= data.items()
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("header", ODD_HEADERS)
@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_a_header_about_waiting_may_have_any_value(clopos, token, header, number):
    clopos.fail(108, f"{header}:{number}", f"success:{header}:{number}")
    refused, cancelled = put(clopos, token), put(clopos, token)
    assert (refused.status_code, cancelled.status_code) == (429, 200)
    for response in (refused, cancelled):
        assert response.headers[ODD_HEADERS[header]] == ODD_NUMBERS[number]


def test_an_answer_may_set_a_cookie(clopos, token):
    clopos.fail(108, "cookie")
    assert put(clopos, token).cookies["session"] == "from-clopos"


# -- errors that repeat what the call sent


def test_an_error_repeats_the_token_inside_a_sentence(clopos, token):
    clopos.fail(108, "echo_token", "echo_token_400")
    for status in (401, 400):
        response = put(clopos, token)
        assert response.status_code == status
        assert response.json()["message"] == f"Token {token} is not valid for this brand"


def test_an_error_may_be_the_token_and_nothing_else(clopos, token):
    clopos.fail(108, "echo_token:alone")
    assert put(clopos, token).json()["message"] == token


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"whole"}))
def test_an_error_repeats_the_token_in_another_form(clopos, token, form):
    clopos.fail(108, f"echo_token:{form}")
    said = (
        put(clopos, token)
        .json()["message"]
        .removeprefix("Token ")
        .removesuffix(" is not valid for this brand")
    )
    assert said == FORMS[form](token)
    assert said != token


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("start", "tok/en+"),
        ("end", "part=.X"),
        ("first_12", "tok/en+part="),
        ("last_12", "k/en+part=.X"),
        ("upper", "TOK/EN+PART=.X"),
        ("lower", "tok/en+part=.x"),
        ("url", "tok%2Fen%2Bpart%3D%2EX"),
        ("base64", "dG9rL2VuK3BhcnQ9Llg="),
        ("spaced", "tok/en+p art=.X"),
    ],
)
def test_the_forms_of_a_repeated_text(form, expected):
    assert FORMS[form]("tok/en+part=.X") == expected


def test_auth_repeats_the_credentials_that_it_was_sent(clopos):
    clopos.fail_auth("echo_credentials", "echo_client_secret:upper")
    said = auth(clopos).json()["message"]
    assert all(value in said for value in CREDENTIALS.values())
    assert CREDENTIALS["client_secret"].upper() in auth(clopos).json()["message"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "Order test_mode not found"),
        (400, "Order test_mode: Status is not allowed"),
        (401, "No access to order test_mode"),
    ],
)
def test_an_error_repeats_the_order_id(clopos, token, status, text):
    clopos.fail("test_mode", f"echo_order_id_{status}")
    response = put(clopos, token, "test_mode")
    assert (response.status_code, response.json()["message"]) == (status, text)


def test_any_text_of_a_scripted_body_can_repeat_the_call(clopos, token):
    clopos.fail(108, Fault(418, {"errors": [{"of": "{order_id}", "token": "{token:upper}"}], "{token}": 1}))
    assert put(clopos, token).json() == {"errors": [{"of": "108", "token": token.upper()}], "{token}": 1}


def test_every_rude_fault_is_answered_or_breaks_the_connection_but_never_the_simulator(clopos, token):
    waiting = {name for name, fault in RUDE_FAULTS.items() if fault.delivery in ("silence", "stalled")}
    for name in RUDE_FAULTS.keys() - waiting:
        clopos.fail(108, name)
        with contextlib.suppress(requests.RequestException):  # many are meant to break the connection
            assert put(clopos, token).status_code != 500
    assert clopos.calls(108)[-1].fault in RUDE_FAULTS
    assert put(clopos, token).status_code == 200
