"""What a browser sends on behalf of another site is rejected, by the API and by the controls."""

import pytest
import requests

from tests.local.simulator.conftest import put

FOREIGN = [
    {"Host": "rebound.example"},
    {"Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: next(iter(headers)))
def test_another_site_can_use_neither_the_api_nor_the_controls(clopos, token, headers):
    controls = clopos.url.replace("/open-api/v2", "/_simulator/")
    assert put(clopos, token, **headers).status_code == 403
    assert requests.post(controls + "reset", headers=headers, timeout=10).status_code == 403
    assert requests.get(controls, headers=headers, timeout=10).status_code == 403
    assert clopos.statuses() == {"108": "PENDING"}
    assert clopos.calls(method=None) == []
