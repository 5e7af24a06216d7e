"""Serve the page and the API reference on a port of this machine."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from aws_lambda_powertools.event_handler.openapi import swagger_ui
from fastapi import FastAPI
from nicegui import ui
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from local.browser_guard import guarded
from local.common import HOST, ROOT
from local.emulator.xray import Traces
from local.page.controls import Controls
from local.page.view import View
from local.page.watch import Watch
from local.stack import LocalStack

HERE = Path(__file__).parent
SHUTDOWN_S = 1  # the longest that an open browser may delay the end


@contextlib.contextmanager
def serve(stack: LocalStack, traces: Traces, port: int = 0) -> Iterator[str]:
    """Serve the page on a port (0: any free one) in a thread of its own, and yield its address.

    NiceGUI cannot remove pages, so this works only once per process.
    """
    watch = Watch(stack, traces)
    controls = Controls(stack, watch.dead_letters)
    app = FastAPI(openapi_url=None)
    with ThreadPoolExecutor(1) as watching, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()  # requests that come before the server is ready wait for it

        @ui.page("/")
        def show() -> None:
            View(watch, controls, watching)

        _serve_api_reference(app)
        ui.run_with(
            app,
            title="clopos-cancel on this machine",
            language="en-US",
            dark=None,  # as the browser prefers
            tailwind=False,
            show_welcome_message=False,
        )
        # The page has buttons and no password, so other sites must not be able to call it.
        config = uvicorn.Config(guarded(app), log_level="error", timeout_graceful_shutdown=SHUTDOWN_S)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _serve_api_reference(app: FastAPI) -> None:
    """Serve docs/openapi.json at /api, rendered by the Swagger UI that comes with Powertools."""
    app.mount("/swagger-ui", StaticFiles(directory=Path(swagger_ui.__file__).parent))

    @app.get("/openapi.json")
    def description() -> FileResponse:
        return FileResponse(ROOT / "docs" / "openapi.json")

    @app.get("/api")
    def show() -> FileResponse:
        return FileResponse(HERE / "api.html")
