"""Properties that hold for all input of a handler, and for all answers of Clopos.

What a handler says is compared with what the simulator did: the outcome is `cancelled` if and only if Clopos has
the order at `IGNORE`, or its answer was lost and the caller, or the queue, will try again.
"""

import dataclasses
import string
import time
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cancellation.order
from cancellation.outage import Outage
from local.simulator import FORMS, REFUSALS, STATUSES, STYLES, Fault, refusal
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


@pytest.fixture
def start_again(clopos, sqs, on_queue, on_dead_letter_queue, function, monkeypatch):
    """Return a function that lets nothing of one example last: no message, no outage, no quota that is used up."""

    def start_again():
        clopos.reset()
        clopos.configure(quota=40_000, failed_quota=40_000)
        clopos.add_order(108)
        sqs.purge_queue(QueueUrl=on_queue.url)
        worker = function("queue_worker")
        monkeypatch.setattr(worker, "outage", Outage(workers=2))
        monkeypatch.setattr(worker.clopos, "_pacer", None)

    return start_again


def check_answer(answer):
    """Check that it is one of the contract's."""
    if answer.status == 200:
        assert answer.body["success"] is True
        assert answer.body["data"]["status"] == "IGNORE"
    else:
        assert answer.status == ERRORS[answer.body["error"]]
        keys = {"success", "error", "message", "retryable", "request_id", "upstream"}
        assert answer.body.keys() - {"order"} == keys
        assert ("order" in answer.body) == (answer.body["error"] == "order_not_cancellable")
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
fields = (
    "venue_id type integration integration_id integration_uuid customer_ref_id integration_status "
    "created_at updated_at integration_response shelf"
)
other_fields = st.dictionaries(st.sampled_from(fields.split()), json_values | text, max_size=4)
# Texts that may quote the token of the call, or the token inside it.
quotes = st.builds(
    "{}{{{}:{}}}{}".format, text, st.sampled_from(["token", "inner_token"]), st.sampled_from([*FORMS]), text
)
# Clopos's own answer with the truth in an unusual form, which must not matter.
wires = st.sampled_from(["", "", "second_answer"])
dressed = st.builds(Fault, data=other_fields, headers=odd_headers, wire=wires, interval=st.just(0.0))
# Clopos does not lie: it never says of these orders that there are none.
refusals = {name: row for name, row in REFUSALS.items() if row.status != 404}
words = st.sampled_from([word for row in refusals.values() for word in (row.error, row.text)]) | quotes
codes = st.sampled_from([200, 400, 401, 403, 409, 429, 500, "422"])
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
    lambda processed, *form: dataclasses.replace(refusal(*form), processed=processed),
    st.booleans(),
    st.sampled_from([*refusals]),
    st.sampled_from(["", *STYLES]),
    st.sampled_from([0, 200, 400]),
)
answers = dressed | free | formal
situations = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["PENDING", "IGNORE", *STATUSES]),
        "strict": st.booleans(),
        "puts": st.lists(answers, min_size=1, max_size=3),
        "gets": st.lists(answers, max_size=1),
    }
)


@pytest.fixture
def play(clopos, start_again, output):
    """Play a situation, and call something; return its result, the log line, and what is true.

    The latter are: whether the order is cancelled, and whether the first answer says so: then its unusual form
    must cost neither an attempt nor the success.
    """

    def play(call, status, strict, puts, gets):
        start_again()
        clopos.configure(strict=strict)
        clopos.add_order(108, status=status)
        clopos.fail(108, *puts)
        if gets:
            clopos.fail_get(108, *gets)
        before = len(output.orders())
        result = call()
        [line] = output.orders()[before:]
        assert output.logs("unexpected error") == []
        is_said = not puts[0].answers_itself and (status == "PENDING" or (status == "IGNORE" and not strict))
        return result, line, clopos.order(108)["status"] == "IGNORE", is_said

    return play


def check_api(play, call_api, situation):
    answer, line, is_cancelled, is_said = play(lambda: call_api(108), **situation)
    check_answer(answer)
    if answer.status == 200:
        assert is_cancelled
        assert line["outcome"] == "cancelled"
    elif not answer.body["retryable"] and answer.body["error"] != "clopos_access_denied":
        assert not is_cancelled
        assert situation["status"] != "PENDING"
        assert line["outcome"] == "rejected"
    assert not is_said or (answer.status, line["attempts"]) == (200, 1)


@examples
@given(situation=situations)
def test_what_a_caller_is_told_is_what_clopos_did(play, call_api, quick, situation):
    check_api(play, call_api, situation)


@settings(examples, max_examples=20)
@given(situation=situations)
def test_the_same_over_tls(play, call_api, quick, over_tls, situation):
    check_api(play, call_api, situation)


@examples
@given(situation=situations)
def test_what_becomes_of_a_message_is_what_clopos_did(play, run_batch, situation):
    batch, line, is_cancelled, is_said = play(lambda: run_batch({"order_id": 108}, age_s=0), **situation)
    if batch.fates == ["done"]:
        assert is_cancelled
    elif batch.fates == ["dead"]:
        assert not is_cancelled
        assert situation["status"] != "PENDING"
        assert line["result"]["error"] in FINAL
    else:
        assert batch.fates == ["queued"]
        assert batch.hidden_s[0] >= 1
    assert not is_said or batch.fates == ["done"]


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
    clopos, start_again, run_batch, output, order_id, attributes
):
    start_again()
    clopos.fail(503, "unavailable", repeat=None)
    before = len(output.orders())
    batch = run_batch({"order_id": order_id}, MessageAttributes=attributes)
    assert batch.fates == [{108: "done", 404: "dead", 503: "queued", "../1": "dead"}[order_id]]
    [line] = output.orders()[before:]
    assert output.logs("unexpected error") == []
    assert line.get("webhook_id", "").isprintable()
    if batch.dead:
        kept = batch.dead[0]["MessageAttributes"]
        reasons = {"ErrorCode", "ErrorMessage", "OriginalMessageId"}
        assert reasons <= kept.keys()
        assert {
            name: value for name, value in kept.items() if name not in reasons
        }.items() <= attributes.items()
        assert len(kept) == min(10, len({*kept, *attributes}))
