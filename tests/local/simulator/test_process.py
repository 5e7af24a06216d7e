"""What the simulator records, and the simulator as a process of its own."""

import re
import signal
import subprocess
import sys
from subprocess import PIPE

import pytest
import requests

from local.common import ROOT
from local.simulator import SimulatorClient
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
    assert clopos.calls(108) == clopos.calls("108") == [first]
    assert [call.path for call in clopos.calls(method="POST")] == ["/open-api/v2/auth"]
    assert token not in repr(first)


def test_a_reset_forgets_all_but_the_tokens(clopos, token):
    clopos.configure(quota=1)
    clopos.fail_all("html")
    put(clopos, token)
    clopos.reset()
    assert (clopos.statuses(), clopos.calls(method=None), clopos.configure()["quota"]) == ({}, [], 300)
    assert put(clopos, token).status_code == 404


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_says_where_it_listens_and_ends_cleanly(signal_number):
    command = [sys.executable, "-m", "local.simulator", "--port", "0", "--tls", "--seed-orders", "3"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) as process:
        said = process.stdout.readline()
        url, tls_url = re.findall(r"https?://127\.0\.0\.1:\d+/open-api/v2", said)
        over_tls = requests.put(f"{tls_url}/orders/1", verify=said.split()[-1], timeout=10)
        clopos = SimulatorClient(url)
        cancelled = put(clopos, clopos.issue_token(), 3)
        process.send_signal(signal_number)
        output, errors = process.communicate()
    assert (over_tls.status_code, cancelled.status_code) == (401, 200)
    assert (process.returncode, output, errors) == (0, "", "")
