"""What the handlers do around an order: their margins, log lines, and the memory of the token refresh."""

import io
import json

import pytest

from cancellation import clopos, telemetry
from cancellation.clopos import CREDENTIALS
from cancellation.errors import CancelError
from cancellation.exchange import Exchange
from cancellation.messages import Order
from cancellation.order import Outcome
from cancellation.tokens import fingerprint
from tests.unit.conftest import ACCESS_DENIED


@pytest.fixture
def lines(monkeypatch):
    """Return the log lines that were written so far."""
    stream = io.StringIO()
    monkeypatch.setattr(telemetry.logger.handlers[0], "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def record(message_id, body="no JSON", sent_at=None):
    attributes = {"ApproximateReceiveCount": "1"}
    if sent_at is not None:
        attributes["SentTimestamp"] = f"{sent_at * 1000:.0f}"
    return {
        "messageId": message_id,
        "receiptHandle": "handle",
        "eventSource": "aws:sqs",
        "body": body,
        "attributes": attributes,
    }


REQUEST = {
    "httpMethod": "PUT",
    "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "requestId": "gateway-1"},
}


@pytest.mark.parametrize(
    ("handler", "event"),
    [
        ("api", REQUEST),
        ("webhook", REQUEST),
        ("queue_worker", {"Records": [record("message-1")]}),
        ("token_refresh", {}),
    ],
)
def test_every_line_has_the_id_of_its_invocation_and_the_callers_address(
    load, context, lines, aws, handler, event
):
    aws.send_message = lambda **_: {"MessageId": "message-2"}
    context.aws_request_id = handler  # the logger keeps the id of an earlier test
    load(handler).handler(event, context)
    [line] = lines()
    assert line["function_request_id"] == handler
    if event is REQUEST:
        assert (line["source_ip"], line["gateway_request_id"]) == ("192.0.2.1", "gateway-1")


def test_a_bug_in_the_webhook_is_answered_and_says_nothing(load, context, lines, monkeypatch):
    module = load("webhook")
    monkeypatch.setattr(module, "check_event", lambda _: 1 / 0)
    answer = module.handler(REQUEST, context)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (500, "internal_error")
    assert "division" not in answer["body"] + repr(lines())
    assert "Retry-After" in answer["headers"]


# -- the worker


def test_a_batch_leaves_time_for_settling_and_settling_for_the_answer(load, context, clock, monkeypatch):
    module = load("queue_worker")
    left = {}
    for name in ("cancel_all", "settle"):
        monkeypatch.setattr(module, name, lambda _, deadline, name=name: left.update({name: deadline.left()}))
    module.handler({"Records": [record("message-1")]}, context)
    assert left == {"cancel_all": 100 - 12, "settle": 100 - 1}


@pytest.mark.parametrize("records", [[], [record("a"), record("b") | {"eventSource": "aws:s3"}]])
def test_an_event_that_is_no_batch_is_an_error(load, context, records):
    with pytest.raises(ValueError, match="not a batch"):
        load("queue_worker").handler({"Records": records}, context)


def test_each_record_is_answered_for_even_if_two_have_the_same_receipt_handle(load, context, aws):
    def refuse(**_):
        raise ACCESS_DENIED

    aws.send_message = aws.change_message_visibility_batch = refuse
    answer = load("queue_worker").handler({"Records": [record("a"), record("b")]}, context)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}


@pytest.mark.parametrize(
    ("code", "sent_s_before", "fate"),
    [
        ("order_not_found", 119, "deferred"),
        ("order_not_found", -5, "deferred"),  # the clocks differ
        ("order_not_found", 120, "rejected"),
        ("order_not_found", None, "rejected"),
        ("order_not_cancellable", 0, "rejected"),
        ("clopos_bad_response", 1000, "deferred"),
        (None, 0, "cancelled"),
    ],
)
def test_a_404_to_a_young_message_is_no_verdict(load, clock, code, sent_s_before, fate):
    module = load("queue_worker")
    answered_at = clock.now
    outcome = Outcome(
        "request-1",
        Order("108"),
        error=CancelError(code, "no") if code else None,
        started_at=answered_at - 3,
        duration_s=3,
    )
    sent_at = None if sent_s_before is None else answered_at - sent_s_before
    job = module.Job(module.Message.of(record("message-1", sent_at=sent_at)), outcome)
    clock.now += 150  # for which an outage has held the batch
    assert module.fate(job) == fate


# -- the token refresh

CREDENTIALS_SECRET = json.dumps(dict.fromkeys(CREDENTIALS, "fake-credential"))


@pytest.fixture
def refresh(load, aws, clock, context, monkeypatch):
    """Refresh the token; Clopos answers with the status in `statuses` that stands beside the call's path."""
    statuses, calls = {"/auth": 200, "/orders/0": 404}, []

    class Connections:
        def __init__(self, _):
            pass

        def exchange(self, method, url, *_):
            path = url.removeprefix("http://clopos.invalid")
            calls.append(path)
            status, number = statuses[path], len(calls)
            body = {
                "success": status == 200,
                "token": f"abc.def.{number}",
                "expires_in": 3600,
                "message": "?",
            }
            return Exchange(
                method, "clopos", 0.0, 0.0, status, {"Retry-After": "7"}, json.dumps(body).encode()
            )

    monkeypatch.setattr(clopos, "Connections", Connections)
    aws.secrets["credentials"] = CREDENTIALS_SECRET
    module = load("token_refresh")

    def refresh(refused=None, **answers):
        calls.clear()
        statuses.update({"/" + path.replace("_", "/"): status for path, status in answers.items()})
        token = json.loads(aws.secrets.get("token", "{}")).get("token", "")
        event = {"refused": fingerprint(token) if refused == "stored" else refused} if refused else {}
        return module.handler(event, context), calls.copy()

    return refresh


def test_a_new_token_is_stored_once_clopos_accepts_it(refresh, aws, clock):
    answer, calls = refresh()
    assert answer == {"success": True, "refreshed": True, "expires_at": clock.now + 3600}
    assert calls == ["/auth", "/orders/0"]
    stored = aws.secrets["token"]
    with pytest.raises(CancelError, match="rejects even a new token"):
        refresh(orders_0=401)
    assert aws.secrets["token"] == stored


def test_a_worker_gets_a_token_that_was_stored_meanwhile_or_its_own_if_clopos_accepts_it(refresh):
    refresh()
    assert refresh("another") == ({"success": True, "refreshed": False}, [])
    assert refresh("stored") == ({"success": True, "refreshed": False, "accepted": True}, ["/orders/0"])
    answer, calls = refresh("stored", orders_0=401)
    assert (answer["error"], calls) == ("clopos_access_denied", ["/orders/0", "/auth", "/orders/0"])


def test_an_expired_token_is_renewed_without_a_look_at_it(refresh, clock):
    refresh()
    clock.now += 3600
    assert refresh("stored")[1] == ["/auth", "/orders/0"]
    clock.now += 3600
    assert refresh("another")[0]["refreshed"] is True


def test_a_failure_is_repeated_to_workers_for_as_long_as_clopos_asks(refresh, clock, aws):
    answer, calls = refresh("any", auth=503)
    assert (answer["error"], answer["retry_after_s"], calls) == ("clopos_unavailable", 7, ["/auth"])
    clock.now += 6
    answer, calls = refresh("any", auth=200)
    assert (answer["error"], answer["retry_after_s"], calls) == ("clopos_unavailable", 1, [])
    aws.secrets["credentials"] = CREDENTIALS_SECRET.replace("fake", "other")  # as it was with others
    assert refresh("any")[0]["refreshed"] is True


def test_a_failure_is_forgotten_after_its_time_or_a_success(refresh, clock):
    refresh("any", auth=503)
    clock.now += 7
    assert refresh("any", auth=200)[0]["refreshed"] is True
    with pytest.raises(CancelError):
        refresh(auth=503)
    refresh(auth=200)  # the schedule does not wait
    assert refresh("stored", orders_0=401)[1] == ["/orders/0", "/auth", "/orders/0"]


def test_credentials_that_nobody_has_filled_in_yet_are_no_failure(refresh, aws):
    del aws.secrets["credentials"]
    assert "the credentials secret is empty" in refresh()[0]["message"]


def test_a_secret_that_cannot_be_read_is_never_called_empty(refresh, aws):
    aws.failure = ACCESS_DENIED
    with pytest.raises(CancelError, match="a secret cannot be read"):
        refresh()
    assert refresh("any")[0]["message"] == "a secret cannot be read"
