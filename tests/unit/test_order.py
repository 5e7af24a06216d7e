"""How one order is cancelled: which calls are made again, with which token, and until when."""

import json

import pytest

from cancellation import clopos, order, telemetry
from cancellation.answers import TokenRefused
from cancellation.clopos import Attempt, Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.exchange import MIN_CALL_S, Exchange
from cancellation.messages import Order
from cancellation.order import cancel_order
from cancellation.tokens import Token

ORDER = Order("108", 7)
CALL = Exchange("PUT", "clopos", 0.0, 0.0)
DATA = {"id": 108, "status": "IGNORE"}
GOOD = Attempt([CALL], data=DATA)
UPSTREAM = {"status": 401, "error": None, "message": "Invalid token"}
REFUSED = Attempt([CALL], error=TokenRefused("clopos_access_denied", "no", UPSTREAM))


def failed(code, retry_after_s=None):
    return Attempt([CALL], error=CancelError(code, "no", retry_after_s=retry_after_s))


def returned(value):
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture
def cancel(clock, monkeypatch):
    """Cancel an order; return the outcome, and the tokens with which Clopos was called."""
    monkeypatch.setattr(order.random, "uniform", lambda _, high: high)

    def cancel(*attempts, renewals=(), retry=True, deadline_s=25):
        attempts, renewals, used = iter(attempts), iter(renewals), []

        class Fake:  # of Clopos and of Tokens
            def cancel(self, order, token, deadline):
                used.append(token)
                return returned(next(attempts))

            def get(self, deadline):
                return Token("first", clock.now + 60)

            def renew(self, token, deadline):
                return returned(next(renewals))

        arguments = {"clopos": Fake(), "tokens": Fake(), "request_id": "request-1", "retry": retry}
        return cancel_order(ORDER, deadline=Deadline.after(deadline_s), **arguments), used

    return cancel


def test_an_order_that_clopos_cancels_is_cancelled(cancel, clock):
    outcome, used = cancel(GOOD)
    assert outcome.result == {"success": True, "data": DATA, "request_id": "request-1"}
    assert (outcome.verdict, used, outcome.token_seconds_left) == ("cancelled", ["first"], 60)


@pytest.mark.parametrize("code", ["clopos_unavailable", "clopos_timeout", "rate_limited"])
def test_a_transient_error_is_tried_again_while_there_is_time(cancel, clock, code):
    outcome, used = cancel(*[failed(code)] * 9)
    assert clock.slept == [0, 1.25, 2.5, 5, 10]  # the next one would not leave a second for a call
    assert (outcome.verdict, len(used), len(outcome.exchanges)) == (None, 6, 6)
    assert outcome.duration_s == 18.75


def test_clopos_is_given_the_time_that_it_asks_for(cancel, clock):
    assert cancel(failed("rate_limited", 7), GOOD)[0].verdict == "cancelled"
    assert clock.slept == [7]
    assert cancel(failed("rate_limited", 7), deadline_s=7 + MIN_CALL_S - 0.1)[0].error.code == "rate_limited"
    assert clock.slept == [7]


def test_there_are_at_most_seven_attempts(cancel):
    assert len(cancel(*[failed("clopos_unavailable")] * 9, deadline_s=1000)[1]) == 7


@pytest.mark.parametrize(
    "code", ["order_not_found", "clopos_bad_response", "clopos_access_denied", "token_unavailable"]
)
def test_no_other_error_is_tried_again(cancel, code):
    assert cancel(failed(code))[1] == ["first"]


def test_a_worker_does_not_try_again_by_itself(cancel):
    assert cancel(failed("clopos_unavailable"), retry=False)[1] == ["first"]


def test_a_refused_token_is_renewed_until_a_new_one_is_refused_too(cancel):
    found, new = (Token("found", None), False), (Token("new", None), True)
    assert cancel(REFUSED, GOOD, renewals=[found])[1] == ["first", "found"]
    outcome, used = cancel(REFUSED, REFUSED, REFUSED, renewals=[found, new])
    assert (outcome.error.code, used) == ("clopos_access_denied", ["first", "found", "new"])
    assert len(outcome.exchanges) == 3


def test_an_error_of_the_renewal_says_what_clopos_said_to_the_token(cancel):
    outcome, _ = cancel(REFUSED, renewals=[CancelError("token_unavailable", "none")])
    assert (outcome.error.code, outcome.error.upstream) == ("token_unavailable", UPSTREAM)
    own = CancelError("clopos_timeout", "none", {"status": 504})
    assert cancel(REFUSED, renewals=[own], retry=False)[0].error.upstream == {"status": 504}


def test_a_bug_is_an_error_of_the_outcome(cancel, monkeypatch):
    outcome, _ = cancel(ZeroDivisionError())
    assert (outcome.error.code, outcome.error.message) == ("internal_error", telemetry.BUG)


# -- the calls of one attempt


@pytest.fixture
def attempt(clock, monkeypatch):
    """Make one attempt; return it, and the calls: method, path and headers."""
    calls = []

    def attempt(*answers, deadline_s=25):
        answers = iter(answers)

        class Connections:
            def __init__(self, _):
                pass

            def exchange(self, method, url, headers, body, deadline):
                calls.append((method, url.removeprefix("http://clopos.invalid"), body))
                status, body, *kept = next(answers)
                if isinstance(status, str):
                    return Exchange(method, "clopos", 0.0, 0.0, failure=status, was_kept=bool(kept))
                return Exchange(method, "clopos", 0.0, 0.0, status, {}, json.dumps(body).encode())

            def disconnect(self):
                calls.append("disconnect")

        monkeypatch.setattr(clopos, "Connections", Connections)
        calls.clear()
        client = Clopos("http://clopos.invalid/")
        return client.cancel(ORDER, "not-a-real-token", Deadline.after(deadline_s)), calls

    return attempt


OK = (200, {"success": True, "data": DATA})
PUT = ("PUT", "/orders/108", {"status": "IGNORE"})
GET = ("GET", "/orders/108?with[0]=receipt:id,service_notification_id,status", None)


def test_a_refusal_is_checked_with_one_get(attempt):
    said = {"success": False, "message": "not-a-real-token is no word"}
    received = {"success": True, "data": DATA | {"status": "RECEIVED not-a-real-token"}}
    assert attempt((400, said), OK)[1] == [PUT, GET]
    result, calls = attempt((400, said), (200, received))
    assert calls == [PUT, GET, "disconnect"]
    assert result.error.order["status"] == "RECEIVED ***"
    assert result.error.upstream["message"] == "*** is no word"
    assert "real" not in result.error.message


def test_what_clopos_repeats_of_the_token_is_hidden_in_an_order_too(attempt):
    data = DATA | {"customer_ref_id": "x not-a-real-token", "integration_response": {"not-a-real-token": 1}}
    result, _ = attempt((200, {"success": True, "data": data}))
    assert (result.data["id"], result.data["customer_ref_id"]) == (108, "x ***")
    assert result.data["integration_response"] is None


def test_a_kept_connection_that_was_closed_is_no_failure_of_clopos(attempt):
    result, calls = attempt(("clopos_unavailable", None, "kept"), OK)
    assert (result.data["id"], calls, len(result.exchanges)) == (108, [PUT, PUT], 2)
    for failure in (("clopos_unavailable", None), ("clopos_timeout", None, "kept")):
        result, calls = attempt(failure)
        assert (result.error.code, calls) == (failure[0], [PUT, "disconnect"])


def test_no_call_is_made_in_the_last_second(attempt):
    assert attempt(OK, deadline_s=MIN_CALL_S)[1] == [PUT]
    result, calls = attempt(deadline_s=MIN_CALL_S - 0.01)
    assert (result.error.code, calls) == ("clopos_timeout", ["disconnect"])
    assert MIN_CALL_S >= 0.5  # less is not enough for a call of 300 ms
