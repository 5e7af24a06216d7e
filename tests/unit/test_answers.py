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
    "id": 108, "venue_id": 1, "type": "CALL_CENTER_ORDER", "integration": "call_center_new",
    "integration_uuid": None, "integration_id": None, "customer_ref_id": None, "integration_status": "CREATED",
    "status": "IGNORE", "created_at": "2026-02-02T13:45:53.000000Z", "updated_at": "2026-02-02T17:46:02.000000Z",
    "integration_response": None,
}  # fmt: skip
RESULT = DATA | {"created_at": "2026-02-02T13:45:53Z", "updated_at": "2026-02-02T17:46:02Z"}
UPSTREAM = {"status": 400, "error": "validation_failed", "message": "Status is not allowed"}
REFUSAL = Refused("clopos_bad_response", "no", UPSTREAM, retry_after_s=7)
HTML = "<html><body>Bad gateway</body></html>"
NO = {"success": False}


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


def test_the_documented_answer_in_the_order_of_its_fields_and_nothing_else():
    data = DATA | {"receipt_id": 7, "payload": {"customer": {"phone": "1"}}}
    assert list(read_cancellation(cancelled(data), ORDER).items()) == list(RESULT.items())


def test_the_older_answer_leaves_nulls():
    body = {"success": True, "data": {"id": 108, "status": "IGNORE"}, "timestamp": "2025-10-23 14:13:09"}
    assert read_cancellation(answer(201, body), ORDER) == dict.fromkeys(DATA) | body["data"]


@pytest.mark.parametrize(("order_id", "data_id"), [("108", 108), ("108", "108"), ("ORD-1", "ORD-1")])
def test_an_id_is_compared_as_text(order_id, data_id):
    assert read_cancellation(cancelled(DATA | {"id": data_id}), Order(order_id))["id"] == data_id


@pytest.mark.parametrize(
    ("received", "field", "sent"),
    [
        ("7", "integration_id", [7, "7"]),
        (str(10**20), "customer_ref_id", [10**20]),
        ({"code": [3.5]}, "integration_response", [{"code": [3.5]}]),
        ("2026-02-02T17:46:02Z", "updated_at", ["2026-02-02T17:46:02.9Z", "2026-02-02 17:46:02"]),
        ("2026-02-02T17:46:02Z", "updated_at", ["2026-02-02T21:46:02+04:00"]),
        ("1970-01-01T00:00:00Z", "updated_at", ["1970-01-01T00:00:00Z"]),
        (None, "created_at", ["yesterday", 1767852332, "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"]),
        (None, "customer_ref_id", ["\ud800", "a\udfff", True, ["a"], 1.5, {}]),
        (None, "type", [7, True]),
        (None, "venue_id", ["1", True, 1.5]),
        (None, "integration_response", ["text", [], {"half": "\udfff"}]),
    ],
)
def test_a_field_is_passed_on_or_null_and_the_order_is_cancelled(received, field, sent):
    for value in sent:
        assert read_cancellation(cancelled(DATA | {field: value}), ORDER) == RESULT | {field: received}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("\ufeff", ""), ("", ' , "time": NaN, "total": -Infinity'), ("", ', "unix": 1e999')),
        *(("", ', "note": "\\ud800"'), ("", ', "unix": ' + "1" * 5000), ("", ', "note": "\udcff"')),
        ("", ', "success": true'),
    ],
)  # fmt: skip
def test_an_odd_spelling_does_not_matter(before, after):
    body = f'{before}{{"success": true, "data": {json.dumps(DATA)}{after}}}'
    assert read_cancellation(answer(200, body.encode(errors="surrogateescape")), ORDER) == RESULT


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


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_means_the_same_in_every_form(name):
    status, _, error, message = REFUSALS[name]
    entry = {"message": message, "type": "server_side", "exception": "HttpException", "http_code": status}
    lists = [{"success": False, "error": [entry]}, {"error": [entry, {"message": "later"}]}, {"error": entry}]
    texts = [
        {"error": message, "message": message},
        {"error": error, "message": message},
        {"message": message},
    ]
    forms = [answer(status, content) for content in (*lists, *(NO | text for text in texts))]
    if status != 200:  # statuses that say nothing
        forms += [answer(200, lists[0]), answer(400, lists[0])]
    assert {meaning(form) for form in forms} == {MEANINGS[name]}
    assert error_of(forms[0]).upstream == {"status": status, "error": "HttpException", "message": message}


NO_MODEL = {"message": "No query results for model [App\\Order] 1000", "exception": "NotFoundHttpException"}


@pytest.mark.parametrize(
    ("status", "entry", "meant"),
    [
        (400, NO_MODEL, "order_not_found"),  # by its words
        (200, NO_MODEL, "order_not_found"),
        (404, {"message": "Status is not allowed", "http_code": 400}, "order_not_found"),
        (401, NO_MODEL | {"http_code": 404}, TOKEN_REFUSED),
        (202, {"message": "?", "http_code": "404"}, "order_not_found"),
        (200, {"message": "?", "http_code": "4" * 5000}, REFUSED),
        (200, {"message": "?", "http_code": 418}, REFUSED),
        (503, NO_MODEL | {"http_code": 404}, "clopos_unavailable"),
    ],
)
def test_what_a_list_says_counts_where_the_status_leaves_room(status, entry, meant):
    assert meaning(answer(status, {"success": False, "error": [entry]})) == meant


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


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", [109, "109", "0108", 108.0, True, None, [108], {"id": 108}]),
        ("status", ["PENDING", "RECEIVED", "ignore", None, ["IGNORE"], True]),
    ],
)
def test_a_success_about_another_order_or_status_is_a_bad_response(field, values):
    assert {meaning(cancelled(DATA | {field: value})) for value in values} == {"clopos_bad_response"}


@pytest.mark.parametrize(
    ("status", "order_id", "message", "meant"),
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
    status, order_id, message, meant
):
    assert meaning(answer(status, NO | {"message": message}), Order(order_id)) == meant


def test_an_error_repeats_what_clopos_said_short_and_printable():
    body = NO | {"error": "validation_failed", "message": "two\nlines\x00\x1b[31m\ud800" + "x" * 5000}
    error = error_of(answer(400, body, {"Retry-After": "120"}))
    assert error.upstream == {**UPSTREAM, "message": error.upstream["message"]}
    assert error.upstream["message"].startswith("two lines  [31m x")
    assert error.upstream["message"] in error.message
    assert len(error.message) < 1000
    assert error.retry_after_s == 120


@pytest.mark.parametrize("said", [7, None, [], [7], {"text": "no"}, True])
def test_words_that_are_no_text_are_left_out(said):
    error = error_of(answer(400, NO | {"error": said, "message": said}))
    assert error.upstream == {"status": 400, "error": None, "message": None}


# -- the check of the order after a refusal


def check(answered):
    with pytest.raises(CancelError) as raised:
        read_check(answered, ORDER, REFUSAL)
    return raised.value


def test_an_order_that_turns_out_to_be_cancelled_is_a_success():
    assert read_check(cancelled(DATA), ORDER, REFUSAL) == RESULT


def test_there_is_no_verdict_while_the_order_is_pending():
    error = check(cancelled(DATA | {"status": "PENDING"}))
    assert (error.code, error.upstream, error.retry_after_s) == ("clopos_bad_response", UPSTREAM, 7)


LATER = "NEW SCHEDULED IN_PROGRESS READY PICKED_UP CONFIRMED COMPLETED CANCELLED RECEIVED DELIVERED ignore"


@pytest.mark.parametrize("status", LATER.split())
@pytest.mark.parametrize(
    ("receipt", "receipt_id"),
    [({"id": 10950}, 10950), (None, 7), ({"id": "7"}, None), ({"id": True}, None)],
)
def test_any_other_status_is_final_and_told_without_the_customer(status, receipt, receipt_id):
    data = {"status": status, "receipt": receipt, "receipt_id": 7, "payload": {"name": "A. Person"}}
    error = check(cancelled(DATA | data))
    assert (error.code, error.upstream) == ("order_not_cancellable", UPSTREAM)
    assert error.envelope("request-1")["order"] == {"status": status, "receipt_id": receipt_id}
    assert status in error.message
    assert (str(receipt_id) in error.message) == (receipt_id is not None)
    assert "Person" not in repr(error.envelope("request-1"))


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        ("clopos_bad_response", cancelled(DATA | {"id": 109})),
        ("clopos_bad_response", cancelled(DATA | {"status": 5})),
        ("clopos_bad_response", cancelled(DATA | {"status": ""})),
        ("clopos_bad_response", answer(200, HTML)),
        ("clopos_bad_response", answer(400, NO | {"error": "validation_failed"})),
        ("order_not_found", answer(404, NO)),
        ("clopos_access_denied", answer(401, "")),
        ("clopos_unavailable", answer(503, HTML)),
    ],
)
def test_a_check_that_fails_decides_nothing_about_the_order(code, answered):
    assert check(answered).code == code


# -- any answer

errors = json_values | st.sampled_from([value for row in REFUSALS.values() for value in row[2:4]])
entries = st.lists(
    st.fixed_dictionaries({}, optional={"message": errors, "exception": errors, "http_code": st.integers(199, 599)}),
    max_size=2,
)  # fmt: skip
statuses = st.sampled_from(["IGNORE", "PENDING", *LATER.split()])
changes = st.dictionaries(st.sampled_from([*DATA, "payload", "receipt"]), json_values, max_size=4)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "success": st.sampled_from([True, False, True, 1, "true", None]),
        "error": errors | entries,
        "message": errors,
        "data": json_values | changes.map(lambda some: DATA | some) | statuses.map(lambda s: DATA | {"status": s}),
        "note": json_values,
    },
)  # fmt: skip
contents = st.one_of(
    envelopes.map(json.dumps).map(str.encode),
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
        sent = json.loads(content.decode("utf-8-sig", errors="replace"))
        assert (sent["success"], str(sent["data"]["id"]), sent["data"]["status"]) == (True, "108", "IGNORE")
    except CancelError as error:
        envelope = error.envelope("request-1")
    json.dumps(envelope, allow_nan=False, ensure_ascii=False).encode()
