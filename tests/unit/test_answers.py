"""What each answer of Clopos means: the order is cancelled, may be cancelled, or why it is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from cancellation.answers import Refused, TokenRefused, read_cancellation, read_check
from cancellation.errors import CancelError
from cancellation.exchange import Exchange
from cancellation.messages import Order
from local.simulator import REFUSALS
from tests.strategies import json_values, text

ORDER = Order("108")
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
UPSTREAM = {"status": 400, "error": "validation_failed", "message": "Status is not allowed"}
REFUSAL = Refused("clopos_bad_response", "no", UPSTREAM, retry_after_s=7)
HTML = "<html><body>Bad gateway</body></html>"
# In an error that is a list of objects.
NO_MODEL = {"message": "No query results for model [App\\Order] 1000", "exception": "NotFoundHttpException"}


def answer(status=200, body=None, headers=None):
    """Return an answer of Clopos; a body that is neither text nor bytes is sent as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    return Exchange("PUT", "clopos", 0.0, 0.0, status, CaseInsensitiveDict(headers or {}), body)


def cancelled(data):
    return answer(200, {"success": True, "data": data})


def error_of(answered, order=ORDER):
    with pytest.raises(CancelError) as raised:
        read_cancellation(answered, order)
    return raised.value


def meaning(answered, order=ORDER):
    """Return the meaning of an answer without success: a code, or the name of an exception."""
    error = error_of(answered, order)
    return type(error).__name__ if isinstance(error, TokenRefused | Refused) else error.code


# -- an order that is cancelled


def test_the_documented_answer_in_the_order_of_its_fields():
    assert list(read_cancellation(cancelled(DATA), ORDER).items()) == list(RESULT.items())


def test_the_older_answer_leaves_nulls():
    body = {"success": True, "data": {"id": 108, "status": "IGNORE"}, "timestamp": "2025-10-23 14:13:09"}
    assert read_cancellation(answer(200, body), ORDER) == dict.fromkeys(DATA) | body["data"]


def test_unknown_fields_are_dropped():
    data = DATA | {"receipt_id": 7, "payload": {"customer": {"phone": "1"}}}
    assert read_cancellation(answer(201, {"success": True, "data": data, "total": 1}), ORDER) == RESULT


@pytest.mark.parametrize(("order_id", "data_id"), [("108", 108), ("108", "108"), ("ORD-1", "ORD-1")])
def test_an_id_is_compared_as_text(order_id, data_id):
    assert read_cancellation(cancelled(DATA | {"id": data_id}), Order(order_id))["id"] == data_id


@pytest.mark.parametrize(
    ("field", "sent", "received"),
    [
        ("integration_id", 7, "7"),
        ("customer_ref_id", 10**20, str(10**20)),
        ("integration_uuid", "4f5a", "4f5a"),
        ("integration_response", {"code": [3.5]}, {"code": [3.5]}),
        ("updated_at", "2026-02-02T17:46:02.999999Z", "2026-02-02T17:46:02Z"),
        ("updated_at", "2026-02-02T21:46:02+04:00", "2026-02-02T17:46:02Z"),
        ("updated_at", "2026-02-02 17:46:02", "2026-02-02T17:46:02Z"),
        # Of another type than documented:
        ("integration_id", "\ud800", None),
        ("integration_id", True, None),
        ("customer_ref_id", ["a"], None),
        ("customer_ref_id", 1.5, None),
        ("type", 7, None),
        ("venue_id", "1", None),
        ("venue_id", True, None),
        ("integration_response", "text", None),
        ("integration_response", {"half": "\udfff"}, None),
        ("created_at", "yesterday", None),
        ("created_at", 1767852332, None),
        ("updated_at", "1969-12-31T23:59:59Z", None),
        ("updated_at", "9999-12-31T23:59:59-14:00", None),
    ],
)
def test_a_field_is_passed_on_or_null_and_the_order_is_cancelled(field, sent, received):
    assert read_cancellation(cancelled(DATA | {field: sent}), ORDER) == RESULT | {field: received}


@pytest.mark.parametrize(
    "spelling",
    [
        '\ufeff{"success": true, "data": DATA}',
        '{"success": true, "data": DATA, "time": NaN, "total": -Infinity}',
        '{"success": true, "data": DATA, "unix": 1e999}',
        '{"success": true, "data": DATA, "unix": ' + "1" * 5000 + "}",
        '{"success": true, "data": DATA, "note": "\\ud800"}',
        '{"success": false, "success": true, "data": DATA}',
    ],
    ids=["a byte order mark", "NaN", "1e999", "5,000 digits", "half of a surrogate pair", "a repeated key"],
)
def test_an_odd_spelling_does_not_matter(spelling):
    assert read_cancellation(answer(200, spelling.replace("DATA", json.dumps(DATA))), ORDER) == RESULT


def test_bytes_that_are_not_utf_8_do_not_matter():
    body = json.dumps({"success": True, "data": DATA, "note": "NOTE"}).encode().replace(b"NOTE", b"\xff\xfe")
    assert read_cancellation(answer(200, body), ORDER) == RESULT


def test_numbers_that_json_does_not_know_are_null_inside_an_object():
    body = json.dumps({"success": True, "data": DATA | {"integration_response": "HERE"}})
    body = body.replace('"HERE"', '{"a": NaN, "b": [-Infinity], "c": 1e999, "d": 1.5}')
    result = read_cancellation(answer(200, body), ORDER)
    assert result["integration_response"] == {"a": None, "b": [None], "c": None, "d": 1.5}


# -- what an answer without success means

TOKEN_REFUSED, REFUSED = "TokenRefused", "Refused"
NAMES = {
    TOKEN_REFUSED: "headers_missing invalid_token token_expired wrong_credentials unauthorized",
    REFUSED: "missing_fields bad_venue bad_relation not_json extra_fields status_not_allowed invalid_parameter",
    "clopos_access_denied": "unknown_integrator integrator_deactivated client_disabled test_mode test_mode_200 "
    "module_missing staff_role",
    "order_not_found": "not_found resource_not_found no_route model_not_found",
    "rate_limited": "rate_limited quota_exceeded",
    "clopos_unavailable": "server_error unavailable",
    "clopos_timeout": "gateway_timeout",
}
MEANINGS = {name: meant for meant, names in NAMES.items() for name in names.split()}


def form_of(style, status, error, message):
    """Return an error in one of the forms in which Clopos sends it."""
    entry = {"message": message, "type": "server_side", "exception": "HttpException", "http_code": status}
    return {
        "sentence": {"success": False, "error": message, "message": message},
        "identifier": {"success": False, "error": error, "message": message},
        "message": {"success": False, "message": message},
        "list": {"success": False, "error": [entry]},
        "list without success": {"error": ["", entry, {"message": "later"}]},
    }[style]


STYLES = ["sentence", "identifier", "message", "list", "list without success"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_means_the_same_in_every_form(name, style):
    status, _, error, message = REFUSALS[name]
    assert meaning(answer(status, form_of(style, status, error, message))) == MEANINGS[name]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("name", [name for name in REFUSALS if REFUSALS[name].status != 200])
def test_a_list_means_the_same_under_a_status_that_says_nothing(name, status):
    refusal = REFUSALS[name]
    body = form_of("list", refusal.status, refusal.error, refusal.text)
    assert meaning(answer(status, body)) == MEANINGS[name]


@pytest.mark.parametrize(
    ("status", "entry", "meant"),
    [
        (404, NO_MODEL | {"http_code": 404}, "order_not_found"),
        (400, NO_MODEL, "order_not_found"),  # by its words
        (200, NO_MODEL, "order_not_found"),
        (
            401,
            {"message": "Invalid integrator_id", "http_code": 401},
            "clopos_access_denied",
        ),  # not a renewal
        (404, {"message": "Status is not allowed", "http_code": 400}, "order_not_found"),
        (401, NO_MODEL | {"http_code": 404}, TOKEN_REFUSED),
        (200, {"message": "?", "http_code": "404"}, REFUSED),
        (200, {"message": "?", "http_code": 418}, REFUSED),
        (503, NO_MODEL | {"http_code": 404}, "clopos_unavailable"),
    ],
)
def test_what_a_list_says_counts_where_the_status_leaves_room(status, entry, meant):
    error = error_of(answer(status, {"success": False, "error": [entry]}))
    assert meaning(answer(status, {"success": False, "error": [entry]})) == meant
    assert error.upstream == {"status": status, "error": entry.get("exception"), "message": entry["message"]}


NO = {"success": False}


@pytest.mark.parametrize(
    ("meant", "answers"),
    [
        (REFUSED, [(400, NO), (409, NO), (422, NO), (400, HTML), (400, None), (409, "[]"), (200, NO | {"error": "?"})]),
        (TOKEN_REFUSED, [(401, ""), (401, HTML), (401, NO), (200, NO | {"message": "The token has expired"})]),
        ("clopos_access_denied", [(403, HTML), (200, NO | {"error": "Client is disabled"})]),
        ("rate_limited", [(429, HTML), (200, NO | {"error": "rate_limited"})]),
        ("clopos_unavailable", [(500, ""), (502, HTML), (503, {"success": True, "data": DATA}), (599, None)]),
        ("clopos_timeout", [(504, HTML)]),
        ("order_not_found", [(404, NO), (404, {"message": "gone"}), (200, NO | {"error": "not_found"})]),
        # A page of a proxy must not blame the order. A 200 alone means nothing. The rest is not documented.
        ("clopos_bad_response", [(404, HTML), (404, ""), (404, None), (200, ""), (200, HTML), (200, "null")]),
        ("clopos_bad_response", [(200, None), (200, [1]), (200, '{"success": tr'), (200, "[" * 100_000)]),
        ("clopos_bad_response", [(200, {"data": DATA}), (200, {"success": "true", "data": DATA})]),
        ("clopos_bad_response", [(200, {"success": 1, "data": DATA}), (200, {"success": True})]),
        ("clopos_bad_response", [(200, {"success": True, "data": [DATA]}), (204, ""), (301, ""), (402, NO)]),
        ("clopos_bad_response", [(405, NO), (410, NO), (200, {"success": True, "message": "Order not found"})]),
    ],
)  # fmt: skip
def test_what_an_answer_means(meant, answers):
    assert [meaning(answer(*answered)) for answered in answers] == [meant] * len(answers)


@pytest.mark.parametrize("data_id", [109, "109", "0108", 108.0, True, None, [108], {"id": 108}])
def test_an_answer_about_another_order_is_a_bad_response(data_id):
    assert meaning(cancelled(DATA | {"id": data_id})) == "clopos_bad_response"


@pytest.mark.parametrize("status", ["PENDING", "RECEIVED", "ignore", None, ["IGNORE"], True])
def test_an_order_that_is_not_at_ignore_is_not_cancelled(status):
    assert meaning(cancelled(DATA | {"status": status})) == "clopos_bad_response"


@pytest.mark.parametrize(
    ("status", "order_id", "sentence", "meant"),
    [
        (400, "test_mode", "Order test_mode is DELIVERED", REFUSED),
        (400, "client_is_disabled", "Order client_is_disabled: status is not allowed", REFUSED),
        (200, "token_expired", "Order token_expired does not exist: not found", "order_not_found"),
        (404, "108", "Not found. This integrator is in test mode", "order_not_found"),
        (409, "108", "Client is disabled", REFUSED),
        (503, "108", "Invalid token", "clopos_unavailable"),
        (401, "invalid_integrator_id", "No access to Invalid_Integrator_ID", TOKEN_REFUSED),
        (400, "108", "x" * 3000 + " client is disabled", REFUSED),
    ],
)
def test_words_count_only_if_the_status_leaves_room_and_never_the_callers_own(
    status, order_id, sentence, meant
):
    assert meaning(answer(status, NO | {"message": sentence}), Order(order_id)) == meant


def test_an_error_repeats_what_clopos_said_short_and_printable():
    body = NO | {"error": "validation_failed", "message": "two\nlines\x00\x1b[31m\ud800" + "x" * 5000}
    error = error_of(answer(400, body))
    assert error.upstream == {**UPSTREAM, "message": error.upstream["message"]}
    assert error.upstream["message"].startswith("two lines  [31m x")
    assert error.upstream["message"] in error.message
    assert len(error.message) < 1000


@pytest.mark.parametrize("said", [7, None, ["no"], {"text": "no"}, True])
def test_words_that_are_no_text_are_left_out(said):
    error = error_of(answer(400, NO | {"error": said, "message": said}))
    assert error.upstream == {"status": 400, "error": None, "message": None}


def test_an_error_carries_how_long_clopos_asks_to_wait():
    assert error_of(answer(429, NO, {"RateLimit-Reset": "41"})).retry_after_s == 41
    assert error_of(answer(503, NO, {"Retry-After": "120"})).retry_after_s == 120


# -- the check of the order after a refusal


def check(answered):
    with pytest.raises(CancelError) as raised:
        read_check(answered, ORDER, REFUSAL)
    return raised.value


def test_an_order_that_turns_out_to_be_cancelled_is_a_success_without_its_customer():
    data = DATA | {"payload": {"customer": {"name": "A. Person", "phone": "+994500000000"}}}
    assert read_check(cancelled(data), ORDER, REFUSAL) == RESULT


def test_there_is_no_verdict_while_the_order_is_pending():
    error = check(cancelled(DATA | {"status": "PENDING"}))
    assert (error.code, error.kind.retryable, error.kind.is_final) == ("clopos_bad_response", True, False)
    assert (error.upstream, error.retry_after_s) == (UPSTREAM, 7)


LATER = "NEW SCHEDULED IN_PROGRESS READY PICKED_UP CONFIRMED COMPLETED CANCELLED RECEIVED DELIVERED ignore"


@pytest.mark.parametrize("status", LATER.split())
def test_any_other_status_is_final(status):
    error = check(cancelled(DATA | {"status": status, "payload": {"name": "A. Person"}}))
    assert error.code == "order_not_cancellable"
    assert status in error.message
    assert error.envelope("request-1")["order"] == {"status": status, "receipt_id": None}
    assert error.upstream == UPSTREAM
    assert "Person" not in repr(error.envelope("request-1"))


@pytest.mark.parametrize(
    ("receipt", "receipt_id"),
    [
        ({"id": 10950, "status": "OPEN"}, 10950),
        (None, None),
        ([], None),
        ({"id": "10950"}, None),
        ({"id": True}, None),
    ],
)
def test_the_receipt_of_an_order_is_told(receipt, receipt_id):
    error = check(cancelled(DATA | {"status": "RECEIVED", "receipt": receipt}))
    assert error.order == {"status": "RECEIVED", "receipt_id": receipt_id}
    assert (str(receipt_id) in error.message) == (receipt_id is not None)


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        ("clopos_bad_response", cancelled(DATA | {"id": 109})),
        ("clopos_bad_response", cancelled(DATA | {"status": 5})),
        ("clopos_bad_response", answer(200, HTML)),
        ("clopos_bad_response", answer(400, NO | {"error": "validation_failed"})),
        ("clopos_bad_response", answer(200, NO | {"error": "validation_failed"})),
        ("order_not_found", answer(404, NO)),
        ("clopos_access_denied", answer(401, "")),
        ("rate_limited", answer(429, HTML)),
        ("clopos_unavailable", answer(503, HTML)),
        ("clopos_timeout", answer(504, HTML)),
    ],
)
def test_a_check_that_fails_decides_nothing_about_the_order(code, answered):
    assert check(answered).code == code


# -- any answer

errors = json_values | st.sampled_from([value for row in REFUSALS.values() for value in row[2:4]])
entries = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"message": errors, "exception": errors, "http_code": st.integers(100, 599) | json_values},
    ),
    max_size=2,
)
changes = st.dictionaries(st.sampled_from([*DATA, "payload", "receipt"]), json_values, max_size=4)
statuses = st.sampled_from(["IGNORE", "PENDING", *LATER.split()]).map(lambda status: {"status": status})
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "success": st.sampled_from([True, False, True, 1, "true", None]),
        "error": errors | entries,
        "message": errors,
        "data": json_values
        | st.tuples(changes, statuses | changes).map(lambda both: DATA | both[0] | both[1]),
        "note": json_values,
    },
)
contents = st.one_of(
    envelopes.map(json.dumps).map(str.encode),
    envelopes.map(json.dumps).map(lambda body: body.encode("utf-8-sig")),
    st.tuples(envelopes.map(json.dumps), st.integers(0, 200)).map(lambda body: body[0][: body[1]].encode()),
    text.map(str.encode),
    st.binary(max_size=64),
    st.none(),
)


@given(st.sampled_from([200, 400, 401, 404]) | st.integers(200, 599), contents, st.booleans())
def test_every_answer_is_a_cancelled_order_or_a_documented_error_that_can_be_written(
    status, content, is_check
):
    answered = answer(status, content)
    try:
        data = read_check(answered, ORDER, REFUSAL) if is_check else read_cancellation(answered, ORDER)
        envelope = {"success": True, "data": data}
        sent = json.loads(answered.body.decode("utf-8-sig", errors="replace"))
        assert sent["success"] is True
        assert str(sent["data"]["id"]) == "108"
        assert sent["data"]["status"] == "IGNORE"
    except CancelError as error:
        envelope = error.envelope("request-1")
    json.dumps(envelope, allow_nan=False, ensure_ascii=False).encode()
