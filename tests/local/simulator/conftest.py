"""A simulator with order 108 and a valid token, and the calls that a client of Clopos makes."""

import pytest
import requests

from local.simulator import CREDENTIALS, Simulator

IGNORE = '{"status": "IGNORE"}'
RECEIPT = {"with[0]": "receipt:id,service_notification_id,status"}


@pytest.fixture(scope="session")
def running():
    with Simulator(tls=True) as simulator:
        yield simulator


@pytest.fixture
def clopos(running):
    running.reset()
    running.add_order(108)
    return running


@pytest.fixture
def token(clopos):
    return clopos.issue_token()


def put(clopos, token, order_id=108, body=IGNORE, timeout=10, **headers):
    headers = {"x-token": token, "Content-Type": "application/json"} | headers
    return requests.put(f"{clopos.url}/orders/{order_id}", data=body, headers=headers, timeout=timeout)


def get(clopos, token, order_id=108, **query):
    url = f"{clopos.url}/orders/{order_id}"
    return requests.get(url, params=query, headers={"x-token": token}, timeout=10)


def auth(clopos, **changes):
    return requests.post(f"{clopos.url}/auth", json=CREDENTIALS | changes, timeout=10)


def rate_limit(response):
    return [response.headers.get(f"RateLimit-{name}") for name in ("Limit", "Remaining", "Reset")]
