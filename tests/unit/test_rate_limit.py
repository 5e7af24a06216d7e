"""Reading the rate-limit headers of an answer."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from cancellation.rate_limit import MAX_WAIT_S, read_rate_limit

NONSENSE = ["", "soon", "-1", "NaN", "inf", "-inf", "1e400", "9" * 5000, "0x10", "1,5", "\ud800"]


def read(status=200, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_rate_limit(status, CaseInsensitiveDict(names))


def test_the_documented_headers():
    told = read(ratelimit_limit="300", ratelimit_remaining="299", ratelimit_reset="41")
    assert told == (300, 299, 41, None)


def test_nothing_is_known_without_headers():
    assert read() == (None, None, None, None)


@pytest.mark.parametrize("text", NONSENSE)
def test_an_invalid_value_counts_as_missing(text):
    assert read(
        429, ratelimit_limit=text, ratelimit_remaining=text, ratelimit_reset=text, retry_after=text
    ) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, {"ratelimit_reset": "41"}, 41),
        (429, {"ratelimit_reset": "40.2"}, 40.2),
        (429, {"retry_after": "7"}, 7),
        (429, {"ratelimit_reset": "30", "retry_after": "50"}, 50),
        (429, {"ratelimit_reset": "50", "retry_after": "30"}, 50),
        (429, {"ratelimit_reset": "soon", "retry_after": "30"}, 30),
        (429, {"ratelimit_reset": "30", "retry_after": "soon"}, 30),
        (503, {"ratelimit_reset": "41"}, None),
        (503, {"ratelimit_reset": "41", "retry_after": "120"}, 120),
        (200, {"ratelimit_reset": "41"}, None),
    ],
)
def test_how_long_to_wait(status, headers, wait_s):
    assert read(status, **headers).wait_s == wait_s


@pytest.mark.parametrize("in_s", [30, 3600])
def test_retry_after_may_be_a_date(in_s):
    date = format_datetime(datetime.fromtimestamp(time.time() + in_s, UTC), usegmt=True)
    assert in_s - 2 <= read(503, retry_after=date).wait_s <= in_s


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Feb 2027 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 2027 23:59:59 +999999999999",
    ],
)
def test_a_date_that_is_past_too_far_away_or_invalid_is_no_wait(date):
    assert not read(503, retry_after=date).wait_s


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]),
        st.text(max_size=40)
        | st.sampled_from(NONSENSE)
        | st.floats().map(str)
        | st.integers().map(str)
        | st.datetimes().map(lambda moment: format_datetime(moment.replace(tzinfo=UTC), usegmt=True)),
    ),
)
def test_whatever_the_headers_are_the_wait_is_sane(status, headers):
    told = read_rate_limit(status, CaseInsensitiveDict(headers))
    assert all(value is None or value >= 0 for value in told)
    assert told.wait_s is None or told.wait_s <= MAX_WAIT_S
