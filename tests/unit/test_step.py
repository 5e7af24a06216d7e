"""The steps of `make`: their output and their logs."""

import subprocess
import sys

import pytest

from local.common import ROOT
from tools import step
from tools.step import unreachable


def run(tmp_path, script, **arguments):
    log = tmp_path / "logs" / "step.log"
    status = step.run([sys.executable, "-c", script], "Installing", log, **arguments)
    return status, log.read_text()


def test_a_step_that_works_keeps_its_output_in_the_log(tmp_path, capsys):
    status, log = run(tmp_path, "import sys; print('out'); print('err', file=sys.stderr)")
    assert status == 0
    assert sorted(log.splitlines()) == ["err", "out"]
    assert capsys.readouterr().err == "Installing\n"


def test_a_long_step_shows_its_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tools.step.Progress", lambda: EagerProgress())
    script = "import time\nfor n in range(3): print('Collecting', n, flush=True)\ntime.sleep(0.6)"
    run(tmp_path, script, count="^Collecting ", total=4, unit="packages")
    assert "Installing: 3 of 4 packages, 0 s" in capsys.readouterr().err


class EagerProgress:
    """Progress that does not wait some seconds before it shows anything."""

    def show(self, text):
        print(text, file=sys.stderr)  # noqa: T201

    def clear(self):
        pass


def test_a_step_that_fails_prints_its_log_and_keeps_the_status(tmp_path, capsys):
    status, _ = run(tmp_path, "import sys; print('the reason'); sys.exit(3)")
    assert status == 3
    assert "the reason" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("log", "host"),
    [
        (
            "Retrying after connection broken by 'NewConnectionError(\"HTTPSConnection(host='packages.example', "
            "port=443): Failed to establish a new connection: [Errno -2] Name or service not known\")'",
            "packages.example",
        ),
        (
            "HTTPSConnectionPool(host='packages.example', port=443): Max retries exceeded "
            "(Caused by ProxyError('Cannot connect to proxy.'))",
            "packages.example",
        ),
        (
            "Looking in indexes: https://user:secret@packages.example:8443/simple\n"
            "NewConnectionError('<HTTPSConnection object at 0x7f>: Failed to establish a new connection')",
            "packages.example",
        ),
        ("NewConnectionError('<HTTPSConnection object at 0x7f>: Failed')", "The package index"),
    ],
)
def test_the_machine_that_cannot_be_reached_is_named(log, host):
    assert unreachable(log).startswith(f"{host} cannot be reached")


def test_any_other_failure_is_not_blamed_on_the_network():
    assert unreachable("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\nhost='packages.example'") is None


def test_ctrl_c_ends_a_step_without_a_traceback(tmp_path):
    command = [sys.executable, "-c", "import os, signal; os.kill(os.getppid(), signal.SIGINT)"]
    options = ["--title", "Building", "--log", tmp_path / "log", "--"]
    run = [sys.executable, "-m", "tools.step", *options, *command]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "Building\n")
