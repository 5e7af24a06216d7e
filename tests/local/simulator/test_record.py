"""What the simulator tells of the calls that it received."""

import requests

from tests.local.simulator.conftest import IGNORE, auth, put


def test_every_call_is_recorded(clopos, token):
    put(clopos, token, 108, **{"x-venue": "1"})
    put(clopos, token, "a%2Fb", body="{}")
    auth(clopos)
    first, second = clopos.calls()
    assert (first.method, first.path, first.order_id) == ("PUT", "/open-api/v2/orders/108", "108")
    assert (first.body, first.status, first.fault) == (IGNORE, 200, None)
    assert (first.headers["X-Token"], first.headers["X-Venue"]) == (token, "1")
    assert second.path == "/open-api/v2/orders/a%2Fb"
    assert second.time > first.time
    assert clopos.calls(108) == clopos.calls("108") == [first]
    assert [call.path for call in clopos.calls(method="POST")] == ["/open-api/v2/auth"]
    assert len(clopos.calls(method=None)) == 3
    assert token not in repr(first)


def test_a_reset_forgets_all_but_the_tokens(clopos, token):
    clopos.configure(quota=1)
    clopos.fail_all("html")
    put(clopos, token)
    clopos.reset()
    assert (clopos.statuses(), clopos.calls(method=None), clopos.configure()["quota"]) == ({}, [], 300)
    assert put(clopos, token).status_code == 404


def test_a_call_shows_the_query_and_the_connection_that_it_came_on(clopos, token):
    url = f"{clopos.url}/orders/108?with[0]=receipt:id"
    with requests.Session() as session:
        for _ in range(2):
            session.get(url, headers={"x-token": token}, timeout=10)
    requests.get(url, headers={"x-token": token}, timeout=10)
    first, second, third = clopos.calls(108, "GET")
    assert first.path == "/open-api/v2/orders/108?with%5B0%5D=receipt:id"
    assert first.client_port == second.client_port != third.client_port
