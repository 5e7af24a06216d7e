"""What holds whatever is sent to a handler, and whatever Clopos answers."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.simulator import FAULTS, Fault
from tests.handlers.conftest import IGNORE
from tests.handlers.test_faults import CONTRACT
from tests.strategies import bodies, ids, text, values

# The handlers of one test serve all of its examples, as one Lambda environment serves many events.
examples = settings(
    max_examples=150,
    deadline=None,  # no property depends on timing
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ERRORS = {
    "invalid_request": 400,
    "token_unavailable": 503,
    **{error: status for error, (status, _, _) in CONTRACT.items()},
}
MESSAGES_OWN = {
    "invalid_request",
    *(error for error, (_, _, whose) in CONTRACT.items() if whose == "message"),
}

header_values = st.text(string.printable[:95], max_size=20) | st.integers(-5, 10**6).map(str)


def check_answer(answer):
    """Check that it is one of the contract's."""
    if answer.status == 200:
        assert answer.body["success"] is True
        assert answer.body["data"]["status"] == "IGNORE"
    else:
        assert answer.status == ERRORS[answer.body["error"]]
        assert set(answer.body) == {"success", "error", "message", "retryable", "request_id", "upstream"}
        assert ("Retry-After" in answer.headers) == answer.body["retryable"]


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


@examples
@given(
    status=st.integers(200, 599),
    body=st.one_of(
        text,
        values,
        st.fixed_dictionaries(
            {},
            optional={
                "success": values,
                "error": values | st.sampled_from(["not_found", "Invalid token", "Token expired"]),
                "message": values,
                "data": values | st.fixed_dictionaries({"id": ids, "status": st.just("IGNORE")}),
            },
        ),
    ),
    headers=st.dictionaries(
        st.sampled_from(["RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Content-Type"]),
        header_values,
    ),
)
def test_whatever_clopos_answers_becomes_one_of_the_contracts_answers(
    clopos, call_api, function, monkeypatch, status, body, headers
):
    monkeypatch.setattr(function("api"), "DEADLINE_S", 1.2)  # time for retries, not for waiting
    clopos.heal()
    clopos.fail(108, Fault(status, json.loads(json.dumps(body)), headers), repeat=None)
    check_answer(call_api(108))


KNOWN = range(1, 21)  # of these every third is delivered already, and cannot be cancelled
ANY_FAULT = sorted(
    name for name in FAULTS if not name.startswith(("drip", "headers_missing")) and ":" not in name
)


@examples
@given(
    batch=st.lists(
        st.one_of(
            st.sampled_from(KNOWN).map(lambda n: json.dumps({"order_id": n})),
            st.sampled_from(KNOWN).map(lambda n: json.dumps({"data": {"order_id": str(n), "venue_id": 1}})),
            bodies.filter(bool),  # SQS carries no empty body
        ),
        min_size=1,
        max_size=10,
    ),
    faults=st.lists(st.sampled_from(ANY_FAULT), max_size=10),
    remaining_s=st.sampled_from([90, 90, 90, 10.2]),
)
def test_every_message_of_a_batch_is_done_or_dead_or_queued(
    clopos, sqs, on_queue, run_batch, output, batch, faults, remaining_s
):
    sqs.purge_queue(QueueUrl=on_queue.url)
    clopos.reset()
    for n in KNOWN:
        clopos.add_order(n, status="PENDING" if n % 3 else "DELIVERED")
    if faults:
        clopos.fail_all(*faults)
    before = len(output.orders())
    done = run_batch(*batch, remaining_s=remaining_s)  # which also looks into both queues
    lines = output.orders()[before:]
    assert [line["message_id"] for line in lines] == done.ids
    dead = {letter["MessageAttributes"]["OriginalMessageId"]["StringValue"]: letter for letter in done.dead}
    for place, (message_id, fate, line) in enumerate(zip(done.ids, done.fates, lines, strict=True)):
        if fate == "done":
            assert clopos.order(line["order_id"])["status"] == "IGNORE"
        elif fate == "dead":
            assert dead[message_id]["Body"] == batch[place]
            assert dead[message_id]["MessageAttributes"]["ErrorCode"]["StringValue"] in MESSAGES_OWN
        else:
            assert fate == "queued"
            assert line["result"]["error"] in ERRORS.keys() - MESSAGES_OWN
            assert done.hidden_s[place] >= 1


@examples
@given(
    body=bodies,
    signed=st.booleans(),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"]),
        header_values | st.none(),
    ),
)
def test_every_webhook_is_accepted_or_refused(call_webhook, on_queue, body, signed, headers):
    answer = call_webhook(body, headers={} if signed else headers)
    assert (answer.status, answer.body.get("error")) in {
        (202, None),
        (400, "invalid_request"),
        (401, "unauthenticated"),
    }
    assert [message["Body"] for message in on_queue.take_all()] == [body] * (answer.status == 202)


def test_a_property_would_notice(clopos, call_api, monkeypatch, function):
    """The properties above see through to the handler: where it answers 500 they fail."""
    monkeypatch.setattr(function("api").clopos, "cancel", lambda *_: {}["nothing"])
    with pytest.raises(KeyError, match="internal_error"):
        check_answer(call_api(108))
