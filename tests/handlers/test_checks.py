"""A refusal is checked, and only a verdict is final: orders that are cancelled already, pending, or not there yet.

Which answers are refusals, and what each status of an order means, is in tests/unit/test_answers.py.
"""

import threading
import time
from urllib.parse import unquote

import pytest

from local.simulator import Fault

TOLD = {"success": False, "error": "validation_failed", "message": "Status is not allowed"}
REFUSALS = [
    Fault(400, TOLD),
    Fault(409, "<html><body>Conflict</body></html>"),
    Fault(200, {"success": False, "error": "?"}),
]


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda fault: f"{fault.status} {fault.body}")
@pytest.mark.parametrize(
    ("status", "told", "fate"),
    [
        ("IGNORE", (200, None, None), "done"),  # an earlier answer was lost
        ("CANCELLED", (409, "order_not_cancellable", False), "dead"),
        ("PENDING", (502, "clopos_bad_response", True), "queued"),  # no verdict
    ],
)
def test_after_a_refusal_the_orders_status_decides(
    clopos, call_api, run_batch, output, refused, status, told, fate
):
    clopos.add_order(108, status=status)
    clopos.fail(108, refused, repeat=None)
    assert call_api(108).told == told
    assert run_batch({"order_id": 108}, age_s=0).fates == [fate]
    assert [line["attempts"] for line in output.orders()] == [2, 2]


@pytest.mark.parametrize("receipt_id", [10950, None])
def test_a_caller_who_cannot_cancel_gets_the_orders_status_and_receipt(
    clopos, call_api, run_batch, token, receipt_id
):
    clopos.add_order(108, venue_id=31, status="RECEIVED", receipt_id=receipt_id)
    answer = call_api(108, headers={"x-venue": "31"})
    assert answer.told == (409, "order_not_cancellable", False)
    assert answer.body["order"] == {"status": "RECEIVED", "receipt_id": receipt_id}
    assert "RECEIVED" in answer.body["message"]
    assert answer.body["upstream"] == {"status": 400, "error": TOLD["error"], "message": TOLD["message"]}
    [check] = clopos.calls(108, method="GET")
    assert unquote(check.path) == "/open-api/v2/orders/108?with[0]=receipt:id,service_notification_id,status"
    assert (check.headers["x-token"], check.headers["x-venue"], check.body) == (token, "31", "")
    [dead] = run_batch({"order_id": 108, "venue_id": 31}).dead
    assert dead["MessageAttributes"]["ErrorCode"]["StringValue"] == "order_not_cancellable"
    assert dead["MessageAttributes"]["ErrorMessage"]["StringValue"] == answer.body["message"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", "clopos_unavailable"),
        ("status_not_allowed", "clopos_bad_response"),
        (Fault(429, {}, {"RateLimit-Reset": "50"}), "rate_limited"),
    ],
    ids=str,
)
def test_a_check_that_fails_leaves_the_order_undecided(clopos, call_api, run_batch, fault, error):
    clopos.add_order(108, status="RECEIVED")
    clopos.fail_get(108, fault, repeat=None)
    assert call_api(108).told[1:] == (error, True)
    assert run_batch({"order_id": 108}, remaining_s=14).fates == ["queued"]


# -- no verdict while it is pending


def test_a_strict_clopos_refuses_the_second_put_of_a_lost_answer(clopos, call_api):
    clopos.configure(strict=True)
    clopos.fail(108, "lost_answer")
    assert call_api(108).status == 200
    assert [call.method for call in clopos.calls(108, method=None)] == ["PUT", "PUT", "GET"]


def test_a_read_that_lags_behind_a_lost_answer_is_no_verdict(clopos, call_api, run_batch):
    clopos.configure(strict=True, read_lag=3600)
    clopos.fail(108, "lost_answer")
    assert call_api(108).told == (502, "clopos_bad_response", True)
    assert run_batch({"order_id": 108}).fates == ["queued"]
    clopos.configure(read_lag=0)
    assert run_batch({"order_id": 108}).fates == ["done"]


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


def test_a_young_message_waits_for_its_order_and_cancels_it(clopos, call_api, run_batch, output):
    clopos.add_order(109, exists_in=3600)
    assert call_api(109).told == (404, "order_not_found", False)
    batch = run_batch({"order_id": 109}, age_s=119)
    assert batch.fates == ["queued"]
    assert 1 <= batch.hidden_s[0] <= 2
    assert run_batch({"order_id": 109}, age_s=121).fates == ["dead"]
    clopos.add_order(109)
    assert run_batch({"order_id": 109}, age_s=4).fates == ["done"]
    outcomes = ["rejected", "deferred", "rejected", "cancelled"]
    assert [line["outcome"] for line in output.orders()] == outcomes
