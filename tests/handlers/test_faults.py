"""Every way in which Clopos can fail, on both triggers: what the caller, the operator, the queue and Clopos see.

A fault lasts for as long as it is asked for, so what is seen here is the end of it, after all retries. What each
answer means is tested in tests/unit/test_answers.py; here stands one row for each error and for each way to break
a connection.
"""

import datetime
import socket
import ssl
import threading
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import cancellation.transport
from local.simulator import FAULTS, Fault
from tests.unreachable import black_hole, stalled_listener

# The contract's table: HTTP status, whether an API caller may try again, and whose fault it is.
CONTRACT = {
    "order_not_found": (404, False, "message"),
    "order_not_cancellable": (409, False, "message"),
    "rate_limited": (429, True, "service"),
    "clopos_access_denied": (502, False, "service"),
    "clopos_bad_response": (502, True, "service"),
    "clopos_unavailable": (503, True, "service"),
    "clopos_timeout": (504, True, "service"),
}
# How many calls Clopos sees, (of an API call, of a message): the API tries again for as long as it has time, the
# queue lets the queue do that, and both try again if a connection broke.
ONCE, WITH_A_CHECK, AS_LONG_AS_THERE_IS_TIME, BROKEN = (1, 1), (2, 2), (11, 1), (11, 2)


@dataclass
class Row:
    """A fault, and the expected results."""

    fault: Fault
    error: str
    calls: tuple[int, int] = ONCE
    cancelled: bool = False  # whether Clopos has cancelled the order in spite of the fault
    answered: bool = True  # whether a complete answer arrived

    def upstream(self):
        """Return what the envelope repeats of Clopos's answer."""
        if not self.answered:
            return None
        said = self.fault.body if isinstance(self.fault.body, dict) else {}
        status = 200 if self.fault.status is None else self.fault.status
        return {"status": status, "error": said.get("error"), "message": said.get("message")}


LONGER_THAN_A_CALL = {"RateLimit-Remaining": "0", "RateLimit-Reset": "40"}
HTML = "<html><body>Bad request</body></html>"
ANSWERS = [
    Row(FAULTS["not_found"].fault, "order_not_found"),
    Row(FAULTS["status_not_allowed"].fault, "order_not_cancellable", WITH_A_CHECK),
    Row(Fault(409, {"success": False, "message": "busy"}, name="409"), "order_not_cancellable", WITH_A_CHECK),
    Row(replace(FAULTS["rate_limited"].fault, headers=LONGER_THAN_A_CALL), "rate_limited"),
    Row(FAULTS["unauthorized"].fault, "clopos_access_denied"),
    Row(FAULTS["module_missing"].fault, "clopos_access_denied"),
    Row(FAULTS["test_mode_200"].fault, "clopos_access_denied"),
    Row(FAULTS["html_200"].fault, "clopos_bad_response"),
    Row(FAULTS["empty"].fault, "clopos_bad_response"),
    Row(Fault(404, HTML, name="404, HTML"), "clopos_bad_response"),
    Row(Fault(307, "", {"Location": "http://127.0.0.1:9/"}, name="307"), "clopos_bad_response"),
    Row(Fault(501, "", name="501"), "clopos_unavailable"),
    Row(FAULTS["server_error"].fault, "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    Row(FAULTS["html"].fault, "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    Row(FAULTS["gateway_timeout"].fault, "clopos_timeout", AS_LONG_AS_THERE_IS_TIME),
    Row(FAULTS["another_order"].fault, "clopos_bad_response", cancelled=True),
    Row(FAULTS["oversized"].fault, "clopos_bad_response", cancelled=True),
]


def broken(name, *, cancelled):
    fault = FAULTS[name].fault
    return Row(fault, "clopos_unavailable", BROKEN, cancelled, answered=False)


def silent(name, *, cancelled):
    fault = replace(FAULTS[name].fault, interval=0.02)  # a drip is not silent for long
    return Row(fault, "clopos_timeout", AS_LONG_AS_THERE_IS_TIME, cancelled, answered=False)


BROKEN_CONNECTIONS = [
    broken("reset", cancelled=False),
    broken("lost_answer", cancelled=True),
    broken("reset_in_body", cancelled=True),
    broken("truncated", cancelled=True),
    broken("not_http", cancelled=False),
]
SILENCE = [
    silent("silence", cancelled=False),
    silent("silence_after", cancelled=True),
    silent("drip", cancelled=True),
]


def rows(*tables):
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.fault.name) for rows in tables for row in rows]
    )


@pytest.fixture
def impatient(monkeypatch):
    """A twentieth of a second is enough to wait for Clopos."""
    monkeypatch.setattr(cancellation.transport, "READ_TIMEOUT_S", 0.05)


def check_envelope(envelope, row):
    _, retryable, _ = CONTRACT[row.error]
    assert envelope["message"]
    order = {"order": {"status": "PENDING", "receipt_id": None}} if row.calls == WITH_A_CHECK else {}
    assert envelope == {
        "success": False,
        "error": row.error,
        "message": envelope["message"],
        "retryable": retryable,
        "request_id": "request-1",
        "upstream": row.upstream(),
        **order,
    }


def check_api(answer, row, seen, output):
    status, retryable, fault = CONTRACT[row.error]
    assert answer.status == status
    check_envelope(answer.body, row)
    assert ("Retry-After" in answer.headers) == retryable
    assert seen == row.calls[0]
    check_output(output, row, "rejected" if fault == "message" else "failed", row.calls[0], answer.body)


def check_queue(batch, row, seen, output):
    line = output.orders()[0]
    assert (line["source"], line["message_id"]) == ("queue", batch.ids[0])
    if CONTRACT[row.error][2] == "message":
        assert batch.fates == ["dead"]
        [dead] = batch.dead
        assert dead["Body"] == '{"order_id": 108}'
        reasons = {name: sent["StringValue"] for name, sent in dead["MessageAttributes"].items()}
        assert reasons == {
            "ErrorCode": row.error,
            "ErrorMessage": line["result"]["message"],
            "OriginalMessageId": batch.ids[0],
        }
    else:
        assert batch.fates == ["queued"]
        asked = float(row.fault.headers.get("RateLimit-Reset") or 0) if row.fault.status == 429 else 0
        assert max(1, asked) <= batch.hidden_s[0] <= max(2, asked)
    assert seen == row.calls[1]
    check_envelope(line["result"], row)
    outcome = "rejected" if batch.fates == ["dead"] else "deferred"
    check_output(output, row, outcome, row.calls[1], line["result"])


def check_output(output, row, outcome, attempts, result):
    """Check that there is one log line, and exactly the expected metrics."""
    [line] = output.orders()
    assert line["message"] == "order not cancelled"
    assert line["level"] == ("ERROR" if outcome == "failed" else "WARNING")
    assert (line["order_id"], line["venue_id"]) == ("108", None)
    assert (line["outcome"], line["attempts"], line["result"]) == (outcome, attempts, result)
    expected = {
        "OrdersRejected": outcome == "rejected",
        "OrdersDeferred": outcome == "deferred",
        "OrdersFailed": outcome == "failed",
        "MessageAge": outcome == "deferred",
        "CloposLatency": attempts,
        "CloposQuotaLeft": row.answered and row.fault.headers.get("RateLimit-Remaining", "") is not None,
        "CloposThrottled": row.fault.status == 429,
        "CloposAccessDenied": row.error == "clopos_access_denied",
    }
    counted = {name: len(values) for name, values in output.metrics().items()}
    if not row.answered:
        counted.pop("CloposQuotaLeft", None)  # the headers may have arrived
    assert counted == {name: count for name, count in expected.items() if count}


def calls(clopos):
    return len(clopos.calls(108, method=None))


@rows(ANSWERS, BROKEN_CONNECTIONS)
def test_what_an_api_caller_gets(clopos, call_api, output, row):
    clopos.fail(108, row.fault, repeat=None)
    check_api(call_api(108), row, calls(clopos), output)
    assert (clopos.order(108)["status"] == "IGNORE") == row.cancelled


@rows(ANSWERS, BROKEN_CONNECTIONS)
def test_what_becomes_of_a_message(clopos, run_batch, output, row):
    clopos.fail(108, row.fault, repeat=None)
    check_queue(run_batch({"order_id": 108}), row, calls(clopos), output)
    assert (clopos.order(108)["status"] == "IGNORE") == row.cancelled


@rows(SILENCE)
def test_what_an_api_caller_gets_while_clopos_is_silent(clopos, call_api, output, row, impatient):
    clopos.fail(108, row.fault, repeat=None)
    check_api(call_api(108), row, calls(clopos), output)


@rows(SILENCE)
def test_what_becomes_of_a_message_while_clopos_is_silent(clopos, run_batch, output, row, impatient):
    clopos.fail(108, row.fault, repeat=None)
    check_queue(run_batch({"order_id": 108}), row, calls(clopos), output)


# -- Clopos cannot be reached


@pytest.fixture
def refused(environment):
    with socket.socket() as probe:  # bound, and not listening
        probe.bind(("127.0.0.1", 0))
        environment("CLOPOS_BASE_URL", f"http://127.0.0.1:{probe.getsockname()[1]}/open-api/v2")
        yield


@pytest.fixture
def resolver(monkeypatch):
    """Resolve the name clopos.invalid with this function; a real resolver would need a network."""
    resolve = socket.getaddrinfo

    def install(find):
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *args, **kw: find() if host == "clopos.invalid" else resolve(host, *args, **kw),
        )

    return install


@pytest.fixture
def no_dns(environment, resolver):
    def not_found():
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolver(not_found)
    environment("CLOPOS_BASE_URL", "https://clopos.invalid/open-api/v2")


@pytest.fixture
def not_tls(environment, clopos):
    environment("CLOPOS_BASE_URL", clopos.url.replace("http:", "https:"))


@pytest.fixture
def untrusted_certificate(environment, tmp_path):
    """A man in the middle, with a certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        key.private_bytes(pem, plain, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    heard, refusals = [], []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # the server was closed: the test is over
                return
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    heard.append(tls.recv(1000))
            except ssl.SSLError as exc:  # the client does not trust us, as it should
                refusals.append(exc.reason)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        environment("CLOPOS_BASE_URL", f"https://127.0.0.1:{server.getsockname()[1]}/open-api/v2")
        yield
        server.shutdown(socket.SHUT_RDWR)
    assert heard == []  # least of all a token
    assert set(refusals) == {"TLSV1_ALERT_UNKNOWN_CA"}


nowhere = pytest.mark.parametrize("where", ["refused", "no_dns", "not_tls", "untrusted_certificate"])
UNREACHABLE = Row(Fault(name="unreachable"), "clopos_unavailable", BROKEN, answered=False)


@nowhere
def test_what_an_api_caller_gets_while_clopos_cannot_be_reached(clopos, call_api, output, request, where):
    request.getfixturevalue(where)
    check_api(call_api(108), UNREACHABLE, UNREACHABLE.calls[0], output)
    assert clopos.calls() == []


@nowhere
def test_what_becomes_of_a_message_while_clopos_cannot_be_reached(clopos, run_batch, output, request, where):
    request.getfixturevalue(where)
    check_queue(run_batch({"order_id": 108}), UNREACHABLE, UNREACHABLE.calls[1], output)
    assert clopos.calls() == []


# -- the network does not answer


@pytest.fixture
def resolver_that_hangs(environment, resolver):
    """A DNS lookup that takes ten seconds and fails, as with a name server that cannot be reached."""
    done = threading.Event()

    def hang():
        done.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    resolver(hang)
    environment("CLOPOS_BASE_URL", "https://clopos.invalid/open-api/v2")
    yield
    done.set()


@pytest.fixture
def five_black_holes(environment, resolver):
    with black_hole() as address:
        resolver(lambda: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 5)
        environment("CLOPOS_BASE_URL", f"http://clopos.invalid:{address[1]}/open-api/v2")
        yield


@pytest.fixture
def tls_that_stalls(environment):
    with stalled_listener() as (host, port):
        environment("CLOPOS_BASE_URL", f"https://{host}:{port}/open-api/v2")
        yield


standing_still = pytest.mark.parametrize(
    "where", ["resolver_that_hangs", "five_black_holes", "tls_that_stalls"]
)


@standing_still
def test_an_api_caller_is_answered_in_time_while_the_network_stands_still(call_api, output, request, where):
    request.getfixturevalue(where)
    answer = call_api(108, remaining_s=4.5)  # 1.5 s for Clopos, and 3 s for the response
    assert answer.body["error"] in ("clopos_timeout", "clopos_unavailable")
    [line] = output.orders()
    assert line["duration_ms"] < 2500


@standing_still
def test_a_batch_is_handed_back_in_time_while_the_network_stands_still(run_batch, output, request, where):
    request.getfixturevalue(where)
    batch = run_batch(*({"order_id": n} for n in range(1, 11)), remaining_s=13.5)
    assert batch.fates == ["queued"] * 10
    assert len(output.orders()) == 10
    assert max(line["duration_ms"] for line in output.orders()) < 2500


# -- temporary faults

PASSING = [row for row in (*ANSWERS, *BROKEN_CONNECTIONS) if row.calls in (AS_LONG_AS_THERE_IS_TIME, BROKEN)]


@rows(PASSING)
def test_an_api_caller_does_not_notice_a_fault_that_passes(clopos, call_api, output, row):
    clopos.fail(108, row.fault)
    assert call_api(108).status == 200
    assert len(clopos.calls(108)) == output.orders()[0]["attempts"] == 2


@rows(PASSING)
def test_a_message_is_done_after_a_fault_that_passes(clopos, run_batch, on_queue, row):
    clopos.fail(108, row.fault)
    first = run_batch({"order_id": 108})
    assert first.fates == ["done" if row.calls == BROKEN else "queued"]
    assert first.fates == ["done"] or on_queue.counts() == (0, 1)
    assert run_batch({"order_id": 108}).fates == ["done"]
    assert clopos.order(108)["status"] == "IGNORE"
