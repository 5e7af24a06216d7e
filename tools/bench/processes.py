"""Run processes in an environment like Lambda's, and measure how long they take."""

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from local.emulator.clients import REGION, ROOT_USER

HERE = Path(__file__).parent
RUNTIME = HERE / "runtime.py"
COLD = HERE / "cold.py"
FLOOR = HERE / "floor.py"


@dataclass
class Run:
    """How long a process took, and its result."""

    wall_s: float
    cpu_s: float
    result: Any


@dataclass
class Lambda:
    """Starts processes in the environment that Lambda gives to a function.

    Attributes
    ----------
    python : str
        The interpreter: not one of a virtual environment, which starts more slowly.
    variables : dict
        The environment variables: those of template.yaml, and the address of the emulator.
    under : tuple of str
        A command that runs the interpreter, such as valgrind's.
    """

    python: str
    variables: dict[str, str] = field(default_factory=dict)
    under: tuple[str, ...] = ()

    def start(self, artifact: Path, script: Path, *arguments: object, **variables: str) -> "Process":
        """Start a script with the artifact as its code folder."""
        return Process(self, artifact, script, arguments, variables)

    def run(self, artifact: Path, script: Path, *arguments: object, **variables: str) -> Run:
        """Run a script to its end."""
        started = time.perf_counter()
        process = self.start(artifact, script, *arguments, **variables)
        return process.finish(started)


class Process:
    """A started process."""

    def __init__(
        self,
        of: Lambda,
        artifact: Path,
        script: Path,
        arguments: tuple[object, ...],
        variables: dict[str, str],
    ) -> None:
        reading, writing = os.pipe()
        environment = {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "_HANDLER": "api.handler",
            "LAMBDA_TASK_ROOT": str(artifact),
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": "clopos-cancel-api",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_USER.access_key,
            "AWS_SECRET_ACCESS_KEY": ROOT_USER.secret_key,
            # The trace is sampled, so all segments are created and sent.
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
            "POWERTOOLS_METRICS_NAMESPACE": "CloposOrders",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "BENCH_RESULT_FD": str(writing),
        }
        # -I and -S: only the artifact can be imported. -B: no bytecode is written, since Lambda's code folder
        # is read-only; for root, this copy of it is not.
        self.popen = subprocess.Popen(
            [*of.under, of.python, "-I", "-S", "-B", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if of.under else None,  # valgrind prints to it
            env=environment | of.variables | variables,
            pass_fds=[writing],
        )
        os.close(writing)
        self._stdin = cast(IO[bytes], self.popen.stdin)
        self._results = os.fdopen(reading)

    def read(self) -> Any:
        """Return the next result of the process; None at its end."""
        return json.loads(self._results.readline() or "null")

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        self._stdin.write(line.encode() + b"\n")
        self._stdin.flush()

    def finish(self, started: float) -> Run:
        """Wait for the process to end, and return its result.

        Raises
        ------
        subprocess.CalledProcessError
            If it failed; its output is on standard error.
        """
        result = self.read()
        _, status, usage = os.wait4(self.popen.pid, 0)
        wall_s = time.perf_counter() - started
        self._close()
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        if self.popen.returncode:
            raise subprocess.CalledProcessError(self.popen.returncode, self.popen.args)
        return Run(wall_s, usage.ru_utime + usage.ru_stime, result)

    def kill(self) -> None:
        """End it, whatever it is doing, unless it has ended."""
        if self.popen.returncode is not None:
            return
        self.popen.kill()
        self.popen.wait()
        self._close()

    def _close(self) -> None:
        self._results.close()
        with contextlib.suppress(BrokenPipeError):  # it ended before it had read everything
            self._stdin.close()
