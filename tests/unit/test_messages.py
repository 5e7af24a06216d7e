"""How a request, a message and a webhook are read: the order that they name, or what their sender has to change."""

import json
import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cancellation.errors import CancelError
from cancellation.http_api import parse_request
from cancellation.messages import NotACancellation, Order, parse_message, parse_webhook
from tests.strategies import bodies

BODY = 'the body must be exactly {"status": "IGNORE"}'
ORDER_ID = "order_id: must be a positive integer, or a string of 1 to 64 letters, digits, '_' or '-'"
VENUE = "x-venue: must be a positive integer"
VENUE_ID = "venue_id: must be a positive integer"
QUERY = "send no query parameters"
TYPES = {"order.cancelled", "order.canceled"}
MESSAGE = 'a message must be a JSON object such as {"order_id": 108, "venue_id": 1}'
MISSING = f"order_id is missing: {MESSAGE}"
TWICE = "a key occurs twice in the JSON"
OWN = "an outcome event of this project is not a cancellation request"


def request(order_id="108", body='{"status": "IGNORE"}', headers=None, **event):
    """Return an event of API Gateway; a header's value may be a list."""
    multiple = {
        name: value if isinstance(value, list) else [value] for name, value in (headers or {}).items()
    }
    return {
        "httpMethod": "PUT",
        "pathParameters": {"id": order_id},
        "headers": {name: values[-1] for name, values in multiple.items()},
        "multiValueHeaders": multiple,
        "body": body,
        **event,
    }


# -- a request


@pytest.mark.parametrize("order_id", ["108", "a-b_C9", "0", "ORD-12345", "x" * 64])
def test_a_request_names_its_order(order_id):
    assert parse_request(request(order_id)) == Order(order_id)


@pytest.mark.parametrize(
    "event",
    [
        {"headers": {"X-Venue": "31", "X-Correlation-Id": "shop 7"}, "multiValueHeaders": None},
        {"headers": None, "multiValueHeaders": {"x-venue": ["31"], "x-correlation-id": ["shop 7"]}},
        {"headers": {}, "multiValueHeaders": {"X-VENUE": ["31"], "x-correlation-id": ["shop 7", "8"]}},
    ],
)
def test_a_request_names_its_venue_and_its_own_id_in_either_form_of_the_headers(event):
    assert parse_request(request(**event)) == Order("108", 31, "shop 7")


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_body_may_be_base64_and_begin_with_a_byte_order_mark(bom):
    body = b64encode(f'{bom}{{"status": "IGNORE"}}'.encode()).decode()
    assert parse_request(request(body=body, isBase64Encoded=True)) == Order("108")


@pytest.mark.parametrize(
    ("message", "requests"),
    [
        (ORDER_ID, [{"order_id": id_} for id_ in ("../1", "..%2F1", "1?x=2", "1#x", "", "1" * 65, "1 2", "1\n")]),
        (ORDER_ID, [{"order_id": "١٠٨"}, {"order_id": "order-é"}, {"pathParameters": None}]),
        (QUERY, [{"queryStringParameters": {"x": "2"}}, {"multiValueQueryStringParameters": {"x": ["2"]}}]),
        (f"not JSON: {BODY}", [{"body": body} for body in (None, "", "status=IGNORE", '{"status": "IGN')]),
        (f"not JSON: {BODY}", [{"body": "[" * 100_000}]),
        (BODY, [{"body": body} for body in ('["status"]', '"IGNORE"', "null", "{}", '{"status": ["IGNORE"]}')]),
        (BODY, [{"body": f'{{"status": {value}}}'} for value in ('"ignore"', '"RECEIVED"', '"IGNORE", "a": 1')]),
        (TWICE, [{"body": '{"status": "RECEIVED", "status": "IGNORE"}'}]),
        (VENUE, [{"headers": {"x-venue": venue}} for venue in ("main", "0", "-1", "1.0", "", "1, 2", "٣", "1" * 19)]),
        ("x-venue: send it once", [{"headers": {"x-venue": ["1", "1"]}}, {"headers": {"x-venue": "1", "X-Venue": "2"}}]),
        ("the body must be UTF-8 text", [{"body": body, "isBase64Encoded": True} for body in ("/w==", "e", "é")]),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_what_to_change(message, requests):
    for wrong in requests:
        with pytest.raises(CancelError, match=re.escape(f"invalid_request: {message}")):
            parse_request(request(**wrong))


def test_an_event_of_another_kind_is_refused():
    with pytest.raises(CancelError, match="not an event of a REST API"):
        parse_request({"version": "2.0", "rawPath": "/orders/108"})


# -- a message

MEANT = {"order_id": 108, "venue_id": 1}
SNS = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(MEANT)}
EVENTBRIDGE = {"version": "0", "id": "e", "detail-type": "Cancel", "source": "shop", "detail": MEANT}
WEBHOOK = {"type": "order.cancelled", "timestamp": "2026-01-08T14:00:00Z", "data": MEANT}


@pytest.mark.parametrize(
    ("message", "order"),
    [
        ({"order_id": "a-b_C9"}, Order("a-b_C9")),
        ({"order_id": 1, "venue_id": 1}, Order("1", 1)),
        ({"order_id": 10**64 - 1, "venue_id": 10**18 - 1}, Order("9" * 64, 10**18 - 1)),
        ({"order_id": 108, "venue_id": None}, Order("108")),
        ({"order_id": 108, "reason": "late", "status": "RECEIVED", "data": {"order_id": 7}}, Order("108")),
        ({"type": "CALL_CENTER_ORDER", "order_id": 108}, Order("108")),  # a type of its own
        (WEBHOOK | {"data": {"type": "CALL_CENTER_ORDER", **MEANT}}, Order("108", 1)),
        (MEANT | {"correlation_id": "shop 7"}, Order("108", 1, "shop 7")),
        (MEANT | {"correlation_id": "x" * 128}, Order("108", 1, "x" * 128)),
        *[(MEANT | {"correlation_id": wrong}, Order("108", 1)) for wrong in ("", "x" * 129, "a\nb", 7, None)],
    ],
)
def test_a_message_names_its_order(message, order):
    assert parse_message(json.dumps(message), TYPES) == order


@pytest.mark.parametrize(
    "message",
    [
        SNS,
        EVENTBRIDGE,
        WEBHOOK,
        SNS | {"Message": json.dumps(EVENTBRIDGE)},
        SNS | {"Message": json.dumps(WEBHOOK)},
        SNS | {"Message": json.dumps(json.dumps(WEBHOOK))},
        EVENTBRIDGE | {"detail": WEBHOOK},
        SNS | {"Message": json.dumps(EVENTBRIDGE | {"detail": json.dumps(WEBHOOK)})},
        EVENTBRIDGE | {"detail": json.dumps(MEANT)},
        SNS | {"detail": {"reason": "late"}, "data": []},
        EVENTBRIDGE | {"Message": "cancel it", "data": None},
        WEBHOOK | {"Message": "{}", "detail": "late"},
        {"detail": {"data": {}}, "Message": '{"data": {"order_id": 108, "venue_id": 1}}'},
    ],
)
@pytest.mark.parametrize(
    "write", [json.dumps, lambda m: "\ufeff" + json.dumps(m), lambda m: json.dumps(json.dumps(m))]
)
@pytest.mark.parametrize("parse", [parse_message, parse_webhook])
def test_a_wrapped_message_is_unwrapped_with_a_byte_order_mark_and_encoded_twice_too(parse, write, message):
    assert parse(write(message), TYPES) == Order("108", 1)


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        (f"not JSON: {MESSAGE}", ["108 please", '{"order_id": 10', "[" * 100_000, '{"order_id": ' + "1" * 5000 + "}"]),
        (MESSAGE, ["108", '[{"order_id": 108}]', "null", '"cancel 108"']),
        (MISSING, ['{"id": 108}', '{"detail": {}}', '{"Message": "cancel 108"}', '{"data": ' * 9 + '{"order_id": 1}' + "}" * 9]),
        (ORDER_ID, [f'{{"order_id": {id_}}}' for id_ in ("null", "true", "108.5", "108.0", "1e2", "NaN", "[108]", "0", "-108")]),
        (ORDER_ID, [f'{{"order_id": {id_}}}' for id_ in (10**64, '""', '"../1"', '"1?x=2"', '"1\\n"', '"' + "x" * 65 + '"')]),
        (VENUE_ID, [f'{{"order_id": 108, "venue_id": {venue}}}' for venue in ('"1"', "0", "true", "1.0", 10**18)]),
        (TWICE, ['{"order_id": 1, "order_id": 108}', json.dumps({"Message": '{"order_id": 1, "order_id": 108}'})]),
        (OWN, [json.dumps({"source": "clopos-cancel", "detail": MEANT}), json.dumps(MEANT | {"outcome": "", "result": {}})]),
        (OWN, [json.dumps({"Message": json.dumps({"source": "clopos-cancel", "detail": MEANT})})]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("parse", [parse_message, parse_webhook])
def test_a_bad_message_is_told_what_to_change(parse, message, texts):
    for body in texts:
        with pytest.raises(CancelError, match="^" + re.escape(f"invalid_request: {message}")):
            parse(body, TYPES)


# -- the type

WRAPS = [
    lambda payload: payload,
    lambda payload: {"Message": json.dumps(payload)},
    lambda payload: {"detail": payload},
    lambda payload: payload | {"data": json.dumps(payload["data"])},
    lambda payload: payload | {"data": {"type": "order.cancelled", **payload["data"]}},
]


@pytest.mark.parametrize("type_", ["order.created", "ORDER.CANCELLED", "", 5, ["order.cancelled"]])
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("parse", [parse_message, parse_webhook])
def test_a_payload_of_another_type_is_no_cancellation(parse, wrap, type_):
    with pytest.raises(NotACancellation) as refused:
        parse(json.dumps(wrap(WEBHOOK | {"type": type_})), TYPES)
    assert (refused.value.code, refused.value.ignored_type) == ("invalid_request", str(type_))


@pytest.mark.parametrize(
    ("message", "ignored"),
    [
        ({"type": "order.created", **MEANT}, "order.created"),  # beside the order, without `data`
        ({"detail": {"type": "order.created", **MEANT}}, "order.created"),
        (json.dumps({"type": "order.created", **MEANT}), "order.created"),
        ({"type": "batch", "detail": WEBHOOK}, "batch"),  # the outermost one decides
    ],
)
def test_of_a_webhook_every_type_counts_and_the_outermost_decides(message, ignored):
    with pytest.raises(NotACancellation) as refused:
        parse_webhook(json.dumps(message), TYPES)
    assert refused.value.ignored_type == ignored


def test_of_a_queue_message_only_a_type_beside_data_counts():
    assert parse_message(json.dumps({"type": "batch", "detail": WEBHOOK}), TYPES) == Order("108", 1)
    assert parse_webhook(json.dumps(MEANT | {"type": None}), TYPES) == Order("108", 1)  # without any type


def test_the_type_that_is_named_is_cut_short_and_printable():
    with pytest.raises(NotACancellation) as refused:
        parse_webhook(json.dumps(WEBHOOK | {"type": "order\ncreated" + "x" * 5000}), TYPES)
    assert refused.value.ignored_type.startswith("order created")
    assert len(refused.value.message) < 1000


@given(bodies, st.sampled_from([parse_message, parse_webhook]))
def test_a_message_names_an_order_or_is_invalid(body, parse):
    try:
        order = parse(body, TYPES)
    except CancelError as exc:
        assert exc.code == "invalid_request"  # noqa: PT017
    else:
        assert re.fullmatch("[A-Za-z0-9_-]{1,64}", order.order_id)
        assert order.venue_id is None or order.venue_id > 0
