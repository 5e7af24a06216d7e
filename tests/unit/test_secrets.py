"""Reading secrets: for how long a value is used, and which webhook secrets and signatures are taken."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from cancellation.aws import CACHE_S, RETRY_S, Secret, SecretUnreadable
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.webhook_secrets import WebhookSecrets, signature_headers, verifier
from tests.unit.conftest import ACCESS_DENIED

KEY = base64.b64encode(b"not a real key, just for tests").decode()


@pytest.fixture
def read(aws, clock):
    """Read a secret; the text "useless" cannot be parsed."""
    secret = Secret("arn", lambda text: None if text in ("", "useless") else text, max_stale_s=1000)
    return lambda max_age_s=CACHE_S: secret.get(Deadline.after(5), max_age_s)


def test_a_value_is_cached_for_five_minutes_or_as_the_caller_says(read, aws, clock):
    aws.secrets["arn"] = "\ufeff one\n"
    assert read() == "one"
    aws.secrets["arn"] = "two"
    clock.now += CACHE_S - 1
    assert read() == "one"
    assert read(max_age_s=CACHE_S - 1) == "two"
    clock.now -= 86_400  # set back: how old the value is, nobody knows
    aws.secrets["arn"] = "three"
    assert read() == "three"


@pytest.mark.parametrize("text", ["", "useless", None])
def test_a_value_of_no_use_is_read_again_after_ten_seconds(read, aws, clock, text):
    if text is not None:
        aws.secrets["arn"] = text
    assert read() is None
    aws.secrets["arn"] = "mended"
    clock.now += RETRY_S - 1
    assert read() is None
    clock.now += 1
    assert read() == "mended"


def test_a_secret_that_cannot_be_read_is_not_taken_for_an_empty_one(read, aws, clock):
    aws.failure = ACCESS_DENIED
    for _ in range(3):
        with pytest.raises(SecretUnreadable):
            read(max_age_s=0)
    assert len(aws.reads) == 1
    clock.now += RETRY_S
    aws.failure, aws.secrets["arn"] = None, "mended"
    assert read(max_age_s=0) == "mended"


def test_a_cached_value_is_used_while_the_secret_cannot_be_read_but_not_for_ever(read, aws, clock, caplog):
    aws.secrets["arn"] = "one"
    read()
    aws.failure = ACCESS_DENIED
    clock.now += 999
    assert read() == "one"
    assert "secret not readable" in caplog.text
    clock.now += 1
    with pytest.raises(SecretUnreadable):
        read()


# -- webhooks


@pytest.mark.parametrize("secret", [KEY, "whsec_" + KEY, base64.b64encode(b"k" * 16).decode()])
def test_strict_base64_of_16_bytes_is_a_webhook_secret(secret):
    assert verifier(secret)


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "whsec_QQ==", base64.b64encode(b"k" * 15).decode(), f"v1,whsec_{KEY}"),
        *(
            f'{{"secret": "{KEY}"}}',
            f"{KEY}\n{KEY}",
            KEY[:-1] + "é",
            "whsec_whsec_" + KEY,
            KEY.rstrip("=")[:-1],
        ),
    ],
)
def test_anything_else_is_none(secret):
    assert verifier(secret) is None


SIGNATURES = ["v1," + "a" * 43 + "=", "v1," + "B/+" * 14 + "c="]
FIRST, SECOND = SIGNATURES


@pytest.mark.parametrize("prefix", ["webhook-", "svix-"])
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([FIRST], [FIRST]),
        ([f"{FIRST} {SECOND}"], SIGNATURES),
        ([f"{FIRST},{SECOND}"], SIGNATURES),
        ([f"{FIRST}, {SECOND}"], SIGNATURES),
        ([f"{FIRST}\r\n\t{SECOND}"], SIGNATURES),  # folded
        (SIGNATURES, SIGNATURES),  # sent twice
        ([f"v1a,{FIRST[3:]} v2,x {SECOND} rest"], [SECOND]),
    ],
)
def test_signatures_are_found_however_they_are_separated(prefix, values, found, clock):
    headers = {prefix + "id": ["m"], prefix + "timestamp": [f"{clock.now:.0f}"], prefix + "signature": values}
    signed = signature_headers(headers)
    assert signed["webhook-signature"].split() == found
    assert (signed["webhook-id"], signed["webhook-timestamp"]) == ("m", f"{clock.now:.0f}")


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        ("webhook-id", [], "the header webhook-id is missing"),
        ("webhook-timestamp", [" "], "the header webhook-timestamp is missing"),
        ("webhook-signature", [], "the header webhook-signature is missing"),
        ("webhook-timestamp", ["soon"], "webhook-timestamp: must be Unix seconds"),
        ("webhook-timestamp", ["1799999699"], "the timestamp is more than five minutes off"),
        ("webhook-timestamp", ["1800000301"], "the timestamp is more than five minutes off"),
        ("webhook-signature", ["v1,short"], "webhook-signature: must have the form v1,<base64>"),
    ],
)
def test_a_header_that_is_wrong_is_named(header, values, message, clock):
    headers = {"webhook-id": ["m"], "webhook-timestamp": ["1799999700"], "webhook-signature": [FIRST]}
    assert signature_headers(headers)
    with pytest.raises(CancelError, match=f"unauthenticated: {message}"):
        signature_headers(headers | {header: values})


def test_a_signature_is_verified_with_the_secret(aws):
    now = datetime.now(UTC)  # the library has a clock of its own
    signatures = f"{FIRST} {Webhook(KEY).sign('m', now, 'body')}"
    signed = {
        "webhook-id": "m",
        "webhook-timestamp": f"{int(now.timestamp())}",
        "webhook-signature": signatures,
    }
    with pytest.raises(CancelError, match="service_unavailable: the webhook secret is empty"):
        WebhookSecrets("arn").verify("body", signed, Deadline.after(5))
    aws.secrets["arn"] = "whsec_" + KEY
    secrets = WebhookSecrets("arn")
    assert secrets.verify("body", signed, Deadline.after(5)) == "current"
    for wrong in ("bodY", "\ud800"):
        with pytest.raises(CancelError, match="unauthenticated: the webhook cannot be authenticated"):
            secrets.verify(wrong, signed, Deadline.after(5))
    aws.failure = ACCESS_DENIED
    with pytest.raises(CancelError, match="service_unavailable: the webhook secret cannot be read"):
        WebhookSecrets("arn").verify("body", signed, Deadline.after(5))
