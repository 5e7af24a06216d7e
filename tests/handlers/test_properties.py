"""Properties that hold for all input of a handler, and for all answers of Clopos.

What a handler says is compared with what the simulator did: the outcome is `cancelled` if and only if Clopos has
the order at `IGNORE`, or its answer was lost and the caller, or the queue, will try again.
"""

import dataclasses
import json
import string
import time
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cancellation.order
from cancellation.outage import Outage
from local.simulator import FAULTS, FORMS, REFUSALS, STATUSES, STYLES, Fault, refusal
from tests.handlers.conftest import CONTRACT, IGNORE
from tests.strategies import bodies, ids, json_values, text

# The handlers of one test serve all of its examples, as one Lambda environment serves many events.
examples = settings(
    max_examples=60,
    deadline=None,  # no property depends on timing
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ERRORS = {"invalid_request": 400, "token_unavailable": 503} | {
    error: status for error, (status, _) in CONTRACT.items()
}
FINAL = {"invalid_request", "order_not_found", "order_not_cancellable"}


@pytest.fixture
def quick(monkeypatch):
    """Let nobody wait between two attempts, whatever Clopos asks for."""
    clock = SimpleNamespace(monotonic=time.monotonic, time=time.time, sleep=lambda _: None)
    monkeypatch.setattr(cancellation.order, "time", clock)


def check_answer(answer):
    """Check that it is one of the contract's."""
    if answer.status == 200:
        assert answer.body["success"] is True
        assert answer.body["data"]["status"] == "IGNORE"
    else:
        assert answer.status == ERRORS[answer.body["error"]]
        order = {"order"} if answer.body["error"] == "order_not_cancellable" else set()
        assert set(answer.body) == {
            *("success", "error", "message", "retryable", "request_id", "upstream"),
            *order,
        }
        assert ("Retry-After" in answer.headers) == answer.body["retryable"]


# -- what a caller sends

header_values = st.text(string.printable[:95], max_size=20) | st.integers(-5, 10**6).map(str)


@examples
@given(
    order_id=ids.map(str) | text,
    body=st.none() | bodies | st.just(IGNORE),
    headers=st.dictionaries(st.sampled_from(["x-venue", "X-Venue", "content-type"]), header_values),
)
def test_every_api_call_is_answered_as_the_contract_says(call_api, output, order_id, body, headers):
    before = len(output.orders())
    check_answer(call_api(order_id, body, headers))
    assert len(output.orders()) == before + 1


# -- what Clopos answers

odd_numbers = st.sampled_from(
    ["0", "-1", "0.05", "30", "1e9", "NaN", "inf", "9" * 5000, "soon", "", "Fri, 31 Dec 99999 23:59:59 GMT"]
)
odd_headers = st.dictionaries(
    st.sampled_from(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]),
    odd_numbers | header_values,
    max_size=2,
)
other_fields = st.dictionaries(
    st.sampled_from(
        [
            *("venue_id", "type", "integration", "integration_id", "integration_uuid", "customer_ref_id"),
            *("integration_status", "created_at", "updated_at", "integration_response", "shelf"),
        ]
    ),
    json_values | text,
    max_size=4,
)
# Texts that may quote the token of the call, or the token inside it.
quotes = st.builds(
    "{}{{{}:{}}}{}".format,
    text,
    st.sampled_from(["token", "inner_token"]),
    st.sampled_from(sorted(FORMS)),
    text,
)
# Clopos's own answer with the truth in an unusual form, which must not matter.
dressed = st.builds(
    Fault,
    data=other_fields,
    headers=odd_headers,
    wire=st.sampled_from(["", "", "second_answer"]),
    interval=st.just(0.0),
)
# Clopos does not lie: it never says of these orders that there are none.
refusals = {name: row for name, row in REFUSALS.items() if row.status != 404}
words = st.sampled_from([word for row in refusals.values() for word in (row.error, row.text)]) | quotes
codes = st.sampled_from([200, 400, 401, 403, 409, 429, 500, "404"])
anything = json_values | words
entries = {"message": anything, "exception": anything, "http_code": codes}
errors = anything | st.lists(json_values | st.fixed_dictionaries({}, optional=entries), max_size=2)
envelope = {
    "success": st.sampled_from([False, False, None, 0, "true"]),
    "error": errors,
    "message": anything,
    "data": json_values | st.just({"id": 108, "status": "IGNORE"}),
}
contents = st.one_of(
    *(text, json_values, st.binary(max_size=40), st.fixed_dictionaries({}, optional=envelope)),
    st.fixed_dictionaries({"success": st.just(True), "data": json_values}),
    st.just({"success": True, "data": {"id": 109, "status": "IGNORE"}}),
).filter(lambda body: "not found" not in str(body).lower().replace("_", " ") and "No query" not in str(body))
# Any other answer, and a Clopos that has cancelled the order before it, or has not. It does not lie about the order:
# that it is cancelled (`contents` never say that) or, which is left out, that there is none.
free = st.builds(
    Fault,
    status=st.sampled_from([200, 200, 400, 401, 403, 409, 422, 429, 500, 503, 504]) | st.integers(405, 599),
    body=contents,
    headers=odd_headers | st.just({"Content-Encoding": "gzip"}),
    processed=st.booleans(),
    wire=st.sampled_from(["", "", "", "", "reset", "not_http", "truncated"]),
    interval=st.just(0.0),
)
# Every refusal in each of its forms.
formal = st.builds(
    lambda name, style, status, processed: dataclasses.replace(
        refusal(name, style, status), processed=processed
    ),
    st.sampled_from(sorted(refusals)),
    st.sampled_from(["", *STYLES]),
    st.sampled_from([0, 200, 400]),
    st.booleans(),
)
others = free | formal
answers = st.lists(dressed | others, min_size=1, max_size=3)
situations = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["PENDING", "IGNORE", *STATUSES]),
        "strict": st.booleans(),
        "puts": answers,
        "gets": st.lists(dressed | others, max_size=1),
    }
)


def prepare(clopos, status, strict, puts, gets):
    clopos.reset()
    clopos.configure(strict=strict, quota=40_000, failed_quota=40_000)
    clopos.add_order(108, status=status)
    clopos.fail(108, *puts)
    if gets:
        clopos.fail_get(108, *gets)


def says_what_clopos_did(first, strict, status):
    """Whether the first answer decides: its unusual form must cost neither an attempt nor the success."""
    return not first.answers_itself and (status == "PENDING" or (status == "IGNORE" and not strict))


def check_api(clopos, call_api, output, status, strict, puts, gets):
    prepare(clopos, status, strict, puts, gets)
    before = len(output.orders())
    answer = call_api(108)
    check_answer(answer)
    [line] = output.orders()[before:]
    assert output.logs("unexpected error") == []
    is_cancelled = clopos.order(108)["status"] == "IGNORE"
    if answer.status == 200:
        assert is_cancelled
        assert line["outcome"] == "cancelled"
    elif not answer.body["retryable"] and answer.body["error"] != "clopos_access_denied":
        assert not is_cancelled
        assert status != "PENDING"
        assert line["outcome"] == "rejected"
    if says_what_clopos_did(puts[0], strict, status):
        assert (answer.status, line["attempts"]) == (200, 1)


@examples
@given(situation=situations)
def test_what_a_caller_is_told_is_what_clopos_did(clopos, call_api, output, quick, situation):
    check_api(clopos, call_api, output, **situation)


@settings(examples, max_examples=20)
@given(situation=situations)
def test_the_same_over_tls(clopos, call_api, output, quick, over_tls, situation):
    check_api(clopos, call_api, output, **situation)


@examples
@given(situation=situations)
def test_what_becomes_of_a_message_is_what_clopos_did(
    clopos, sqs, on_queue, run_batch, output, function, monkeypatch, situation
):
    sqs.purge_queue(QueueUrl=on_queue.url)
    prepare(clopos, **situation)
    forget(function, monkeypatch)
    before = len(output.orders())
    batch = run_batch({"order_id": 108}, age_s=0)
    [line] = output.orders()[before:]
    assert output.logs("unexpected error") == []
    is_cancelled = clopos.order(108)["status"] == "IGNORE"
    if batch.fates == ["done"]:
        assert is_cancelled
    elif batch.fates == ["dead"]:
        assert not is_cancelled
        assert situation["status"] != "PENDING"
        assert line["result"]["error"] in FINAL
    else:
        assert batch.fates == ["queued"]
        assert batch.hidden_s[0] >= 1
    if says_what_clopos_did(situation["puts"][0], situation["strict"], situation["status"]):
        assert batch.fates == ["done"]


def forget(function, monkeypatch):
    """Let neither an outage nor a quota that is used up last beyond one example."""
    worker = function("queue_worker")
    monkeypatch.setattr(worker, "outage", Outage(workers=2))
    monkeypatch.setattr(worker.clopos, "_pacer", None)


# -- batches

KNOWN = range(1, 21)  # every third of these is delivered, and cannot be cancelled
# All that ends by itself, and does not lie: that an order is unknown, or that any order is cancelled.
ANY_FAULT = sorted(
    name
    for name, row in FAULTS.items()
    if name != "older" and row.error not in ("clopos_timeout", "order_not_found")
)


@examples
@given(
    batch=st.lists(
        st.one_of(
            st.sampled_from(KNOWN).map(lambda n: json.dumps({"order_id": n})),
            st.sampled_from(KNOWN).map(
                lambda n: json.dumps({"type": "order.cancelled", "data": {"order_id": str(n), "venue_id": 1}})
            ),
            bodies.filter(bool),  # SQS carries no empty body
        ),
        min_size=1,
        max_size=10,
    ),
    faults=st.lists(st.sampled_from(ANY_FAULT), max_size=10),
    strict=st.booleans(),
    remaining_s=st.sampled_from([14, 14, 12.01]),  # in an outage, the worker waits for as long as it may
)
def test_every_message_of_a_batch_is_done_or_dead_or_queued(
    clopos, sqs, on_queue, run_batch, output, function, monkeypatch, batch, faults, strict, remaining_s
):
    sqs.purge_queue(QueueUrl=on_queue.url)
    clopos.reset()
    clopos.configure(strict=strict)
    for n in KNOWN:
        clopos.add_order(n, status="PENDING" if n % 3 else "DELIVERED")
    if faults:
        clopos.fail_all(*faults)
    forget(function, monkeypatch)
    before = len(output.orders())
    done = run_batch(*batch, remaining_s=remaining_s)  # this also reads both queues
    lines = output.orders()[before:]
    assert [line["message_id"] for line in lines] == done.ids
    assert output.logs("unexpected error") == []
    dead = {letter["MessageAttributes"]["OriginalMessageId"]["StringValue"]: letter for letter in done.dead}
    statuses = clopos.statuses()
    for place, (message_id, fate, line) in enumerate(zip(done.ids, done.fates, lines, strict=True)):
        if fate == "done":
            assert statuses[line["order_id"]] == "IGNORE"
        elif fate == "dead":
            assert statuses.get(line["order_id"]) != "IGNORE"
            assert dead[message_id]["Body"] == batch[place]
            assert dead[message_id]["MessageAttributes"]["ErrorCode"]["StringValue"] in FINAL
        else:
            assert fate == "queued"
            assert line["result"]["error"] in ERRORS.keys() - FINAL
            assert done.hidden_s[place] >= 1


# -- messages with any attributes

names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True).filter(
    lambda name: not name.lower().startswith(("aws", "amazon"))
)
attributes = st.dictionaries(
    st.sampled_from(["WebhookId", "CorrelationId", "ErrorCode", "OriginalMessageId"]) | names,
    st.tuples(st.sampled_from(["String", "String.custom"]), text.filter(bool))
    | st.tuples(st.just("Number"), st.integers(-(10**30), 10**30).map(str))
    | st.tuples(st.sampled_from(["Binary", "Binary.png"]), st.binary(min_size=1, max_size=40)),
    max_size=10,
).map(
    lambda found: {
        name: {"DataType": kind, "BinaryValue" if isinstance(value, bytes) else "StringValue": value}
        for name, (kind, value) in found.items()
    }
)


@examples
@given(order_id=st.sampled_from([108, 404, 503, "../1"]), attributes=attributes)
def test_a_message_ends_once_whatever_its_attributes(
    clopos, sqs, on_queue, run_batch, output, function, monkeypatch, order_id, attributes
):
    sqs.purge_queue(QueueUrl=on_queue.url)
    forget(function, monkeypatch)
    clopos.fail(503, "unavailable", repeat=None)
    before = len(output.orders())
    batch = run_batch({"order_id": order_id}, MessageAttributes=attributes)
    assert batch.fates == [{108: "done", 404: "dead", 503: "queued", "../1": "dead"}[order_id]]
    [line] = output.orders()[before:]
    assert output.logs("unexpected error") == []
    assert line.get("webhook_id", "").isprintable()
    if batch.dead:
        kept = batch.dead[0]["MessageAttributes"]
        assert {"ErrorCode", "ErrorMessage", "OriginalMessageId"} <= kept.keys()
        own = {name: value for name, value in kept.items() if name not in ("ErrorCode", "ErrorMessage")}
        own.pop("OriginalMessageId")
        assert own.items() <= attributes.items()
        assert len(kept) == min(10, len({*kept, *attributes}))


# -- webhooks


@examples
@given(
    body=bodies,
    signed=st.booleans(),
    headers=st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "svix-signature", "content-type"]
        ),
        header_values | text | st.none(),
    ),
)
def test_every_webhook_is_accepted_ignored_or_refused(call_webhook, on_queue, body, signed, headers):
    answer = call_webhook(body, headers={} if signed else headers)
    assert (answer.status, answer.body.get("error")) in {
        (202, None),
        (200, None),
        (400, "invalid_request"),
        (401, "unauthenticated"),
    }
    queued = [json.loads(message["Body"]) for message in on_queue.take_all()]
    assert len(queued) == (answer.status == 202)
    assert all(message.keys() == {"order_id", "venue_id"} for message in queued)
