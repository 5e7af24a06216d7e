"""Lambda's side of a function: execution environments under AWS's own runtime client, `awslambdaric`.

An environment is a process, started as Lambda starts one: from the built artifact, without site-packages, with the
variables that the template gives to the function. The runtime client in it asks the Runtime API, which is served
here, for invocations and posts their results.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from local.common import BUILD, HOST
from local.emulator.clients import REGION
from local.emulator.deploy import built_template, functions

Json = dict[str, Any]

TRACE = "Root=1-69600000-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
FRAME_HEADER_BYTES = 16  # of a telemetry frame: type (4), length of the message (4), time (8)
WAIT_LIMIT_S = 90  # for what takes a second on an idle machine


@dataclass
class Result:
    """The result of an invocation.

    Attributes
    ----------
    request_id : str
        The invocation's id.
    payload : object
        What the handler returned; None if it failed.
    error : dict
        `errorType`, `errorMessage` and `stackTrace` if the handler failed; else empty.
    """

    request_id: str
    payload: Any
    error: Json


class EnvironmentEnded(Exception):
    """The process has ended before the invocation was answered; the text is what it wrote last."""


class Environment:
    """An execution environment of a function, for as long as the ``with`` block lasts.

    Parameters
    ----------
    function : str
        The function's logical id in the template.
    client : Path
        A folder that holds the runtime client and what it needs, and nothing else.
    references : mapping
        Values of the variables for which the template has a reference.
    lambda_variables : mapping
        Variables that Lambda sets, if they differ from one environment to another or from the template.
    wrapper : Path, optional
        A module that has a `handler` to be called in place of the function's own.

    Attributes
    ----------
    init_error : dict
        What the runtime client reported if the handler could not be imported.
    lines : list of str
        All that came out: the lines of stdout and stderr, and the messages that the runtime client logged.
    """

    def __init__(
        self,
        function: str,
        client: Path,
        references: Mapping[str, str],
        lambda_variables: Mapping[str, str],
        *,
        wrapper: Path | None = None,
    ) -> None:
        template = built_template()
        properties = functions(template)[function]
        variables = {
            **template["Globals"]["Function"]["Environment"]["Variables"],
            **properties["Environment"]["Variables"],
        }
        logging = {**template["Globals"]["Function"]["LoggingConfig"], **properties["LoggingConfig"]}
        artifact = BUILD / function
        path = [artifact, client]
        self._environment = {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": os.pathsep.join(map(str, path if wrapper is None else [wrapper.parent, *path])),
            "LAMBDA_TASK_ROOT": str(artifact),
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(template["Globals"]["Function"]["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_LOG_FORMAT": logging["LogFormat"],
            "AWS_LAMBDA_LOG_LEVEL": logging["ApplicationLogLevel"],
            "_HANDLER": properties["Handler"] if wrapper is None else f"{wrapper.stem}.handler",
            **lambda_variables,
            **{
                name: references[name] if isinstance(value, dict) else value
                for name, value in variables.items()
            },
        }
        self._artifact = artifact
        self.timeout_s = float(properties["Timeout"])
        self.init_error: Json = {}
        self.lines: list[str] = []
        self._waiting: queue.SimpleQueue[tuple[dict[str, str], bytes] | None] = queue.SimpleQueue()
        self._results: dict[str, Future[Result]] = {}

    def __enter__(self) -> Self:
        environment = self

        class RuntimeApi(_RuntimeApi):
            of = environment

        self._api = ThreadingHTTPServer((HOST, 0), RuntimeApi)
        self._api.daemon_threads = True
        reading, writing = os.pipe()
        self._threads = [threading.Thread(target=self._api.serve_forever, args=(0.05,))]
        # -S and -P: nothing can be imported but the artifact and the runtime client. -B: the code folder is read-only
        # on Lambda. The runtime client logs to a file descriptor that Lambda has opened for it.
        python = getattr(sys, "_base_executable", sys.executable)
        self._process = subprocess.Popen(
            [python, "-S", "-P", "-B", "-m", "awslambdaric", self._environment["_HANDLER"]],
            cwd=self._artifact,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **self._environment,
                "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{self._api.server_port}",
                "_LAMBDA_TELEMETRY_LOG_FD": str(writing),
            },
            pass_fds=[writing],
        )
        os.close(writing)
        self._threads += [
            threading.Thread(target=self._read_lines),
            threading.Thread(target=self._read_frames, args=(reading,)),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._api.server_close()

    def invoke(self, event: Any, *, timeout_s: float | None = None) -> Result:
        """Invoke the function and wait for the result.

        Raises
        ------
        EnvironmentEnded
            If the process ends first.
        """
        return self.start(event, timeout_s=timeout_s).result(WAIT_LIMIT_S)

    def start(self, event: Any, *, timeout_s: float | None = None) -> Future[Result]:
        """Invoke the function; its timeout is the template's unless another one is given."""
        request_id = str(uuid.uuid4())
        deadline = time.time() + (self.timeout_s if timeout_s is None else timeout_s)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(round(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:000000000000:function:function:live",
            "Lambda-Runtime-Trace-Id": TRACE,
        }
        result = self._results[request_id] = Future()
        self._waiting.put((headers, json.dumps(event).encode()))
        return result

    def freeze(self) -> None:
        """Stop the process, as Lambda does between two invocations."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as Lambda does at a timeout."""
        self._process.kill()
        self._process.wait()
        self._waiting.put(None)
        self._api.shutdown()
        for thread in self._threads:
            thread.join()

    def next_invocation(self) -> tuple[dict[str, str], bytes] | None:
        """Wait for an invocation, and return its headers and event; None at the end of the process."""
        return self._waiting.get()

    def settle(self, request_id: str, kind: str, body: Any) -> None:
        """Take what the runtime client reports about an invocation."""
        failed = kind == "error"
        self._results[request_id].set_result(
            Result(request_id, None if failed else body, body if failed else {})
        )

    def _read_lines(self) -> None:
        assert self._process.stdout
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.decode().removesuffix("\n"))
        for result in self._results.values():
            if not result.done():
                result.set_exception(EnvironmentEnded("\n".join(self.lines[-20:])))

    def _read_frames(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as frames:
            while header := frames.read(FRAME_HEADER_BYTES):
                message = frames.read(int.from_bytes(header[4:8], "big"))
                self.lines.append(message.decode().removesuffix("\n"))


class _RuntimeApi(BaseHTTPRequestHandler):
    """The paths of the Runtime API below `/2018-06-01/runtime/`."""

    of: Environment
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`invocation/next`: answered when there is an invocation."""
        if invocation := self.of.next_invocation():
            self._answer(200, *invocation)
        else:
            self.close_connection = True

    def do_POST(self) -> None:
        """`invocation/{request id}/response` or `/error`, and `init/error`."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null")
        *_, request_id, kind = self.path.split("/")
        if request_id == "init":
            self.of.init_error = body
        else:
            self.of.settle(request_id, kind, body)
        self._answer(202, {"Content-Type": "application/json"}, b'{"status": "OK"}')

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the environment was killed
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: only the functions' output is to be shown."""
