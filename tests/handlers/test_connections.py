"""No byte of one exchange with Clopos reaches another."""

import pytest

import cancellation.transport
from local.simulator import FAULTS

# In each of these, the bytes are not exactly one answer to one request.
RUDE = ("second_answer", "not_http", "truncated", "reset_in_body", "another_order")


@pytest.fixture
def impatient(monkeypatch):
    """Half a second is enough to wait for an answer."""
    monkeypatch.setattr(cancellation.transport, "READ_TIMEOUT_S", 0.5)


@pytest.mark.parametrize("name", RUDE)
def test_the_next_order_gets_its_own_answer(clopos, call_api, name, impatient):
    clopos.add_order(109, status="DELIVERED")
    clopos.fail(108, FAULTS[name].fault)
    clopos.fail(109, "not_found")
    first, second = call_api(108), call_api(109)
    assert (first.status == 200) == (name != "another_order" and clopos.order(108)["status"] == "IGNORE")
    # At worst the answer is recognized as that of another order; it is never taken for this order's.
    assert second.body["error"] in ("order_not_found", "clopos_bad_response")
    assert clopos.order(109)["status"] == "DELIVERED"


def test_a_connection_is_kept_after_a_success_alone(clopos, call_api, connections):
    for _ in range(3):
        assert call_api(108).status == 200
    assert len(connections) == 1
    clopos.fail(108, "not_found")
    assert call_api(108).status == 404
    assert call_api(108).status == 200
    assert len(connections) == 2
