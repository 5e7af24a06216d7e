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
from tests.local.simulator.conftest import auth, put


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
    process = start("--port", "0", "--seed-orders", "3", "--token-lifetime", "120", "--accept-token", "local")
    clopos = SimulatorClient(re.search(r"http://127\.0\.0\.1:\d+/open-api/v2", process.stdout.readline())[0])
    assert clopos.statuses() == {"1": "PENDING", "2": "PENDING", "3": "PENDING"}
    assert put(clopos, "local", 3).status_code == 200
    assert auth(clopos).json()["expires_in"] == 120
    os.kill(process.pid, signal_number)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_port_in_use_is_reported(start, running):
    port = running.url.split("/")[2].split(":")[1]
    process = start("--port", port)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors == f"Clopos simulator: cannot listen on 127.0.0.1:{port}: the port is taken\n"
    with pytest.raises(OSError, match="address already in use"):
        Simulator(port=int(port)).__enter__()


def test_an_unknown_setting_is_reported(start):
    process = start("--state", "odd")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "state is one of" in errors


def test_the_controls_are_listed_with_what_they_do(clopos):
    listed = requests.get(clopos.url.replace("/open-api/v2", "/_simulator/"), timeout=10).json()
    assert listed["heal"] == "Remove all pending faults."
    assert {"add_order", "order", "fail", "calls", "issue_token", "revoke_tokens", "reset"} < set(listed)


def test_a_misspelt_argument_is_an_error(clopos):
    url = clopos.url.replace("/open-api/v2", "/_simulator/fail")
    answer = requests.post(url, json={"order_id": 1, "faults": ["html"], "repeats": 3}, timeout=10)
    assert answer.status_code == 400
    assert "unexpected keyword argument 'repeats'" in answer.json()["error"]
