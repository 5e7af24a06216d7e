"""Every way in which Clopos can fail, on both triggers: what the caller, the operator, the queue and Clopos see.

A fault lasts for as long as it is asked for, so what is seen here is the end of it, after all retries.
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
from local.simulator import FAULTS, STYLES, Fault

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
# queue lets the queue do that, and both try again where a connection broke.
ONCE, AS_LONG_AS_THERE_IS_TIME, BROKEN = (1, 1), (11, 1), (11, 3)

HTML = "<html><body>Bad request</body></html>"
DONE = {"id": 108, "status": "IGNORE"}


@dataclass
class Row:
    """A fault, and what it is to become."""

    name: str
    fault: Fault
    error: str
    calls: tuple[int, int] = ONCE
    cancelled: bool = False  # has Clopos cancelled the order all the same?

    def upstream(self):
        """Return what the envelope repeats of Clopos's answer."""
        if self.calls == BROKEN:
            return None
        said = self.fault.body if isinstance(self.fault.body, dict) else {}
        text = {key: said[key] if isinstance(said.get(key), str) else None for key in ("error", "message")}
        return {"status": self.fault.status, **text}


# Clopos's own refusals, each in every style: as a sentence, an identifier, with and without `success` ...
REFUSALS = {
    "headers_missing": ("clopos_access_denied", ONCE),
    "invalid_token": ("clopos_access_denied", ONCE),
    "token_expired": ("clopos_access_denied", ONCE),
    "unknown_integrator": ("clopos_access_denied", ONCE),
    "integrator_deactivated": ("clopos_access_denied", ONCE),
    "client_disabled": ("clopos_access_denied", ONCE),
    "wrong_credentials": ("clopos_access_denied", ONCE),
    "test_mode": ("clopos_access_denied", ONCE),
    "test_mode_200": ("clopos_access_denied", ONCE),
    "module_missing": ("clopos_access_denied", ONCE),
    "bad_venue": ("order_not_cancellable", ONCE),
    "not_json": ("order_not_cancellable", ONCE),
    "extra_fields": ("order_not_cancellable", ONCE),
    "status_not_allowed": ("order_not_cancellable", ONCE),
    "not_found": ("order_not_found", ONCE),
    "server_error": ("clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    "unavailable": ("clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    "gateway_timeout": ("clopos_timeout", AS_LONG_AS_THERE_IS_TIME),
}
# Answers that its documentation does not show.
OTHERS = {
    "409": (Fault(409, {"success": False, "message": "busy"}), "order_not_cancellable", ONCE),
    "422": (Fault(422, {"success": False, "message": "no"}), "order_not_cancellable", ONCE),
    "400, unknown words": (Fault(400, {"success": False, "error": "?"}), "order_not_cancellable", ONCE),
    "400, no words": (Fault(400, {"success": False}), "order_not_cancellable", ONCE),
    "400, HTML": (Fault(400, HTML), "clopos_bad_response", ONCE),
    "400, nothing": (Fault(400, ""), "clopos_bad_response", ONCE),
    "401, HTML": (Fault(401, HTML), "clopos_access_denied", ONCE),
    "401, nothing": (Fault(401, ""), "clopos_access_denied", ONCE),
    "403, HTML": (Fault(403, HTML), "clopos_access_denied", ONCE),
    "404, HTML": (Fault(404, HTML), "clopos_bad_response", ONCE),
    "404, nothing": (Fault(404, ""), "clopos_bad_response", ONCE),
    "402": (Fault(402, {"success": False}), "clopos_bad_response", ONCE),
    "405": (Fault(405, {"message": "no"}), "clopos_bad_response", ONCE),
    "410": (Fault(410, {"message": "gone"}), "clopos_bad_response", ONCE),
    "413": (Fault(413, HTML), "clopos_bad_response", ONCE),
    "301": (Fault(301, "", {"Location": "http://127.0.0.1:9/"}), "clopos_bad_response", ONCE),
    "307": (Fault(307, "", {"Location": "http://127.0.0.1:9/"}), "clopos_bad_response", ONCE),
    "204": (Fault(204, ""), "clopos_bad_response", ONCE),
    "200, HTML": (FAULTS["html_200"], "clopos_bad_response", ONCE),
    "200, nothing": (FAULTS["empty"], "clopos_bad_response", ONCE),
    "200, not found": (
        Fault(200, {"success": False, "error": "not_found", "message": "Order not found"}),
        "order_not_found",
        ONCE,
    ),
    "200, not allowed": (
        Fault(200, {"success": False, "error": "validation_failed", "message": "Status is not allowed"}),
        "order_not_cancellable",
        ONCE,
    ),
    "200, unknown refusal": (Fault(200, {"success": False, "error": "?"}), "clopos_bad_response", ONCE),
    "200, no success": (Fault(200, {"data": DONE}), "clopos_bad_response", ONCE),
    "200, success as text": (Fault(200, {"success": "true", "data": DONE}), "clopos_bad_response", ONCE),
    "200, no data": (Fault(200, {"success": True}), "clopos_bad_response", ONCE),
    "200, data is a list": (Fault(200, {"success": True, "data": [DONE]}), "clopos_bad_response", ONCE),
    "200, no id": (Fault(200, {"success": True, "data": {"status": "IGNORE"}}), "clopos_bad_response", ONCE),
    "200, another status": (
        Fault(200, {"success": True, "data": {"id": 108, "status": "PENDING"}}),
        "clopos_bad_response",
        ONCE,
    ),
    "200, no timestamp": (
        Fault(200, {"success": True, "data": DONE | {"updated_at": "yesterday"}}),
        "clopos_bad_response",
        ONCE,
    ),
    "200, a list": (Fault(200, [1]), "clopos_bad_response", ONCE),
    "200, null": (Fault(200, "null"), "clopos_bad_response", ONCE),
    "200, half a JSON": (Fault(200, '{"success": tr'), "clopos_bad_response", ONCE),
    "200, deep JSON": (Fault(200, "[" * 100_000), "clopos_bad_response", ONCE),
    "500, nothing": (Fault(500, ""), "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    "501": (Fault(501, ""), "clopos_unavailable", ONCE),
    "502, HTML": (FAULTS["html"], "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    "502, nothing": (FAULTS["empty_502"], "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
    "503, success": (
        Fault(503, {"success": True, "data": DONE}),
        "clopos_unavailable",
        AS_LONG_AS_THERE_IS_TIME,
    ),
    "504, HTML": (Fault(504, HTML), "clopos_timeout", AS_LONG_AS_THERE_IS_TIME),
    "599": (Fault(599, ""), "clopos_unavailable", AS_LONG_AS_THERE_IS_TIME),
}
MORE_THAN_AN_API_CALL_CAN_WAIT = {"RateLimit-Remaining": "0", "RateLimit-Reset": "40"}
ANSWERS = [
    *(
        Row(f"{name}:{style}", FAULTS[f"{name}:{style}"], error, calls)
        for name, (error, calls) in REFUSALS.items()
        for style in STYLES
    ),
    *(
        Row(
            f"rate_limited:{style}",
            replace(FAULTS[f"rate_limited:{style}"], headers=MORE_THAN_AN_API_CALL_CAN_WAIT),
            "rate_limited",
        )
        for style in STYLES
    ),
    *(Row(name, *row) for name, row in OTHERS.items()),
]
BROKEN_CONNECTIONS = [
    Row("reset", FAULTS["reset"], "clopos_unavailable", BROKEN),
    Row("reset_after", FAULTS["reset_after"], "clopos_unavailable", BROKEN, cancelled=True),
    Row("close", FAULTS["close"], "clopos_unavailable", BROKEN),
    Row("close_after", FAULTS["close_after"], "clopos_unavailable", BROKEN, cancelled=True),
    Row("truncated", FAULTS["truncated"], "clopos_unavailable", BROKEN, cancelled=True),
]
SILENCE = [
    Row("slow", Fault(delay=60, processed=False), "clopos_timeout", BROKEN),
    Row("slow_after", Fault(delay=60), "clopos_timeout", BROKEN, cancelled=True),
    Row("drip", FAULTS["drip"], "clopos_timeout", BROKEN, cancelled=True),
    Row("drip_headers", FAULTS["drip_headers"], "clopos_timeout", BROKEN, cancelled=True),
]


def rows(*tables):
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for rows in tables for row in rows])


@pytest.fixture
def impatient(monkeypatch):
    """A tenth of a second is enough to wait for Clopos."""
    monkeypatch.setattr(cancellation.transport, "READ_TIMEOUT_S", 0.1)


def check_api(answer, row, seen, output):
    status, retryable, fault = CONTRACT[row.error]
    assert answer.status == status
    assert answer.body == {
        "success": False,
        "error": row.error,
        "message": answer.body["message"],
        "retryable": retryable,
        "request_id": "request-1",
        "upstream": row.upstream(),
    }
    assert answer.body["message"]
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
    outcome = "rejected" if batch.fates == ["dead"] else "deferred"
    check_output(output, row, outcome, row.calls[1], {**line["result"], "upstream": row.upstream()})


def check_output(output, row, outcome, attempts, result):
    """One line and the right metrics, and nothing else of either."""
    [line] = output.orders()
    assert line["message"] == "order not cancelled"
    assert line["level"] == ("ERROR" if outcome == "failed" else "WARNING")
    assert (line["order_id"], line["venue_id"]) == ("108", None)
    assert (line["outcome"], line["attempts"], line["result"]) == (outcome, attempts, result)
    assert line["result"]["error"] == row.error
    answered = row.calls != BROKEN
    expected = {
        "OrdersRejected": outcome == "rejected",
        "OrdersDeferred": outcome == "deferred",
        "OrdersFailed": outcome == "failed",
        "CloposLatency": answered,
        "CloposQuotaLeft": answered and row.fault.headers.get("RateLimit-Remaining", "") is not None,
        "CloposThrottled": row.fault.status == 429,
        "CloposAccessDenied": row.error == "clopos_access_denied",
    }
    assert {name: len(values) for name, values in output.metrics().items()} == {
        name: 1 for name, counted in expected.items() if counted
    }


@rows(ANSWERS, BROKEN_CONNECTIONS)
def test_what_an_api_caller_gets(clopos, call_api, output, row):
    clopos.fail(108, row.fault, repeat=None)
    check_api(call_api(108), row, len(clopos.calls(108)), output)
    assert (clopos.order(108)["status"] == "IGNORE") == row.cancelled


@rows(ANSWERS, BROKEN_CONNECTIONS)
def test_what_becomes_of_a_message(clopos, run_batch, output, row):
    clopos.fail(108, row.fault, repeat=None)
    check_queue(run_batch({"order_id": 108}), row, len(clopos.calls(108)), output)
    assert (clopos.order(108)["status"] == "IGNORE") == row.cancelled


@rows(SILENCE)
def test_what_an_api_caller_gets_while_clopos_is_silent(clopos, call_api, output, row, impatient):
    clopos.fail(108, row.fault, repeat=None)
    check_api(call_api(108), row, len(clopos.calls(108)), output)


@rows(SILENCE)
def test_what_becomes_of_a_message_while_clopos_is_silent(clopos, run_batch, output, row, impatient):
    clopos.fail(108, row.fault, repeat=None)
    check_queue(run_batch({"order_id": 108}), row, len(clopos.calls(108)), output)


# -- where nobody answers at all


@pytest.fixture
def refused(environment):
    with socket.socket() as probe:  # bound, and not listening
        probe.bind(("127.0.0.1", 0))
        environment("CLOPOS_BASE_URL", f"http://127.0.0.1:{probe.getsockname()[1]}/open-api/v2")
        yield


@pytest.fixture
def no_dns(environment, monkeypatch):
    """The name is not found; asking a real resolver would take a network."""
    resolve = socket.getaddrinfo

    def not_found(host, *args, **kw):
        if host == "clopos.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    environment("CLOPOS_BASE_URL", "https://clopos.invalid/open-api/v2")


@pytest.fixture
def not_tls(environment, clopos):
    environment("CLOPOS_BASE_URL", clopos.url.replace("http:", "https:"))


@pytest.fixture
def untrusted_certificate(environment, tmp_path):
    """Somebody in the middle, with a certificate that no authority has signed."""
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
UNREACHABLE = Row("unreachable", Fault(), "clopos_unavailable", BROKEN)


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


# -- a fault that passes

PASSING = [row for row in (*ANSWERS, *BROKEN_CONNECTIONS) if row.calls != ONCE]


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
