"""A refusal is checked, and only a verdict is final: orders that are cancelled already, pending, or not there yet."""

import threading
import time
from urllib.parse import unquote

import pytest

from local.simulator import CUSTOMER, STATUSES, Fault, refusal

TOLD = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}
REFUSALS = [
    *(Fault(status, TOLD) for status in (200, 400, 409, 422)),
    *(refusal("status_not_allowed", "objects", status) for status in (0, 200)),
    Fault(400, ""),
    Fault(409, "<html><body>Conflict</body></html>"),
    Fault(200, {"success": False, "error": "?"}),
]
refusals = pytest.mark.parametrize("refused", REFUSALS, ids=lambda fault: f"{fault.status} {fault.body}")
PAST_PENDING = sorted(set(STATUSES) - {"PENDING", "IGNORE"})


@refusals
def test_an_order_whose_first_answer_was_lost_is_cancelled_though_clopos_refuses_the_second(
    clopos, call_api, run_batch, output, refused
):
    clopos.add_order(108, status="IGNORE")
    clopos.fail(108, refused, repeat=None)
    assert call_api(108).status == 200
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert [line["attempts"] for line in output.orders()] == [2, 2]


def test_a_strict_clopos_refuses_the_second_put_of_a_lost_answer(clopos, call_api):
    clopos.configure(strict=True)
    clopos.fail(108, "lost_answer")
    assert call_api(108).status == 200
    assert [call.method for call in clopos.calls(108, method=None)] == ["PUT", "PUT", "GET"]


@refusals
@pytest.mark.parametrize("status", ["RECEIVED", "CANCELLED"])
def test_an_order_past_pending_is_final(clopos, call_api, run_batch, refused, status):
    clopos.add_order(108, status=status)
    clopos.fail(108, refused, repeat=None)
    assert call_api(108).body["error"] == "order_not_cancellable"
    assert run_batch({"order_id": 108}, age_s=0).fates == ["dead"]


@pytest.mark.parametrize("receipt_id", [10950, None])
@pytest.mark.parametrize("status", PAST_PENDING)
def test_a_caller_who_cannot_cancel_gets_the_orders_status_and_receipt(
    clopos, call_api, run_batch, status, receipt_id
):
    clopos.add_order(108, status=status, receipt_id=receipt_id)
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        409,
        "order_not_cancellable",
        False,
    )
    assert answer.body["order"] == {"status": status, "receipt_id": receipt_id}
    assert status in answer.body["message"]
    assert answer.body["upstream"] == {
        "status": 400,
        "error": "validation_failed",
        "message": "Status is not allowed",
    }
    [dead] = run_batch({"order_id": 108}).dead
    assert dead["MessageAttributes"]["ErrorCode"]["StringValue"] == "order_not_cancellable"
    assert dead["MessageAttributes"]["ErrorMessage"]["StringValue"] == answer.body["message"]


def test_an_order_that_was_accepted_on_creation_cannot_be_cancelled(clopos, call_api):
    clopos.add_order(108, auto_order_accept=True)
    assert call_api(108).body["order"] == {"status": "RECEIVED", "receipt_id": 10950}


def test_the_check_is_the_documented_call(clopos, call_api, token):
    clopos.add_order(7, venue_id=31, status="RECEIVED")
    call_api(7, headers={"x-venue": "31"})
    [call] = clopos.calls(7, method="GET")
    assert unquote(call.path) == "/open-api/v2/orders/7?with[0]=receipt:id,service_notification_id,status"
    assert (call.headers["x-token"], call.headers["x-venue"], call.body) == (token, "31", "")


def test_the_customer_in_the_order_goes_nowhere(clopos, call_api, run_batch, output):
    clopos.add_order(108, status="RECEIVED")
    assert call_api(108).status == 409
    assert run_batch({"order_id": 108}).fates == ["dead"]
    assert output.private == set(CUSTOMER.values())  # `check_for_leaks` searches for these


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


# -- no verdict while it is pending


@refusals
def test_a_refusal_of_a_pending_order_is_no_verdict(clopos, call_api, run_batch, refused):
    clopos.fail(108, refused, repeat=2)
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (
        502,
        "clopos_bad_response",
        True,
    )
    assert "order" not in answer.body
    assert [run_batch({"order_id": 108}).fates for _ in range(2)] == [["queued"], ["done"]]


def test_a_read_that_lags_behind_a_lost_answer_is_no_verdict(clopos, call_api, run_batch):
    clopos.configure(strict=True, read_lag=3600)
    clopos.fail(108, "lost_answer")
    answer = call_api(108)
    assert (answer.body["error"], answer.body["retryable"]) == ("clopos_bad_response", True)
    assert run_batch({"order_id": 108}).fates == ["queued"]
    clopos.configure(read_lag=0)
    assert run_batch({"order_id": 108}).fates == ["done"]


def test_a_staff_user_without_the_right_is_no_verdict_about_an_order(clopos, call_api, run_batch):
    clopos.configure(state="staff_role")
    assert call_api(108).body["error"] == "clopos_access_denied"
    assert run_batch({"order_id": 108}).fates == ["queued"]


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_the_same_order_twice_in_a_batch_is_done_twice(clopos, run_batch, strict):
    clopos.configure(strict=strict)
    assert run_batch({"order_id": 108}, {"order_id": 108}).fates == ["done"] * 2


def test_the_same_order_in_two_workers_is_never_refused_for_good(clopos, function, run_batch, call_api):
    """Clopos answers the second of two calls at the same time with a conflict."""
    clopos.fail(108, Fault(delay=0.5), Fault(409, TOLD))
    clopos.configure(read_lag=3600)
    answers = []
    first = threading.Thread(target=lambda: answers.append(call_api(108)))
    first.start()
    while not clopos.calls(108):
        time.sleep(0.01)
    assert run_batch({"order_id": 108}, age_s=0).fates == ["queued"]
    first.join()
    assert answers[0].status == 200
    clopos.configure(read_lag=0)
    assert run_batch({"order_id": 108}, age_s=0).fates == ["done"]


# -- a cancellation that overtakes its order


@pytest.mark.parametrize(
    "not_found",
    [
        refusal("not_found"),
        refusal("model_not_found"),
        refusal("not_found", "objects", 400),
        refusal("not_found", "objects", 200),
        refusal("model_not_found", "sentence"),
    ],
    ids=lambda fault: f"{fault.status} {fault.body}",
)
def test_an_order_that_does_not_exist_yet_is_waited_for_by_a_young_message(
    clopos, call_api, run_batch, not_found
):
    clopos.fail(108, not_found, repeat=None)
    answer = call_api(108)
    assert (answer.status, answer.body["error"], answer.body["retryable"]) == (404, "order_not_found", False)
    batch = run_batch({"order_id": 108}, age_s=119)
    assert batch.fates == ["queued"]
    assert 1 <= batch.hidden_s[0] <= 2
    assert run_batch({"order_id": 108}, age_s=121).fates == ["dead"]
    clopos.heal()
    assert run_batch({"order_id": 108}, age_s=119).fates == ["done"]


def test_a_message_waits_for_its_order_and_cancels_it(clopos, run_batch, output):
    clopos.add_order(109, exists_in=3600)
    assert run_batch({"order_id": 109}, age_s=1).fates == ["queued"]
    clopos.add_order(109)
    assert run_batch({"order_id": 109}, age_s=4).fates == ["done"]
    assert [line["outcome"] for line in output.orders()] == ["deferred", "cancelled"]
