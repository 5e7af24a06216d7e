"""What each answer of Clopos means: the order is cancelled, may be cancelled, or why it is not."""

import json

import pytest
from cancellation.transport import Answer
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from cancellation.answers import Refused, TokenRefused, read_cancellation, read_check
from cancellation.errors import CancelError
from cancellation.messages import Order
from local.simulator import REFUSALS, STYLES
from local.simulator.refusals import refuse
from tests.strategies import json_values, text

ORDER = Order("108")
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJicmFuZCI6ImxvY2FsIn0.not-a-real-token"
DATA = {
    "id": 108,
    "venue_id": 1,
    "type": "CALL_CENTER_ORDER",
    "integration": "call_center_new",
    "integration_uuid": None,
    "integration_id": None,
    "customer_ref_id": None,
    "integration_status": "CREATED",
    "status": "IGNORE",
    "created_at": "2026-02-02T13:45:53.000000Z",
    "updated_at": "2026-02-02T17:46:02.000000Z",
    "integration_response": None,
}
RESULT = DATA | {"created_at": "2026-02-02T13:45:53Z", "updated_at": "2026-02-02T17:46:02Z"}
REFUSAL = Refused("order_not_cancellable", "no", {"status": 400, "error": None, "message": None})
HTML = "<html><body>Bad gateway</body></html>"


def answer(status=200, body=None, headers=None):
    """Return an answer of Clopos; a body that is neither text nor bytes is sent as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    return Answer("PUT", "clopos", status, CaseInsensitiveDict(headers or {}), body, None, 0.0, 0.0)


def cancelled(data):
    return answer(200, {"success": True, "data": data})


def error_of(answer, order=ORDER):
    with pytest.raises(CancelError) as raised:
        read_cancellation(answer, order, TOKEN)
    return raised.value


def meaning(answer, order=ORDER):
    """Return the meaning of an answer without success: a code, or the name of an exception."""
    error = error_of(answer, order)
    if isinstance(error, TokenRefused | Refused):
        return type(error).__name__
    return error.code


# -- an order that is cancelled


def test_the_documented_answer():
    assert read_cancellation(cancelled(DATA), ORDER, TOKEN) == RESULT
    assert list(read_cancellation(cancelled(DATA), ORDER, TOKEN)) == list(DATA)


def test_the_older_answer_leaves_nulls():
    body = {"success": True, "data": {"id": 108, "status": "IGNORE"}, "timestamp": "2025-10-23 14:13:09"}
    assert read_cancellation(answer(200, body), ORDER, TOKEN) == dict.fromkeys(DATA) | {
        "id": 108,
        "status": "IGNORE",
    }


def test_unknown_fields_are_dropped():
    body = {"success": True, "data": DATA | {"shelf": {"row": 7}, "payload": {"phone": "1"}}, "total": 1}
    assert read_cancellation(answer(200, body), ORDER, TOKEN) == RESULT


def test_fields_of_the_documented_types_are_passed_on():
    said = {"integration_uuid": "4f5a", "customer_ref_id": "ref-7", "integration_response": {"code": [3.5]}}
    assert read_cancellation(cancelled(DATA | said), ORDER, TOKEN) == RESULT | said


@pytest.mark.parametrize(("order_id", "data_id"), [("108", 108), ("108", "108"), ("ORD-1", "ORD-1")])
def test_an_id_is_compared_as_text(order_id, data_id):
    assert read_cancellation(cancelled(DATA | {"id": data_id}), Order(order_id), TOKEN)["id"] == data_id


@pytest.mark.parametrize(
    ("upstream", "result"),
    [
        ("2026-02-02T17:46:02.999999Z", "2026-02-02T17:46:02Z"),
        ("2026-02-02T21:46:02+04:00", "2026-02-02T17:46:02Z"),
        ("2026-02-02T17:46:02", "2026-02-02T17:46:02Z"),
        ("2026-02-02 17:46:02", "2026-02-02T17:46:02Z"),
        (None, None),
    ],
)
def test_timestamps_become_rfc_3339_in_utc(upstream, result):
    assert read_cancellation(cancelled(DATA | {"updated_at": upstream}), ORDER, TOKEN)["updated_at"] == result


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("integration_id", 7),
        ("integration_id", "\ud800"),
        ("customer_ref_id", ["a"]),
        ("type", {}),
        ("venue_id", "1"),
        ("venue_id", True),
        ("venue_id", 1.5),
        ("integration_response", []),
        ("integration_response", "text"),
        ("integration_response", {"half": "\udfff"}),
        ("created_at", "yesterday"),
        ("created_at", 1767852332),
        ("updated_at", "0001-01-01T00:00:00Z"),
        ("updated_at", "0001-01-01T00:00:00+14:00"),
        ("updated_at", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_an_odd_field_becomes_null_and_the_order_is_cancelled(field, value):
    assert read_cancellation(cancelled(DATA | {field: value}), ORDER, TOKEN) == RESULT | {field: None}


def test_numbers_that_json_does_not_know_are_null_inside_an_object():
    body = json.dumps({"success": True, "data": DATA | {"integration_response": "HERE"}})
    body = body.replace('"HERE"', '{"a": NaN, "b": [-Infinity], "c": 1e999, "d": 1.5}')
    result = read_cancellation(answer(200, body), ORDER, TOKEN)
    assert result["integration_response"] == {"a": None, "b": [None], "c": None, "d": 1.5}


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param('\ufeff{"success": true, "data": DATA}', id="a byte order mark"),
        pytest.param('{"success": true, "data": DATA, "time": NaN, "total": -Infinity}', id="NaN"),
        pytest.param('{"success": true, "data": DATA, "unix": 1e999}', id="a number too large for a float"),
        pytest.param('{"success": true, "data": DATA, "unix": ' + "1" * 5000 + "}", id="5,000 digits"),
        pytest.param('{"success": true, "data": DATA, "note": "\\ud800"}', id="half of a surrogate pair"),
        pytest.param(' \r\n{"success":true,"data":DATA}\n ', id="white space"),
        pytest.param('{"success": false, "success": true, "data": DATA}', id="a repeated key"),
    ],
)
def test_an_odd_spelling_does_not_matter(spelling):
    body = spelling.replace("DATA", json.dumps(DATA))
    assert read_cancellation(answer(200, body), ORDER, TOKEN) == RESULT


def test_bytes_that_are_not_utf_8_do_not_matter():
    body = json.dumps({"success": True, "data": DATA, "note": "NOTE"}).encode().replace(b"NOTE", b"\xff\xfe")
    assert read_cancellation(answer(200, body), ORDER, TOKEN) == RESULT


@pytest.mark.parametrize("status", [201, 202, 203])
def test_any_success_status_is_accepted(status):
    assert read_cancellation(answer(status, {"success": True, "data": DATA}), ORDER, TOKEN) == RESULT


# -- what an answer without success means

TOKEN_REFUSED, REFUSED = "TokenRefused", "Refused"
MEANINGS = {
    "headers_missing": TOKEN_REFUSED,
    "invalid_token": TOKEN_REFUSED,
    "token_expired": TOKEN_REFUSED,
    "wrong_credentials": TOKEN_REFUSED,
    "unknown_integrator": "clopos_access_denied",
    "integrator_deactivated": "clopos_access_denied",
    "client_disabled": "clopos_access_denied",
    "test_mode": "clopos_access_denied",
    "test_mode_200": "clopos_access_denied",
    "module_missing": "clopos_access_denied",
    "staff_role": "clopos_access_denied",
    "missing_fields": REFUSED,
    "bad_venue": REFUSED,
    "not_json": REFUSED,
    "extra_fields": REFUSED,
    "status_not_allowed": REFUSED,
    "unauthorized": TOKEN_REFUSED,
    "invalid_parameter": REFUSED,
    "not_found": "order_not_found",
    "model_not_found": "order_not_found",
    "resource_not_found": "order_not_found",
    "no_route": "order_not_found",
    "rate_limited": "rate_limited",
    "quota_exceeded": "rate_limited",
    "server_error": "clopos_unavailable",
    "unavailable": "clopos_unavailable",
    "gateway_timeout": "clopos_timeout",
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_means_the_same_in_every_style(name, style):
    refusal = refuse(name, style)
    assert meaning(answer(refusal.status, refusal.body)) == MEANINGS[name]


def refuses(error=None, message=None):
    return (
        {"success": False} | ({"error": error} if error else {}) | ({"message": message} if message else {})
    )


@pytest.mark.parametrize(
    ("answered", "meant"),
    [
        # The status alone.
        (answer(400, refuses()), REFUSED),
        (answer(400, refuses("?")), REFUSED),
        (answer(409, refuses(message="busy")), REFUSED),
        (answer(422, refuses(message="no")), REFUSED),
        (answer(401, ""), TOKEN_REFUSED),
        (answer(401, HTML), TOKEN_REFUSED),
        (answer(401, refuses()), TOKEN_REFUSED),
        (answer(401, refuses("unauthorized")), TOKEN_REFUSED),
        (answer(401, refuses(message="The token has expired")), TOKEN_REFUSED),
        (answer(401, refuses(message="Missing or invalid authentication headers")), TOKEN_REFUSED),
        (answer(403, HTML), "clopos_access_denied"),
        (answer(429, HTML), "rate_limited"),
        (answer(429, refuses("rate_limited")), "rate_limited"),
        (answer(500, ""), "clopos_unavailable"),
        (answer(501, ""), "clopos_unavailable"),
        (answer(502, HTML), "clopos_unavailable"),
        (answer(503, {"success": True, "data": DATA}), "clopos_unavailable"),
        (answer(504, HTML), "clopos_timeout"),
        (answer(599, ""), "clopos_unavailable"),
        # A page of a proxy must not blame the order: only the check tells.
        (answer(400, HTML), REFUSED),
        (answer(400, ""), REFUSED),
        (answer(404, HTML), "clopos_bad_response"),
        (answer(404, ""), "clopos_bad_response"),
        (answer(409, "[]"), REFUSED),
        # Undocumented.
        (answer(204, ""), "clopos_bad_response"),
        (answer(301, ""), "clopos_bad_response"),
        (answer(402, refuses()), "clopos_bad_response"),
        (answer(405, refuses()), "clopos_bad_response"),
        (answer(410, {"message": "gone"}), "clopos_bad_response"),
        (answer(418, refuses()), "clopos_bad_response"),
        # A 200 alone means nothing.
        (answer(200, ""), "clopos_bad_response"),
        (answer(200, HTML), "clopos_bad_response"),
        (answer(200, "null"), "clopos_bad_response"),
        (answer(200, [1]), "clopos_bad_response"),
        (answer(200, '{"success": tr'), "clopos_bad_response"),
        (answer(200, "[" * 100_000), "clopos_bad_response"),
        (answer(200, '{"data":' * 100_000), "clopos_bad_response"),
        (answer(200, {"data": DATA}), "clopos_bad_response"),
        (answer(200, {"success": "true", "data": DATA}), "clopos_bad_response"),
        (answer(200, {"success": 1, "data": DATA}), "clopos_bad_response"),
        (answer(200, {"success": True}), "clopos_bad_response"),
        (answer(200, {"success": True, "data": [DATA]}), "clopos_bad_response"),
        (answer(200, {"success": True, "data": None}), "clopos_bad_response"),
        (answer(200, {"success": True, "data": {"status": "IGNORE"}}), "clopos_bad_response"),
        (answer(200, {"success": True, "message": "Order not found"}), "clopos_bad_response"),
        (answer(200, refuses("not_found", "Order not found")), "order_not_found"),
        (answer(200, refuses("resource_not_found")), "order_not_found"),
        (answer(200, refuses("validation_failed", "Status is not allowed")), REFUSED),
        (answer(200, refuses(message="Status is not allowed")), REFUSED),
        (answer(200, refuses("?")), REFUSED),
        (answer(200, refuses("token_expired")), TOKEN_REFUSED),
        (answer(200, refuses(message="Invalid token")), TOKEN_REFUSED),
        (answer(200, refuses("rate_limited")), "rate_limited"),
        (answer(200, refuses("Invalid integrator_id")), "clopos_access_denied"),
        # The body could not be decoded, or is too large.
        (answer(200, None), "clopos_bad_response"),
        (answer(400, None), REFUSED),
        (answer(503, None), "clopos_unavailable"),
    ],
)
def test_what_an_answer_means(answered, meant):
    assert meaning(answered) == meant


@pytest.mark.parametrize("data_id", [109, "109", "0108", 108.0, True, None, [108], {"id": 108}])
def test_an_answer_about_another_order_is_a_bad_response(data_id):
    assert meaning(cancelled(DATA | {"id": data_id})) == "clopos_bad_response"


@pytest.mark.parametrize("status", ["PENDING", "RECEIVED", "ignore", None, ["IGNORE"], True])
def test_an_order_that_is_not_at_ignore_is_not_cancelled(status):
    assert meaning(cancelled(DATA | {"status": status})) == "clopos_bad_response"


@pytest.mark.parametrize(
    ("status", "order_id", "sentence", "meant"),
    [
        (400, "invalid_token", "Order invalid_token cannot be ignored", REFUSED),
        (400, "test_mode", "Order test_mode is DELIVERED", REFUSED),
        (400, "client_is_disabled", "Order client_is_disabled: status is not allowed", REFUSED),
        (400, "Invalid_integrator_id", "Invalid_integrator_id is not pending", REFUSED),
        (200, "not_found", "not_found: status is not allowed", REFUSED),
        (200, "token_expired", "Order token_expired does not exist: not found", "order_not_found"),
        (404, "108", "Not found. This integrator is in test mode", "order_not_found"),
        (404, "108", "Invalid token", "order_not_found"),
        (409, "108", "Client is disabled", REFUSED),
        (503, "108", "Invalid token", "clopos_unavailable"),
        (401, "invalid_integrator_id", "No access to invalid_integrator_id", TOKEN_REFUSED),
    ],
)
def test_words_count_only_if_the_status_leaves_room_and_never_the_callers_own(
    status, order_id, sentence, meant
):
    assert meaning(answer(status, refuses(message=sentence)), Order(order_id)) == meant


def test_an_error_repeats_what_clopos_said():
    error = error_of(answer(400, refuses("validation_failed", "two\nlines\x00\x1b[31m\ud800")))
    assert error.upstream == {
        "status": 400,
        "error": "validation_failed",
        "message": "two lines  [31m ",
    }
    assert error.upstream["message"] in error.message


@pytest.mark.parametrize("said", [7, None, ["no"], {"text": "no"}, True])
def test_words_that_are_no_text_are_left_out(said):
    error = error_of(answer(400, {"success": False, "error": said, "message": said}))
    assert error.upstream == {"status": 400, "error": None, "message": None}


def test_long_words_are_cut_short():
    assert len(error_of(answer(400, refuses(message="x" * 5000))).message) < 1000


def test_an_error_carries_how_long_clopos_asks_to_wait():
    assert error_of(answer(429, refuses(), {"RateLimit-Reset": "41"})).retry_after_s == 41
    assert error_of(answer(503, refuses(), {"Retry-After": "120"})).retry_after_s == 120
    assert error_of(answer(503, refuses(), {"RateLimit-Reset": "41"})).retry_after_s is None


# -- the check of the order after a refusal


def looked(data, refusal=REFUSAL):
    with pytest.raises(CancelError) as raised:
        read_check(cancelled(data), ORDER, TOKEN, refusal)
    return raised.value


def test_an_order_that_turns_out_to_be_cancelled_is_a_success():
    assert read_check(cancelled(DATA), ORDER, TOKEN, REFUSAL) == RESULT


def test_the_customer_in_the_order_goes_nowhere():
    data = DATA | {"payload": {"customer": {"name": "A. Person", "phone": "+994500000000"}}}
    assert "payload" not in read_check(cancelled(data), ORDER, TOKEN, REFUSAL)
    assert "Person" not in repr(looked(data | {"status": "RECEIVED"}).envelope("request-1"))


@pytest.mark.parametrize(
    ("receipt", "receipt_id"),
    [
        ({"id": 10950, "status": "OPEN"}, 10950),
        (None, None),
        ([], None),
        ({"id": "10950"}, None),
        ({"id": True}, None),
        ({}, None),
    ],
)
def test_an_order_that_is_not_cancelled_is_told_with_its_status_and_receipt(receipt, receipt_id):
    error = looked(DATA | {"status": "RECEIVED", "receipt": receipt})
    assert error.code == "order_not_cancellable"
    assert error.envelope("request-1")["order"] == {"status": "RECEIVED", "receipt_id": receipt_id}
    assert "RECEIVED" in error.message
    assert (str(receipt_id) in error.message) == (receipt_id is not None)
    assert error.upstream == REFUSAL.upstream


@pytest.mark.parametrize(
    "checked",
    [
        answer(200, {"success": True, "data": DATA | {"id": 109}}),
        answer(200, {"success": True, "data": DATA | {"status": 5}}),
        answer(200, {"success": True, "data": None}),
        answer(200, HTML),
        answer(400, refuses("validation_failed")),
        answer(200, refuses("validation_failed")),
        answer(200, None),
    ],
)
def test_a_check_without_an_order_decides_nothing(checked):
    with pytest.raises(CancelError) as raised:
        read_check(checked, ORDER, TOKEN, REFUSAL)
    assert raised.value.code == "clopos_bad_response"


@pytest.mark.parametrize(
    ("checked", "code"),
    [
        (answer(404, refuses("not_found")), "order_not_found"),
        (answer(401, ""), "clopos_access_denied"),
        (answer(429, HTML), "rate_limited"),
        (answer(503, HTML), "clopos_unavailable"),
        (answer(504, HTML), "clopos_timeout"),
    ],
)
def test_a_check_that_fails_is_the_error(checked, code):
    with pytest.raises(CancelError) as raised:
        read_check(checked, ORDER, TOKEN, REFUSAL)
    assert raised.value.code == code


# -- any answer

mutated = st.dictionaries(st.sampled_from([*DATA, "payload", "receipt"]), json_values, max_size=4)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "success": st.sampled_from([True, False, True, 1, "true", None]),
        "error": json_values | st.sampled_from([row[2] for row in REFUSALS.values()]),
        "message": json_values | st.sampled_from([row[3] for row in REFUSALS.values()]),
        "data": json_values | mutated.map(lambda changes: DATA | changes),
        "note": json_values,
    },
)
contents = st.one_of(
    envelopes.map(json.dumps).map(str.encode),
    envelopes.map(json.dumps).map(lambda body: body.encode("utf-8-sig")),
    st.tuples(envelopes.map(json.dumps), st.integers(0, 200)).map(lambda body: body[0][: body[1]].encode()),
    json_values.map(json.dumps).map(str.encode),
    text.map(str.encode),
    st.binary(max_size=64),
    st.none(),
)
header_values = text | st.sampled_from(["-1", "NaN", "1e9", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"])
headers = st.dictionaries(
    st.sampled_from(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]),
    header_values,
)


@given(st.builds(answer, st.integers(200, 599), contents, headers), st.booleans())
def test_every_answer_is_a_cancelled_order_or_a_documented_error_that_can_be_written(answered, is_check):
    read = read_check if is_check else read_cancellation
    arguments = (REFUSAL,) if is_check else ()
    try:
        envelope = {"success": True, "data": read(answered, ORDER, TOKEN, *arguments)}
        said = json.loads(answered.body.decode("utf-8-sig", errors="replace"))
        assert said["success"] is True
        assert str(said["data"]["id"]) == "108"
        assert said["data"]["status"] == "IGNORE"
    except CancelError as error:
        envelope = error.envelope("request-1")
        assert error.retry_after_s is None or 0 <= error.retry_after_s <= 12 * 60 * 60  # noqa: PT017
    json.dumps(envelope, allow_nan=False, ensure_ascii=False).encode()
