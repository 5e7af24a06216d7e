"""Undocumented answers, for both triggers: what they mean, and that they do not affect the next order."""

from urllib.parse import unquote

import pytest

from local.simulator import CUSTOMER, RUDE_FAULTS, Fault

TOLD = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}
HEADERS = ("retry_after", "ratelimit_reset", "ratelimit_remaining")
# Answers that say that the order is cancelled, in an unusual form or with unusual additions.
ANSWERED = [
    *("processing", "processing_apart", "early_hints", "early_hints_apart", "interims", "interims_apart"),
    *("surplus", "late_surplus", "until_close"),
    *("chunked", "chunked_apart", "chunked_trailers", "chunked_surplus", "chunked_late_surplus"),
    *("gzip", "deflate", "raw_deflate", "gzip_twice", "unknown"),
    *("byte_order_mark", "invalid_utf8", "huge_integer", "huge_exponent", "not_a_number", "lone_surrogates"),
    *("year_1", "year_9999", "integer_integration_id", "list_for_object", "odd_types", "text_id", "cookie"),
    *(f"success:{header}:{number}" for header in HEADERS for number in ("5000_digits", "year_99999")),
]
# Answers that cannot be read: they say nothing about the order.
UNREADABLE = [
    *("not_gzip", "garbage", "gzip_truncated", "gzip_bad_checksum", "bomb", "oversized", "deeply_nested"),
    *("another_order", "no_content_with_body", "no_content_with_late_body"),
]


def check_line(output, outcome):
    [line] = output.orders()
    assert line["outcome"] == outcome
    assert output.logs("unexpected error") == []
    return line


@pytest.mark.parametrize("name", ANSWERED)
def test_a_caller_is_told_of_a_cancelled_order_whatever_else_the_answer_holds(clopos, call_api, output, name):
    clopos.fail(108, name)
    answer = call_api(108)
    assert (answer.status, str(answer.body["data"]["id"])) == (200, "108")
    assert check_line(output, "cancelled")["attempts"] == 1
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("name", ANSWERED)
def test_a_message_is_done_whatever_else_the_answer_holds(clopos, run_batch, output, name):
    clopos.fail(108, name)
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert check_line(output, "cancelled")["attempts"] == 1
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_caller_is_told_that_an_answer_cannot_be_read(clopos, call_api, output, name):
    clopos.fail(108, name, repeat=None)
    answer = call_api(108)
    assert (answer.status, answer.body["error"]) == (502, "clopos_bad_response")
    status = 204 if name.startswith("no_content") else 200
    assert answer.body["upstream"] == {"status": status, "error": None, "message": None}
    assert check_line(output, "failed")["attempts"] == 1


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_a_message_stays_until_an_answer_can_be_read(clopos, run_batch, name, strict):
    clopos.configure(strict=strict)
    clopos.fail(108, name)
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize("number", ["5000_digits", "year_99999", "nan", "negative"])
@pytest.mark.parametrize("header", HEADERS)
def test_an_odd_time_to_wait_ends_in_a_sane_one(clopos, call_api, run_batch, header, number):
    clopos.fail(108, f"{header}:{number}", repeat=None)
    answer = call_api(108, remaining_s=4.5)
    assert (answer.status, answer.body["error"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    batch = run_batch({"order_id": 108}, remaining_s=14)
    assert batch.fates == ["queued"]
    assert 1 <= batch.hidden_s[0] <= 60


# -- the next order

LATE = ["late_surplus", "chunked_late_surplus"]  # bytes that may arrive during the next request


@pytest.mark.parametrize(
    "name", [name for name in RUDE_FAULTS if ":" not in name and name not in LATE and "echo" not in name]
)
def test_the_next_order_gets_its_own_answer(clopos, call_api, name, monkeypatch):
    monkeypatch.setattr("cancellation.transport.READ_TIMEOUT_S", 0.1)
    clopos.add_order(109, status="DELIVERED", receipt_id=10950)
    clopos.fail(108, name)
    call_api(108, remaining_s=4.5)
    answer = call_api(109)
    assert (answer.status, answer.body["error"]) == (409, "order_not_cancellable")
    assert answer.body["order"] == {"status": "DELIVERED", "receipt_id": 10950}


@pytest.mark.parametrize("name", ["surplus", "chunked_surplus", "processing", "no_content_with_body"])
def test_a_connection_on_which_more_may_come_is_not_used_again(clopos, call_api, connections, name):
    clopos.fail(108, name)
    call_api(108)
    call_api(108)
    assert len(connections) == 2


@pytest.mark.parametrize("name", LATE)
def test_bytes_that_come_after_the_next_request_was_sent_are_not_its_answer(clopos, call_api, name):
    clopos.add_order(109, status="DELIVERED")
    clopos.fail(108, name)
    clopos.fail(109, Fault(delay=0.6))
    assert call_api(108).status == 200
    assert call_api(109).body["error"] in ("clopos_bad_response", "order_not_cancellable")
    assert call_api(109).body["error"] == "order_not_cancellable"


def test_an_answer_that_is_one_order_late_is_not_the_next_but_ones_either(clopos, call_api):
    """Order 109 reads what is left of 108's exchange; then 110 must not read 109's answer, a 404 without an id."""
    clopos.add_order(110)
    unknown = {"success": False, "error": "not_found", "message": "Order not found"}
    clopos.fail(108, "late_surplus")
    clopos.fail(109, Fault(404, unknown, delay=0.6))
    assert call_api(108).status == 200
    assert call_api(109).body["error"] == "clopos_bad_response"
    assert call_api(110).status == 200


@pytest.mark.parametrize("status", [400, 409, 503])
def test_bytes_after_a_refusal_are_not_the_answer_to_what_follows_it(clopos, call_api, status):
    """The bytes say that this order is cancelled, and arrive before the real answer to the second call."""
    clopos.add_order(108, status="RECEIVED")
    clopos.fail(108, Fault(status, TOLD, delivery="surplus", interval=0.05), Fault(delay=0.2))
    clopos.fail_get(108, Fault(delay=0.2))
    answer = call_api(108)
    assert (answer.status, answer.body["error"]) == (409, "order_not_cancellable")


# -- a refusal is checked


@pytest.mark.parametrize("status", [400, 409, 422, 200])
def test_an_order_whose_first_answer_was_lost_is_cancelled_though_clopos_refuses_the_second(
    clopos, call_api, run_batch, output, status
):
    clopos.add_order(108, status="IGNORE")
    clopos.fail(108, Fault(status, TOLD), repeat=None)
    assert call_api(108).status == 200
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert [line["attempts"] for line in output.orders()] == [2, 2]


def test_a_strict_clopos_refuses_the_second_put_of_a_lost_answer(clopos, call_api, output):
    clopos.configure(strict=True)
    clopos.fail(108, "close_after")
    assert call_api(108).status == 200
    assert [call.method for call in clopos.calls(108, method=None)] == ["PUT", "PUT", "GET"]
    assert output.orders()[0]["attempts"] == 3


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("body", ["", "<html><body>Bad request</body></html>"], ids=["empty", "HTML"])
def test_a_refusal_without_a_reason_is_checked_too(clopos, call_api, run_batch, status, body):
    clopos.fail(108, Fault(status, body, processed=True), Fault(status, body))
    assert call_api(108).status == 200
    clopos.add_order(109)
    clopos.fail(109, Fault(status, body))
    assert run_batch({"order_id": 109}).fates == ["queued"]  # it is pending, so a later attempt may succeed
    clopos.add_order(110, status="RECEIVED")
    clopos.fail(110, Fault(status, body))
    assert call_api(110).body["error"] == "order_not_cancellable"


def test_the_check_is_the_documented_call(clopos, call_api, token):
    clopos.add_order(7, venue_id=31, status="RECEIVED")
    call_api(7, headers={"x-venue": "31"})
    [call] = clopos.calls(7, method="GET")
    assert unquote(call.path) == "/open-api/v2/orders/7?with[0]=receipt:id,service_notification_id,status"
    assert (call.headers["x-token"], call.headers["x-venue"], call.body) == (token, "31", "")


@pytest.mark.parametrize(
    ("status", "receipt_id"), [("RECEIVED", 10950), ("RECEIVED", None), ("DELIVERED", 10951)]
)
def test_a_caller_who_cannot_cancel_gets_the_orders_status_and_receipt(
    clopos, call_api, run_batch, status, receipt_id
):
    clopos.add_order(108, status=status, receipt_id=receipt_id)
    answer = call_api(108)
    assert answer.status == 409
    assert answer.body["order"] == {"status": status, "receipt_id": receipt_id}
    [dead] = run_batch({"order_id": 108}).dead
    assert dead["MessageAttributes"]["ErrorMessage"]["StringValue"] == answer.body["message"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("unavailable", "clopos_unavailable"),
        ("gateway_timeout", "clopos_timeout"),
        ("close", "clopos_unavailable"),
        ("html_200", "clopos_bad_response"),
        ("status_not_allowed", "clopos_bad_response"),
        (Fault(429, {}, {"RateLimit-Reset": "50"}), "rate_limited"),
    ],
    ids=str,
)
def test_a_check_that_fails_leaves_the_order_undecided(clopos, call_api, run_batch, fault, error):
    clopos.add_order(108, status="RECEIVED")
    clopos.fail_get(108, fault, repeat=None)
    answer = call_api(108)
    assert (answer.body["error"], answer.body["retryable"]) == (error, True)
    assert run_batch({"order_id": 108}, remaining_s=14).fates == ["queued"]


def test_a_refusal_without_a_reason_decides_nothing_about_a_pending_order(clopos, run_batch):
    clopos.fail(108, Fault(200, {"success": False, "error": "?"}))
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 108}).fates == ["done"]


def test_the_customer_in_the_order_goes_nowhere(clopos, call_api, run_batch, output):
    clopos.add_order(108, status="RECEIVED")
    assert call_api(108).status == 409
    assert run_batch({"order_id": 108}).fates == ["dead"]
    assert output.private == set(CUSTOMER.values())  # `check_for_leaks` searches for these
