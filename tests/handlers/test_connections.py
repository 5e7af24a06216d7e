"""No byte of one exchange with Clopos reaches another."""

import cancellation.transport
import pytest

from local.simulator import FAULTS, RUDE_FAULTS, Fault

# In each of these, the bytes are not exactly one answer to one request.
RUDE = (
    *("processing", "processing_apart", "early_hints", "interims_apart", "interim_then_silence"),
    *("surplus", "late_surplus", "unavailable_with_surplus", "unavailable_with_late_surplus"),
    *("no_content_with_body", "no_content_with_late_body", "chunked_surplus", "chunked_and_length"),
    *("two_lengths", "until_close", "another_order"),
)


@pytest.fixture
def impatient(monkeypatch):
    """Half a second is enough to wait for an answer."""
    monkeypatch.setattr(cancellation.transport, "READ_TIMEOUT_S", 0.5)


@pytest.mark.parametrize("name", RUDE)
def test_the_next_order_gets_its_own_answer(clopos, call_api, name, impatient):
    clopos.add_order(109, status="DELIVERED")
    clopos.fail(108, RUDE_FAULTS[name])
    clopos.fail(109, FAULTS["not_found"])
    first, second = call_api(108), call_api(109)
    assert (first.status == 200) == (name != "another_order" and clopos.order(108)["status"] == "IGNORE")
    # At worst the answer is recognized as that of another order; it is never taken for this order's.
    assert second.body["error"] in ("order_not_found", "clopos_bad_response")
    assert clopos.order(109)["status"] == "DELIVERED"


def test_a_connection_is_kept_after_a_success_alone(clopos, call_api, connections):
    for _ in range(3):
        assert call_api(108).status == 200
    assert len(connections) == 1
    clopos.fail(108, FAULTS["not_found"])
    assert call_api(108).status == 404
    assert call_api(108).status == 200
    assert len(connections) == 2


def test_cookies_are_neither_kept_nor_sent(clopos, call_api):
    clopos.fail(108, RUDE_FAULTS["cookie"])
    call_api(108)
    call_api(108)
    assert all("cookie" not in call.headers for call in clopos.calls(108))


@pytest.mark.parametrize(
    "name",
    [
        "X Odd",
        "X-Odd\t",
        "no colon at all\r\nX-Odd",
        "X-\u00c4",
        "X-Odd: folded\r\n  over lines\r\nX Odd",
    ],
)
def test_a_malformed_header_does_not_hide_the_ones_after_it(clopos, call_api, impatient, name):
    clopos.fail(108, Fault(delivery="surplus", surplus="", headers={name: "1"}))
    assert call_api(108).status == 200
    assert len(clopos.calls(108)) == 1
