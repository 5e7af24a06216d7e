"""Every fault in the simulator's table, on both triggers: what the caller, the operator, the queue and Clopos see.

A fault lasts for as long as it is asked for, so what is seen here is the end of it, after all retries.
"""

import contextlib
import dataclasses
import socket
import ssl
import threading
import time

import pytest

import cancellation.exchange
from local.simulator import FAULTS, Fault
from tests.handlers.conftest import CONTRACT
from tests.unreachable import black_hole, stalled_listener

# Faults that may pass while a caller of the API waits: the function tries again.
TRANSIENT = {"rate_limited", "clopos_unavailable", "clopos_timeout"}
FAILURES = [name for name, row in FAULTS.items() if row.error]
BROKEN = ["reset", "lost_answer", "reset_in_body", "truncated", "not_http", "oversized", "bomb"]
# The order is cancelled in spite of these, and nobody knows until the next attempt.
CANCELLED = {*BROKEN[1:4], "silence_after", "drip", "another_order", "oversized", "bomb"}
# After these no complete answer has arrived.
UNANSWERED = {*BROKEN[:5], "silence", "silence_after", "drip"}


def the(name):
    """Return a row of the table; the rate limit is longer than a call of the API."""
    row = FAULTS[name]
    if name == "rate_limited":
        headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": "40"}
        row = row._replace(fault=dataclasses.replace(row.fault, headers=headers))
    return row


def upstream(name):
    """Return what the envelope repeats of Clopos's answer."""
    fault = FAULTS[name].fault
    if name in UNANSWERED:
        return None
    said = fault.body if isinstance(fault.body, dict) else {}
    error, message = said.get("error"), said.get("message")
    if isinstance(error, list):
        error, message = error[0]["exception"], error[0]["message"]
    if name.startswith("quotes"):
        message = "The value *** is not valid for this brand"
    return {"status": fault.status or 200, "error": error, "message": message}


def check(name, envelope, outcome, output, calls):
    """Check the envelope, that there is one log line, and exactly the expected metrics."""
    row = the(name)
    assert envelope.pop("message")
    assert envelope == {
        "success": False,
        "error": row.error,
        "retryable": CONTRACT[row.error][1],
        "request_id": "request-1",
        "upstream": upstream(name),
    }
    [line] = output.orders()
    assert line["message"] == "order not cancelled"
    assert line["level"] == ("ERROR" if outcome == "failed" else "WARNING")
    assert (line["order_id"], line["venue_id"]) == ("108", None)
    assert (line["outcome"], line["attempts"]) == (outcome, calls)
    assert line["result"]["error"] == row.error
    counter = {"rejected": "OrdersRejected", "deferred": "OrdersDeferred", "failed": "OrdersFailed"}[outcome]
    expected = {
        counter: 1,
        "OrdersDeadLettered": outcome == "rejected" and line["source"] == "queue",
        "MessageAge": outcome == "deferred",
        "CloposLatency": calls,
        "CloposThrottled": row.fault.status == 429,
        "CloposAccessDenied": row.error == "clopos_access_denied",
    }
    counted = {name: len(values) for name, values in output.metrics().items()}
    counted.pop("CloposQuotaLeft", None)  # only if there were headers
    assert counted == {name: count for name, count in expected.items() if count}


@contextlib.contextmanager
def patience(name):
    """Do not wait long for an answer that never comes."""
    with pytest.MonkeyPatch.context() as patch:
        if FAULTS[name].error == "clopos_timeout":
            patch.setattr(cancellation.exchange, "READ_TIMEOUT_S", 0.05)
        yield


def calls(clopos):
    return len(clopos.calls(108, method=None))


@pytest.mark.parametrize("name", FAILURES)
def test_what_an_api_caller_gets(clopos, call_api, output, name):
    clopos.fail(108, the(name).fault, repeat=None)
    with patience(name):
        answer = call_api(108)
    assert (answer.status, "Retry-After" in answer.headers) == CONTRACT[FAULTS[name].error]
    made = calls(clopos)
    if FAULTS[name].error in TRANSIENT and name != "rate_limited":
        assert made > 2
    else:
        assert made == (2 if name == "status_not_allowed" else 1)  # a refusal is checked
    outcome = "rejected" if FAULTS[name].fate == "dead-lettered" else "failed"
    check(name, answer.body, outcome, output, made)
    assert (clopos.order(108)["status"] == "IGNORE") == (name in CANCELLED)


@pytest.mark.parametrize("name", FAILURES)
def test_what_becomes_of_a_message(clopos, run_batch, output, name):
    clopos.fail(108, the(name).fault, repeat=None)
    with patience(name):
        batch = run_batch({"order_id": 108})
    line = output.orders()[0]
    assert (line["source"], line["message_id"]) == ("queue", batch.ids[0])
    if FAULTS[name].fate == "dead-lettered":
        assert batch.fates == ["dead"]
        [dead] = batch.dead
        assert dead["MessageAttributes"]["ErrorCode"]["StringValue"] == FAULTS[name].error
        assert dead["MessageAttributes"]["ErrorMessage"]["StringValue"] == line["result"]["message"]
    else:
        assert batch.fates == ["queued"]
        asked = 40 if name == "rate_limited" else 0
        assert max(1, asked) <= batch.hidden_s[0] <= max(2, asked)
    made = calls(clopos)
    assert made == (2 if name == "status_not_allowed" else 1)  # the queue tries again
    outcome = "rejected" if batch.fates == ["dead"] else "deferred"
    check(name, dict(line["result"]), outcome, output, made)
    assert (clopos.order(108)["status"] == "IGNORE") == (name in CANCELLED)


@pytest.mark.parametrize("name", [name for name in FAILURES if FAULTS[name].error in TRANSIENT])
def test_a_fault_that_passes_is_not_noticed_by_a_caller(clopos, call_api, output, name):
    clopos.fail(108, name)
    with patience(name):
        assert call_api(108).status == 200
    assert len(clopos.calls(108)) == output.orders()[0]["attempts"] >= 2


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("name", sorted(CANCELLED))
def test_an_order_that_was_cancelled_by_a_call_that_failed_is_found_out(clopos, run_batch, name, strict):
    clopos.configure(strict=strict)
    clopos.fail(108, name)
    with patience(name):
        assert run_batch({"order_id": 108}).fates == ["queued"]
    assert run_batch({"order_id": 108}).fates == ["done"]


@pytest.mark.parametrize("name", BROKEN)
def test_the_same_over_tls(clopos, call_api, run_batch, over_tls, name):
    clopos.fail(108, name, repeat=None)
    assert call_api(108).body["error"] == FAULTS[name].error
    assert run_batch({"order_id": 108}).fates == ["queued"]
    clopos.heal()
    assert call_api(108).status == 200


@pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if not row.error])
def test_what_does_not_matter(clopos, call_api, run_batch, name):
    clopos.fail(108, name, repeat=None)
    assert (call_api(108).status, run_batch({"order_id": 108}).fates) == (200, ["done"])
    assert clopos.order(108)["status"] == "IGNORE"


def test_a_body_that_cannot_be_decoded_is_a_bad_response(clopos, call_api):
    clopos.fail(108, Fault(headers={"Content-Encoding": "gzip"}), repeat=None)
    assert call_api(108).body["error"] == "clopos_bad_response"


def test_a_drip_is_not_waited_for_however_steadily_it_comes(clopos, run_batch, monkeypatch, output):
    monkeypatch.setattr("cancellation.exchange.EXCHANGE_S", 0.5)
    clopos.fail(108, Fault(wire="drip", interval=0.05))  # 20 s for the whole body
    assert run_batch({"order_id": 108}).fates == ["queued"]
    assert output.orders()[0]["result"]["error"] == "clopos_timeout"


# -- the next order, and the connection


@pytest.mark.parametrize("name", FAULTS)
def test_the_next_order_gets_its_own_answer(clopos, call_api, name):
    clopos.add_order(109, status="DELIVERED", receipt_id=10950)
    clopos.fail(108, the(name).fault, repeat=None)
    with patience(name):
        call_api(108, remaining_s=4.5)
    answer = call_api(109)
    # A second answer that nobody asked for, after a clean one, cannot be told from an honest one: but it is another
    # order's, and never final.
    assert answer.body["error"] in ("order_not_cancellable", "clopos_bad_response")
    assert answer.body["error"] == "order_not_cancellable" or name == "second_answer"
    assert clopos.order(109)["status"] == "DELIVERED"


@pytest.mark.parametrize(
    "second", ["", 'HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n{"success": false}']
)
def test_an_answer_that_comes_too_late_for_its_own_order_is_not_final_for_another(clopos, run_batch, second):
    """It comes on a kept connection after the next request was sent, so no client can tell it from the real answer."""
    clopos.add_order(109)
    clopos.fail(108, Fault(wire="second_answer", interval=0.5, second=second))
    clopos.fail(109, Fault(delay=1))
    assert run_batch({"order_id": 108}, age_s=1).fates == ["done"]
    fates = [run_batch({"order_id": 109}, age_s=1).fates for _ in range(2)]
    assert fates[1] == ["done"]
    assert fates[0] in (["queued"], ["done"])  # the latter if the test itself was too late


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_connection_is_kept_after_a_success_alone(clopos, call_api, connections, request, monkeypatch, tls):
    contexts, create = [], ssl.create_default_context
    if tls:
        request.getfixturevalue("over_tls")
    monkeypatch.setattr(
        ssl, "create_default_context", lambda *a, **kw: contexts.append(1) or create(*a, **kw)
    )
    for _ in range(3):
        assert call_api(108).status == 200
    assert len(connections) == 1
    clopos.fail(108, "not_found", "oversized", "another_order")
    for status in (404, 502, 502, 200):
        assert call_api(108).status == status
    assert len(connections) == 4
    assert len(contexts) <= 1  # each costs 14 ms of processor time


# -- Clopos cannot be reached


@pytest.fixture
def resolver(environment, monkeypatch):
    """Call Clopos at a name that this function resolves; a real resolver would need a network."""
    resolve = socket.getaddrinfo

    def install(find, url="https://clopos.invalid/open-api/v2"):
        environment("CLOPOS_BASE_URL", url)
        patched = lambda host, *rest, **kw: find() if host == "clopos.invalid" else resolve(host, *rest, **kw)  # noqa: E731
        monkeypatch.setattr(socket, "getaddrinfo", patched)

    return install


def not_found():
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("where", ["refused", "no DNS", "not TLS", "untrusted certificate"])
def test_while_clopos_cannot_be_reached_nothing_is_sent(
    clopos, call_api, run_batch, environment, resolver, where
):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        if where == "refused":
            environment("CLOPOS_BASE_URL", f"http://127.0.0.1:{bound.getsockname()[1]}/open-api/v2")
        elif where == "no DNS":
            resolver(not_found)
        else:  # nobody has signed the simulator's certificate, like that of a man in the middle
            not_tls = clopos.url.replace("http:", "https:")
            environment("CLOPOS_BASE_URL", not_tls if where == "not TLS" else clopos.tls_url)
        answer = call_api(108)
        assert (*answer.told, answer.body["upstream"]) == (503, "clopos_unavailable", True, None)
        assert run_batch({"order_id": 108}).fates == ["queued"]
    assert clopos.calls(method=None) == []  # least of all a token


@pytest.mark.parametrize("where", ["DNS", "five black holes", "TLS"])
def test_everybody_is_answered_in_time_while_the_network_stands_still(
    call_api, run_batch, output, environment, resolver, where
):
    done = threading.Event()
    with stalled_listener() as (host, port), black_hole() as hole:
        if where == "DNS":  # as with a name server that cannot be reached
            resolver(lambda: done.wait(60) or not_found())
        elif where == "TLS":
            environment("CLOPOS_BASE_URL", f"https://{host}:{port}/open-api/v2")
        else:
            addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", hole)] * 5
            resolver(lambda: addresses, f"http://clopos.invalid:{hole[1]}/open-api/v2")
        started = time.monotonic()
        assert call_api(108, remaining_s=4.5).body["error"] in ("clopos_timeout", "clopos_unavailable")
        assert time.monotonic() - started < 4.5
        started = time.monotonic()
        batch = run_batch(*({"order_id": n} for n in range(1, 11)), remaining_s=13.5)
        assert time.monotonic() - started < 13.5
        done.set()
    assert batch.fates == ["queued"] * 10
    assert len(output.orders()) == 11
