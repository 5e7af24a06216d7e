"""Lambda's side of a function: a process, started as Lambda starts one, under AWS's own runtime client, `awslambdaric`.

The client asks the Runtime API, which is served here, for invocations, and posts their results.
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
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Json = dict[str, Any]

HOST = "127.0.0.1"
TRACE = "Root=1-69600000-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
FRAME_HEADER_BYTES = 16  # of a telemetry frame: type (4), length of the message (4), time (8)
WAIT_LIMIT_S = 90  # for what takes a second on an idle machine


class EnvironmentEnded(Exception):
    """The process has ended before the invocation was answered; the text is what it wrote last."""


class Result(NamedTuple):
    """What came of an invocation: the handler's result or its error, and the seconds left until the timeout."""

    request_id: str
    payload: Any
    error: Json
    left_s: float


@dataclass
class Invocation:
    """An invocation; its deadline is set when the process takes it: on Lambda, too, the start does not count."""

    event: Json
    timeout_s: float
    deadline: float = 0
    result: Future[Result] = field(default_factory=Future)


class Environment:
    """An execution environment of a function.

    The variables include `_HANDLER`, and `PYTHONPATH` for the artifact and the runtime client. `lines` is all that came
    out: the lines of stdout and stderr, and the messages that the runtime client logged.
    """

    def __init__(self, variables: Mapping[str, str], timeout_s: float) -> None:
        self.lines: list[str] = []
        self._timeout_s = timeout_s
        self.ahead_s = 0.0
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.invocations: dict[str, Invocation] = {}
        self._api = ThreadingHTTPServer((HOST, 0), type("RuntimeApi", (_RuntimeApi,), {"of": self}))
        self._api.daemon_threads = True
        reading, writing = os.pipe()
        # -S and -P: nothing can be imported but what is on the path. -B: the code folder is read-only on Lambda. The
        # runtime client logs to a file descriptor that Lambda has opened for it.
        python = getattr(sys, "_base_executable", sys.executable)
        self._process = subprocess.Popen(
            [python, "-S", "-P", "-B", "-m", "awslambdaric", variables["_HANDLER"]],
            cwd=variables["LAMBDA_TASK_ROOT"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **variables,
                "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{self._api.server_port}",
                "_LAMBDA_TELEMETRY_LOG_FD": str(writing),
            },
            pass_fds=[writing],
        )
        os.close(writing)
        work = [(self._api.serve_forever, 0.05), (self._read_lines,), (self._read_frames, reading)]
        self._threads = [threading.Thread(target=target, args=arguments) for target, *arguments in work]
        for thread in self._threads:
            thread.start()

    def invoke(self, event: Any, *, timeout_s: float | None = None) -> Result:
        """Invoke the function and wait for the result, or raise `EnvironmentEnded` if the process ends first."""
        return self.start(event, timeout_s=timeout_s).result(WAIT_LIMIT_S)

    def start(self, event: Any, *, timeout_s: float | None = None) -> Future[Result]:
        """Invoke the function; its timeout is the template's unless another one is given."""
        request_id = str(uuid.uuid4())
        if self.ahead_s:
            event = {**event, "clock_ahead_s": self.ahead_s}
        self.invocations[request_id] = invocation = Invocation(event, timeout_s or self._timeout_s)
        self.waiting.put(request_id)
        return invocation.result

    def freeze(self) -> None:
        """Stop the process, as Lambda does between two invocations."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self, *, after_s: float = 0) -> None:
        """Let it go on; the wrapper `later` sees this much more time pass than has passed."""
        self.ahead_s += after_s
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as Lambda does at a timeout."""
        self._process.kill()
        self._process.wait()
        self.waiting.put(None)
        self._api.shutdown()
        for thread in self._threads:
            thread.join()
        self._api.server_close()

    def _read_lines(self) -> None:
        assert self._process.stdout
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.decode().removesuffix("\n"))
        for invocation in self.invocations.values():
            if not invocation.result.done():
                invocation.result.set_exception(EnvironmentEnded("\n".join(self.lines[-20:])))

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
        if (request_id := self.of.waiting.get()) is None:  # the process has ended
            self.close_connection = True
            return
        invocation = self.of.invocations[request_id]
        invocation.deadline = time.time() + self.of.ahead_s + invocation.timeout_s
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(round(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:function:live",
            "Lambda-Runtime-Trace-Id": TRACE,
        }
        self._answer(200, headers, invocation.event)

    def do_POST(self) -> None:
        """`invocation/{request id}/response` or `/error`, and `init/error`."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null")
        *_, request_id, kind = self.path.split("/")
        if request_id != "init":  # after which the process ends, and has written why
            invocation = self.of.invocations[request_id]
            left_s = invocation.deadline - time.time() - self.of.ahead_s
            payload, error = (None, body) if kind == "error" else (body, {})
            invocation.result.set_result(Result(request_id, payload, error, left_s))
        self._answer(202, {}, {"status": "OK"})

    def _answer(self, status: int, headers: Mapping[str, str], body: Json) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the environment was killed
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: only the functions' output is to be shown."""
