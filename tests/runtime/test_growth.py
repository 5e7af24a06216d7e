"""A warm call does not become more expensive; measured in calls, as `make bench` measures the CPU time."""

import json
import sys
from pathlib import Path

import pytest

from tests.runtime.conftest import event
from tools.build import RUNTIME

COUNTING = Path(__file__).with_name("counting.py")
WARM_UP = 2  # the first call makes clients and connections
MAX_CALLS = 3_500  # 3,210 plus 10 %


@pytest.mark.skipif(
    sys.version_info[:2] != RUNTIME, reason="another Python than the functions' counts other calls"
)
def test_a_warm_call_does_no_more_than_it_needs(start):
    environment = start("ApiFunction", wrapper=COUNTING, WRAPPED_MODULE="api")
    for _ in range(WARM_UP + 1):
        assert environment.invoke(event("api.json")).payload["statusCode"] == 200
    environment.kill()
    *_, calls = [line["calls"] for line in map(json.loads, environment.lines) if "calls" in line]
    assert calls <= MAX_CALLS
