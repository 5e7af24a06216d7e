"""The documented quotas, and the headers that tell of them."""

import re
import time

from tests.local.simulator.conftest import auth, get, put, rate_limit


def test_every_authenticated_answer_tells_of_the_tier_closest_to_its_limit(clopos, token):
    assert rate_limit(put(clopos, token))[:2] == ["300", "299"]
    assert rate_limit(put(clopos, token, 404404))[:2] == ["300", "298"]
    clopos.configure(failed_quota=2)
    assert rate_limit(put(clopos, token, 404404))[:2] == ["2", "1"]


def test_the_reset_is_whole_seconds_in_a_real_window_and_decimals_in_a_short_one(clopos, token):
    assert rate_limit(put(clopos, token))[2] == "60"
    clopos.configure(window=5)
    reset = rate_limit(put(clopos, token))[2]
    assert re.fullmatch(r"\d\.\d{3}", reset)
    assert 0 < float(reset) <= 5


def test_a_call_over_the_quota_is_refused_and_costs_no_quota_but_counts_as_failed(clopos, token):
    clopos.configure(quota=2, failed_quota=3)
    assert [put(clopos, token).status_code for _ in range(3)] == [200, 200, 429]
    refused = put(clopos, token)
    assert refused.json() == {
        "success": False,
        "error": "too_many_requests",
        "message": "Too many requests",
    }
    assert rate_limit(refused)[:2] == ["2", "0"]
    assert 0 < int(rate_limit(refused)[2]) <= 60
    assert put(clopos, token).status_code == 429  # the third failed call
    assert rate_limit(put(clopos, token))[0] == "3"


def test_unauthenticated_calls_use_up_the_failed_calls_of_the_ip(clopos, token):
    clopos.configure(failed_quota=2)
    assert [put(clopos, "nonsense").status_code for _ in range(3)] == [401, 401, 429]
    assert put(clopos, token).status_code == 429


def test_auth_has_a_tier_of_its_own(clopos, token):
    clopos.configure(auth_quota=2)
    assert [auth(clopos).status_code for _ in range(3)] == [200, 200, 429]
    assert rate_limit(auth(clopos))[:2] == ["2", "0"]
    assert put(clopos, token).status_code == 200


def test_after_the_announced_wait_a_call_is_taken_again(clopos, token):
    clopos.configure(quota=1, window=0.2)
    refused = next(r for r in iter(lambda: put(clopos, token), None) if r.status_code == 429)
    time.sleep(float(refused.headers["RateLimit-Reset"]))
    assert put(clopos, token).status_code == 200


def test_reading_an_order_counts_like_cancelling_one(clopos, token):
    clopos.configure(quota=2)
    answers = [get(clopos, token), put(clopos, token), get(clopos, token)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert rate_limit(answers[0])[:2] == ["2", "1"]
