"""How a request and a message are read: which order they name, and what their sender is told to change."""

import json
import string

import pytest
from hypothesis import given

from cancellation.errors import CancelError, NotACancellation
from cancellation.http_api import parse_request
from cancellation.messages import Order, parse_message
from tests.strategies import bodies

BODY = 'the body must be exactly {"status": "IGNORE"}'
ORDER_ID = "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"
VENUE = "x-venue: must be a positive integer"
VENUE_ID = "venue_id: must be a positive integer"
TYPES = {"order.cancelled", "order.canceled"}
MESSAGE = 'a message must be a JSON object such as {"order_id": 108, "venue_id": 1}'
MISSING = f"order_id is missing: {MESSAGE}"


def request(order_id="108", body='{"status": "IGNORE"}', headers=None, **event):
    """Return an event of API Gateway; a header's value may be a list."""
    multiple = {
        name: value if isinstance(value, list) else [value] for name, value in (headers or {}).items()
    }
    return {
        "httpMethod": "PUT",
        "pathParameters": {"id": order_id},
        "queryStringParameters": None,
        "headers": {name: values[-1] for name, values in multiple.items()},
        "multiValueHeaders": multiple,
        "body": body,
        "isBase64Encoded": False,
        **event,
    }


def case(name, message, *arguments, **request):
    return pytest.param(*arguments or [request], message, id=name)


# -- a request


@pytest.mark.parametrize("order_id", ["108", "1", "a-b_C9", "0", "ORD-12345", "x" * 64])
def test_a_request_names_its_order(order_id):
    assert parse_request(request(order_id)) == Order(order_id)


@pytest.mark.parametrize("name", ["x-venue", "X-Venue", "X-VENUE"])
def test_a_request_names_its_venue(name):
    assert parse_request(request(headers={name: "31", "x-other": "7"})) == Order("108", 31)


@pytest.mark.parametrize(
    "event",
    [
        {"headers": {"x-venue": "31"}, "multiValueHeaders": None},
        {"headers": None, "multiValueHeaders": {"x-venue": ["31"]}},
        {"headers": {"X-Venue": "31"}, "multiValueHeaders": {}},
        {"headers": {}, "multiValueHeaders": {"X-Venue": ["31"]}},
    ],
    ids=["headers alone", "multiValueHeaders alone", "headers beside none", "multiValueHeaders beside none"],
)
def test_a_venue_counts_in_whichever_form_the_event_has_it(event):
    assert parse_request(request(**event)) == Order("108", 31)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        case("another path", ORDER_ID, order_id="../1"),
        case("an encoded path", ORDER_ID, order_id="..%2F1"),
        case("a query in the id", ORDER_ID, order_id="1?x=2"),
        case("a fragment", ORDER_ID, order_id="1#x"),
        case("no id", ORDER_ID, order_id=""),
        case("65 characters", ORDER_ID, order_id="1" * 65),
        case("a space", ORDER_ID, order_id="1 2"),
        case("an encoded line break", ORDER_ID, order_id="108%0A"),
        case("a line break", ORDER_ID, order_id="108\n"),
        case("digits of another script", ORDER_ID, order_id="١٠٨"),
        case("a letter of another script", ORDER_ID, order_id="order-é"),
        case("no path parameters", ORDER_ID, pathParameters=None),
        case("a query string", "send no query parameters", queryStringParameters={"x": "2"}),
        case(
            "a repeated query string",
            "send no query parameters",
            multiValueQueryStringParameters={"x": ["2"]},
        ),
        case("no body", f"not JSON: {BODY}", body=None),
        case("an empty body", f"not JSON: {BODY}", body=""),
        case("no JSON", f"not JSON: {BODY}", body="status=IGNORE"),
        case("half a JSON", f"not JSON: {BODY}", body='{"status": "IGN'),
        case("deep JSON", f"not JSON: {BODY}", body="[" * 100_000),
        case("a list", BODY, body='[{"status": "IGNORE"}]'),
        case("a string", BODY, body='"IGNORE"'),
        case("null", BODY, body="null"),
        case("no status", BODY, body="{}"),
        case("an extra key", BODY, body='{"status": "IGNORE", "reason": "late"}'),
        case("another status", BODY, body='{"status": "RECEIVED"}'),
        case("a status in lower case", BODY, body='{"status": "ignore"}'),
        case("a status that is no string", BODY, body='{"status": ["IGNORE"]}'),
        case("a venue that is no number", VENUE, headers={"x-venue": "main"}),
        case("a venue of zero", VENUE, headers={"x-venue": "0"}),
        case("a negative venue", VENUE, headers={"x-venue": "-1"}),
        case("a fraction of a venue", VENUE, headers={"x-venue": "1.0"}),
        case("an empty venue", VENUE, headers={"x-venue": ""}),
        case("two venues in one", VENUE, headers={"x-venue": "1, 2"}),
        case("a venue of another script", VENUE, headers={"x-venue": "٣"}),
        case("a venue of 19 digits", VENUE, headers={"x-venue": "1" * 19}),
        case("a repeated venue", "x-venue: send it once", headers={"x-venue": ["1", "1"]}),
        case("two spellings of a venue", "x-venue: send it once", headers={"x-venue": "1", "X-Venue": "2"}),
        case(
            "a base64 body",
            "the body must be JSON text, not base64",
            body="eyJzdGF0dXMiOiAiSUdOT1JFIn0K",
            isBase64Encoded=True,
        ),
    ],
)
def test_a_bad_request_is_told_what_to_change(changes, message):
    with pytest.raises(CancelError) as refused:
        parse_request(request(**changes))
    assert (refused.value.code, refused.value.message) == ("invalid_request", message)


# -- a message


@pytest.mark.parametrize(
    ("message", "order"),
    [
        ({"order_id": 108}, Order("108")),
        ({"order_id": "108"}, Order("108")),
        ({"order_id": "a-b_C9"}, Order("a-b_C9")),
        ({"order_id": "x" * 64}, Order("x" * 64)),
        ({"order_id": 10**63}, Order(str(10**63))),
        ({"order_id": 108, "venue_id": 31}, Order("108", 31)),
        ({"order_id": 108, "venue_id": None}, Order("108")),
        ({"order_id": 108, "reason": "late", "status": "RECEIVED", "data": {"order_id": 7}}, Order("108")),
    ],
)
def test_a_message_names_its_order(message, order):
    assert parse_message(json.dumps(message), TYPES) == order


MEANT = {"order_id": 108, "venue_id": 1}
SNS = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(MEANT)}
EVENTBRIDGE = {"version": "0", "id": "e", "detail-type": "Cancel", "source": "shop", "detail": MEANT}
WEBHOOK = {"type": "order.cancelled", "timestamp": "2026-01-08T14:00:00Z", "data": MEANT}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(SNS, id="SNS"),
        pytest.param(EVENTBRIDGE, id="EventBridge"),
        pytest.param(WEBHOOK, id="Standard Webhooks"),
        pytest.param(SNS | {"Message": json.dumps(EVENTBRIDGE)}, id="EventBridge in SNS"),
        pytest.param(SNS | {"Message": json.dumps(WEBHOOK)}, id="Standard Webhooks in SNS"),
        pytest.param(EVENTBRIDGE | {"detail": WEBHOOK}, id="Standard Webhooks in EventBridge"),
        pytest.param(EVENTBRIDGE | {"detail": json.dumps(MEANT)}, id="EventBridge with text as detail"),
        pytest.param(SNS | {"detail": {"reason": "late"}, "data": []}, id="SNS beside other keys"),
        pytest.param(
            EVENTBRIDGE | {"Message": "cancel it", "data": None}, id="EventBridge beside other keys"
        ),
        pytest.param(WEBHOOK | {"Message": "{}", "detail": "late"}, id="Standard Webhooks beside other keys"),
        pytest.param(
            {"detail": {"data": {}}, "Message": '{"data": {"order_id": 108, "venue_id": 1}}'}, id="two deep"
        ),
    ],
)
def test_a_wrapped_message_is_unwrapped(message):
    assert parse_message(json.dumps(message), TYPES) == Order("108", 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        case("no JSON", f"not JSON: {MESSAGE}", "108 please"),
        case("half a JSON", f"not JSON: {MESSAGE}", '{"order_id": 10'),
        case("deep JSON", f"not JSON: {MESSAGE}", "[" * 100_000),
        case("a number of too many digits", f"not JSON: {MESSAGE}", '{"order_id": ' + "1" * 5000 + "}"),
        case("a number", MESSAGE, "108"),
        case("a list", MESSAGE, '[{"order_id": 108}]'),
        case("null", MESSAGE, "null"),
        case("no order_id", MISSING, '{"id": 108}'),
        case("null for an id", ORDER_ID, '{"order_id": null}'),
        case("a boolean", ORDER_ID, '{"order_id": true}'),
        case("a float", ORDER_ID, '{"order_id": 108.5}'),
        case("a whole float", ORDER_ID, '{"order_id": 108.0}'),
        case("a power of ten", ORDER_ID, '{"order_id": 1e2}'),
        case("not a number", ORDER_ID, '{"order_id": NaN}'),
        case("a list of ids", ORDER_ID, '{"order_id": [108]}'),
        case("an object for an id", ORDER_ID, '{"order_id": {"order_id": 108}}'),
        case("zero", ORDER_ID, '{"order_id": 0}'),
        case("a negative id", ORDER_ID, '{"order_id": -108}'),
        case("an integer of 65 digits", ORDER_ID, json.dumps({"order_id": 10**64})),
        case("an empty id", ORDER_ID, '{"order_id": ""}'),
        case("a path", ORDER_ID, '{"order_id": "../1"}'),
        case("a query", ORDER_ID, '{"order_id": "1?x=2"}'),
        case("a line break", ORDER_ID, '{"order_id": "108\\n"}'),
        case("65 characters", ORDER_ID, json.dumps({"order_id": "x" * 65})),
        case("a venue in quotes", VENUE_ID, '{"order_id": 108, "venue_id": "1"}'),
        case("a venue of zero", VENUE_ID, '{"order_id": 108, "venue_id": 0}'),
        case("a boolean for a venue", VENUE_ID, '{"order_id": 108, "venue_id": true}'),
        case("a fraction of a venue", VENUE_ID, '{"order_id": 108, "venue_id": 1.0}'),
        case("a wrapper with nothing in it", MISSING, '{"detail": {}}'),
        case("a wrapper with text in it", MISSING, '{"Message": "cancel 108"}'),
        case(
            "wrapped five times",
            MISSING,
            json.dumps({"data": {"data": {"data": {"data": {"data": MEANT}}}}}),
        ),
    ],
)
def test_a_bad_message_is_told_what_to_change(body, message):
    with pytest.raises(CancelError) as refused:
        parse_message(body, TYPES)
    assert (refused.value.code, refused.value.message) == ("invalid_request", message)


@pytest.mark.parametrize("type_", ["order.cancelled", "order.canceled"])
@pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: {"Message": json.dumps(payload)}])
def test_a_payload_of_a_cancelling_type_is_a_cancellation(type_, wrap):
    assert parse_message(json.dumps(wrap(WEBHOOK | {"type": type_})), TYPES) == Order("108", 1)


@pytest.mark.parametrize(
    "type_", ["order.created", "order.cancelled.v2", "ORDER.CANCELLED", "", None, 5, ["order.cancelled"]]
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda payload: payload,
        lambda payload: {"Message": json.dumps(payload)},
        lambda payload: {"detail": payload},
        lambda payload: payload | {"data": json.dumps(payload["data"])},
    ],
    ids=["alone", "in SNS", "in EventBridge", "with text as data"],
)
def test_a_payload_of_any_other_type_is_no_cancellation(type_, wrap):
    with pytest.raises(NotACancellation) as refused:
        parse_message(json.dumps(wrap(WEBHOOK | {"type": type_})), TYPES)
    assert refused.value.code == "invalid_request"
    assert refused.value.ignored_type == str(type_)


def test_the_type_that_is_named_is_cut_short_and_printable():
    with pytest.raises(NotACancellation) as refused:
        parse_message(json.dumps(WEBHOOK | {"type": "order\ncreated" + "x" * 5000}), TYPES)
    assert refused.value.ignored_type.startswith("order created")
    assert len(refused.value.message) < 1000


def test_an_order_may_have_a_type_of_its_own():
    assert parse_message('{"type": "CALL_CENTER_ORDER", "order_id": 108}', TYPES) == Order("108")


@given(bodies)
def test_a_message_names_an_order_or_is_invalid(body):
    try:
        order = parse_message(body, TYPES)
    except CancelError as exc:
        order, error = None, exc.code
    if order is None:
        assert error == "invalid_request"
    else:
        assert 1 <= len(order.order_id) <= 64
        assert set(order.order_id) <= {*string.ascii_letters, *string.digits, "_", "-"}
        assert order.venue_id is None or order.venue_id > 0
