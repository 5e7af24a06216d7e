"""The simulator as a process of its own, and its controls over HTTP."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from local.simulator import Simulator, SimulatorClient
from tests.local.simulator.conftest import IGNORE, auth, put


@pytest.fixture
def start():
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "local.simulator", *arguments]
        where = Path(__file__).parents[3]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_says_where_it_listens_and_ends_cleanly(start, signal_number):
    process = start(
        "--port", "0", "--tls", "--seed-orders", "3", "--token-lifetime", "120", "--accept-token", "local"
    )
    said = process.stdout.readline()
    url, tls_url = re.findall(r"https?://127\.0\.0\.1:\d+/open-api/v2", said)
    assert requests.put(f"{tls_url}/orders/1", verify=said.split()[-1], timeout=10).status_code == 401
    clopos = SimulatorClient(url)
    assert clopos.statuses() == {"1": "PENDING", "2": "PENDING", "3": "PENDING"}
    assert put(clopos, "local", 3).status_code == 200
    assert auth(clopos).json()["expires_in"] == 120
    os.kill(process.pid, signal_number)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_port_in_use_is_reported(start, running):
    port = running.url.split("/")[2].split(":")[1]
    process = start("--port", port)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"Clopos simulator: cannot listen on 127.0.0.1:{port}: the port is taken\n"
    with pytest.raises(OSError, match="address already in use"):
        Simulator(port=int(port)).__enter__()


def test_an_unknown_setting_is_reported(start):
    process = start("--state", "odd")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "state is one of" in errors


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


def test_the_controls_are_listed_and_name_what_they_do_not_know(clopos):
    controls = clopos.url.replace("/open-api/v2", "/_simulator/")
    listed = requests.get(controls, timeout=10).json()
    assert listed["heal"] == "Remove all faults."
    answer = requests.post(controls + "draw", json={"probability": 1, "fault": "html"}, timeout=10)
    assert (answer.status_code, "unexpected keyword argument" in answer.text) == (400, True)
    assert requests.post(controls + "odd", timeout=10).status_code == 404


def test_another_site_can_use_neither_the_api_nor_the_controls(clopos, token):
    foreign = {"Origin": "https://evil.example"}
    assert put(clopos, token, **foreign).status_code == 403
    reset = clopos.url.replace("/open-api/v2", "/_simulator/reset")
    assert requests.post(reset, headers=foreign, timeout=10).status_code == 403
    assert clopos.statuses() == {"108": "PENDING"}
