"""Serve the page and the API reference on a port of this machine."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.openapi import swagger_ui

from local.browser_guard import refusal
from local.common import HOST, ROOT
from local.page.actions import STOPPED, Actions
from local.page.state import State
from local.stack import LocalStack

HERE, SWAGGER_UI = Path(__file__).parent, Path(swagger_ui.__file__).parent
FILES = {
    "/": (HERE / "index.html", "text/html"),
    "/page.js": (HERE / "page.js", "text/javascript"),
    "/style.css": (HERE / "style.css", "text/css"),
    "/api": (HERE / "api.html", "text/html"),
    "/swagger-ui.css": (SWAGGER_UI / "swagger-ui.min.css", "text/css"),
    "/swagger-ui.js": (SWAGGER_UI / "swagger-ui-bundle.min.js", "text/javascript"),
}


@contextlib.contextmanager
def serve(stack: LocalStack, port: int = 0) -> Iterator[str]:
    """Serve the page on a port (0: any free one) in threads of its own, and yield its address."""
    state, actions, reading = State(stack), Actions(stack), threading.Lock()

    class Page(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            # The page has buttons and no password, so other sites must not be able to call it.
            if not super().parse_request():
                return False
            if reason := refusal(self.headers.items()):
                self._answer(403, "text/plain", reason.encode())
            return reason is None

        def do_GET(self) -> None:
            if self.path == "/state":
                self._answer_state()
            elif self.path == "/openapi.json":
                description = json.loads((ROOT / "docs" / "openapi.json").read_text())
                description.pop("webhooks", None)  # events, which nobody can call
                self._answer_json(description)
            elif self.path in FILES:
                path, media_type = FILES[self.path]
                self._answer(200, f"{media_type}; charset=utf-8", path.read_bytes())
            else:
                self._answer(404, "text/plain", b"Not found")

        def do_POST(self) -> None:
            try:
                actions.perform(*unquote(self.path).removeprefix("/actions/").split("/", 1))
            except KeyError:
                self._answer(404, "text/plain", b"No such action")
            else:
                self._answer_json({})

        def _answer_state(self) -> None:
            try:
                with reading:
                    seen = state.read()
            except STOPPED as error:
                self._answer(503, "text/plain", str(error).encode())
            else:
                answer = actions.answer if stack.has_simulator else None
                self._answer_json(seen | {"answer": answer, "messages": list(actions.messages)})

        def _answer_json(self, value: Any) -> None:
            self._answer(200, "application/json", json.dumps(value).encode())

        def _answer(self, status: int, media_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser has gone on to another page
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: the terminal shows how to use the stack."""

    server = ThreadingHTTPServer((HOST, port), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()  # calls that are under way end with the process
        thread.join()
