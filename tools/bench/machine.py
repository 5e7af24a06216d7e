"""What a measured build runs on: a Clopos and an AWS of its own, and processes like those of Lambda."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from local.emulator.clients import ROOT_USER, aws_client
from local.emulator.server import emulator
from local.lambda_events import environment_variables
from local.simulator import Simulator
from tools.bench.builds import Build

HERE = Path(__file__).parent
RUNTIME, COLD, FLOOR = HERE / "runtime.py", HERE / "cold.py", HERE / "floor.py"
#: A quota that no benchmark reaches. The window is short because the simulator keeps a list of its calls.
UNLIMITED = {"quota": 1_000_000, "failed_quota": 1_000_000, "window": 1.0}


class Run(NamedTuple):
    """How long a process took, and its result."""

    wall_s: float
    cpu_s: float
    result: Any


class Process:
    """A process that runs one of the scripts."""

    def __init__(self, script: Path, arguments: tuple[object, ...], variables: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        # The interpreter of a virtual environment starts more slowly. -I and -S: only the artifact can be
        # imported. -B: no bytecode is written, since Lambda's code folder is read-only.
        python = getattr(sys, "_base_executable", sys.executable)
        self._started = time.perf_counter()
        self._popen = subprocess.Popen(
            [python, "-I", "-S", "-B", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**variables, "BENCH_RESULT_FD": str(writing)},
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)
        self._results, self._stdin = os.fdopen(reading), cast(IO[str], self._popen.stdin)

    def read(self) -> Any:
        """Return the next result of the process; None at its end."""
        return json.loads(self._results.readline() or "null")

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        self._stdin.write(line + "\n")
        self._stdin.flush()

    def finish(self) -> Run:
        """Wait for its end; raise CalledProcessError if it failed (its output is on standard error)."""
        result = self.read()
        _, status, usage = os.wait4(self._popen.pid, 0)
        wall_s = time.perf_counter() - self._started
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.kill()
        if self._popen.returncode:
            raise subprocess.CalledProcessError(self._popen.returncode, self._popen.args)
        return Run(wall_s, usage.ru_utime + usage.ru_stime, result)

    def kill(self) -> None:
        """End it, whatever it is doing, unless it has ended."""
        if self._popen.returncode is None:
            self._popen.kill()
        self._results.close()
        with contextlib.suppress(BrokenPipeError):  # it ended before it had read everything
            self._popen.communicate()


@dataclass
class Machine:
    """A build, the controls of its Clopos, the queues of its AWS, and what the variables refer to."""

    build: Build
    clopos: Simulator
    sqs: Any
    references: dict[str, str]

    def reset(self, **settings: Any) -> None:
        """Reset the simulator, apply these settings, and create order 108."""
        self.clopos.reset()
        self.clopos.configure(**settings)
        self.clopos.add_order(108)

    def start(
        self,
        function: str,
        script: Path,
        *arguments: object,
        tls: bool = True,
        references: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a script in the environment that Lambda gives to a function."""
        url = self.clopos.tls_url if tls else self.clopos.url
        known = self.references | {"CLOPOS_BASE_URL": url, **(references or {})}
        of_function = environment_variables(self.build.template, function, self.build.artifact, known)
        return Process(script, arguments, known | of_function)


@contextlib.contextmanager
def machine(build: Build, folder: Path) -> Iterator[Machine]:
    """Start everything, and stop it at the end of the block; the folder is for a copy of the build."""
    with Simulator(tls=True) as clopos, emulator() as (endpoint, _):
        shutil.copytree(build.artifact, folder)
        # The certificate joins those of the real authorities, so that as many are loaded as in production.
        with (folder / "certifi" / "cacert.pem").open("a") as authorities:
            authorities.write("\n" + Path(clopos.ca_file).read_text())
        token = clopos.issue_token(expires_in=86400)  # a day: longer than the benchmark
        secret = aws_client("secretsmanager", endpoint).create_secret(Name="token", SecretString=token)
        references = {
            "TOKEN_SECRET_ARN": secret["ARN"],
            "TOKEN_REFRESH_FUNCTION": "",
            "QUEUE_URL": "",
            "DEAD_LETTER_QUEUE_URL": "",
            "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": ROOT_USER.access_key,
            "AWS_SECRET_ACCESS_KEY": ROOT_USER.secret_key,
            # The trace is sampled, so all segments are created and sent, though nobody receives them.
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "BENCH_TOKEN": token,
        }
        yield Machine(replace(build, artifact=folder), clopos, aws_client("sqs", endpoint), references)
