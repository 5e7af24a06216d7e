"""Undocumented answers, for both triggers: what they mean, and that they do not affect the next order."""

from urllib.parse import unquote

import pytest

from local.simulator import CUSTOMER, Fault

TOLD = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}
# Answers that say that the order is cancelled, in an unusual form or with unusual additions.
ANSWERED = ("second_answer", "older", "live_fields")
# Answers that cannot be read: they say nothing about the order.
UNREADABLE = ("oversized", "bomb", "another_order", "html_200", "empty")


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
    assert answer.body["upstream"] == {"status": 200, "error": None, "message": None}
    assert check_line(output, "failed")["attempts"] == 1


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_a_message_stays_until_an_answer_can_be_read(clopos, run_batch, name, strict):
    clopos.configure(strict=strict)
    clopos.fail(108, name)
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert clopos.order(108)["status"] == "IGNORE"


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
    clopos.fail(108, "lost_answer")
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
        ("reset", "clopos_unavailable"),
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
