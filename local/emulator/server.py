"""Starting and stopping the AWS emulator."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import requests

from local.common import HOST, ROOT, STATE, StackError, wait_for
from local.emulator.clients import REGION

XRAY_DAEMON = f"{HOST}:2000"  # where X-Ray's SDK looks for a daemon by default; nothing needs to listen there

START_TIMEOUT_S = 60  # usually 2 s; 15 s until its sources are compiled


@contextlib.contextmanager
def emulator(port: int = 0, xray_daemon: str = XRAY_DAEMON) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the AWS emulator for as long as the ``with`` block lasts; yield its address and its process.

    Port 0 means any free one. The functions run in child processes, and send their traces to `xray_daemon`.
    """
    python = ROOT / ".venv-emulator" / "bin" / "python"
    if not python.exists():
        raise StackError("The emulator is not installed. Run: make .venv-emulator/.installed")
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="emulator-", dir=STATE))
    log = folder / "log"
    port = port or _free_port()
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            [python, "-I", Path(__file__).with_name("process.py"), folder],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            # The functions inherit this environment, so nothing of this process or the user is in it.
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                **dict.fromkeys(("HOME", "TMPDIR", "STATE_DIR", "S3_DATA_DIR"), str(folder)),
                "BIND_HOST": HOST,
                "MINISTACK_HOST": HOST,
                "GATEWAY_PORT": str(port),
                "MINISTACK_REGION": REGION,
                "AUTH": "true",
                "LAMBDA_EXECUTOR": "local",
                "AWS_XRAY_DAEMON_ADDRESS": xray_daemon,
                "IOT_MTLS_ENABLED": "0",  # it would listen on every network interface
                "SFTP_ENABLED": "0",
            },
            start_new_session=True,  # so that Ctrl-C does not reach it, and killpg ends all its children
        )
    try:
        endpoint = f"http://{HOST}:{port}"
        wait_for(lambda: process.poll() is not None or _is_ready(endpoint), START_TIMEOUT_S, interval_s=0.05)
        if process.poll() is not None or not _is_ready(endpoint):
            raise StackError(f"The AWS emulator did not start.\n{log.read_text(errors='replace')[-2000:]}")
        yield endpoint, process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)  # it has no data to save
        process.communicate()
        log.replace(STATE / "emulator.log")
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_ready(endpoint: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{endpoint}/_ministack/health", timeout=5).ok
        except requests.RequestException:  # it does not listen yet
            return False
