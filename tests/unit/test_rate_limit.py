"""Reading the rate-limit headers of an answer."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from cancellation.rate_limit import MAX_WAIT_S, read_rate_limit

NONSENSE = ["", "soon", "-1", "NaN", "inf", "-inf", "1e400", "9" * 5000, "0x10", "1,5", "\ud800"]
NAMES = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]


def test_the_documented_headers_in_any_case():
    headers = {"RATELIMIT-LIMIT": "300", "ratelimit-remaining": "0", "RateLimit-Reset": "41"}
    assert read_rate_limit(200, CaseInsensitiveDict(headers)) == (300, 0, 41, None)


@pytest.mark.parametrize("headers", [{}, *(dict.fromkeys(NAMES, text) for text in NONSENSE)])
def test_an_invalid_value_counts_as_missing(headers):
    assert read_rate_limit(429, headers) == (None, None, None, None)


@pytest.mark.parametrize(
    ("status", "reset", "retry_after", "wait_s"),
    [
        (429, "40.2", None, 40.2),
        (429, None, "7", 7),
        (429, "30", "50", 50),
        (429, "50", "30", 50),
        (429, "soon", "30", 30),
        (429, None, str(MAX_WAIT_S), MAX_WAIT_S),
        (429, None, str(MAX_WAIT_S + 1), None),
        (503, "41", None, None),
        (503, "41", "120", 120),
        (200, "41", None, None),
        (503, None, "Fri, 31 Dec 9999 23:59:59 GMT", None),
        (503, None, "Fri, 31 Feb 2027 23:59:59 GMT", None),
        (503, None, "Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (503, None, "Fri, 31 Dec 2027 23:59:59 +999999999999", None),
    ],
)
def test_how_long_to_wait(status, reset, retry_after, wait_s):
    headers = {"RateLimit-Reset": reset, "Retry-After": retry_after}
    assert read_rate_limit(status, headers).retry_after_s == wait_s


def test_retry_after_may_be_a_date(clock):
    date = format_datetime(datetime.fromtimestamp(clock.now + 30, UTC), usegmt=True)
    assert read_rate_limit(503, {"Retry-After": date}).retry_after_s == 30


@given(
    st.sampled_from([200, 429, 503]),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text(max_size=40)
        | st.floats().map(str)
        | st.datetimes().map(lambda moment: format_datetime(moment.replace(tzinfo=UTC), usegmt=True)),
    ),
)
def test_whatever_the_headers_are_the_wait_is_sane(status, headers):
    told = read_rate_limit(status, headers)
    assert all(value is None or 0 <= value <= MAX_WAIT_S for value in told)
