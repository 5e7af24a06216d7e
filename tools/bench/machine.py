"""The services that the measured processes call: Clopos and AWS, each in its own process, and X-Ray."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from local.common import ROOT
from local.emulator.clients import aws_client
from local.emulator.deploy import built_template, parameter_defaults
from local.emulator.server import emulator
from local.emulator.xray import address, open_daemon
from local.simulator import SimulatorClient
from tools.bench.processes import Lambda

#: A quota that no benchmark reaches. The window is short because the simulator keeps a list of its calls.
UNLIMITED = {"quota": 1_000_000, "failed_quota": 1_000_000, "window": 1.0}


@dataclass
class Machine:
    """The running environment of all measurements.

    Attributes
    ----------
    clopos : SimulatorClient
        The controls of the simulator.
    sqs : SQS.Client
        The emulator's queues.
    aws : Lambda
        Starts processes that can reach both, and have a valid token.
    """

    clopos: SimulatorClient
    sqs: Any
    aws: Lambda

    def reset(self, **settings: Any) -> None:
        """Reset the simulator, apply these settings, and create order 108."""
        self.clopos.reset()
        self.clopos.configure(**settings)
        self.clopos.add_order(108)

    def under(self, *command: str) -> Lambda:
        """Return a `Lambda` that starts the same processes with another command."""
        return replace(self.aws, under=command)


@contextlib.contextmanager
def simulator() -> Iterator[SimulatorClient]:
    """Run the simulator in a process of its own, on any free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local.simulator", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError("the simulator did not start")
        yield SimulatorClient(next(word for word in line.split() if word.startswith("http")).rstrip(","))
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """Start everything, and stop it at the end of the block."""
    # The traces are not read: that would take processor time from the measured processes.
    with (
        simulator() as clopos,
        open_daemon() as daemon,
        emulator(xray_daemon=address(daemon)) as (endpoint, _),
    ):
        token = clopos.issue_token(expires_in=86400)  # a day: longer than the benchmark
        secret = aws_client("secretsmanager", endpoint).create_secret(Name="token", SecretString=token)
        parameters = parameter_defaults(built_template())
        variables = {
            "CLOPOS_BASE_URL": clopos.url,
            "TOKEN_SECRET_ARN": secret["ARN"],
            "TOKEN_REFRESH_FUNCTION": "",
            "EVENT_BUS_NAME": "",
            "QUEUE_WORKERS": parameters["QueueWorkers"],
            "API_RESERVE": parameters["ApiReserve"],
            "CANCELLATION_TYPES": parameters["CancellationTypes"],
            "QUEUE_URL": "",
            "DEAD_LETTER_QUEUE_URL": "",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_XRAY_DAEMON_ADDRESS": address(daemon),
            "BENCH_TOKEN": token,
        }
        # The interpreter of which `sys.executable` is a virtual environment.
        python = getattr(sys, "_base_executable", sys.executable)
        yield Machine(clopos, aws_client("sqs", endpoint), Lambda(python, variables))
