"""The simulator as a web server, in a thread or as a process: the API, and its controls.

A control is ``POST /_simulator/<name>``, with the arguments as a JSON object.
"""

import asyncio
import json
import ssl
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web

from local.browser_guard import aiohttp_middleware
from local.simulator.certificate import write_certificate
from local.simulator.client import CONTROLS_PATH, SimulatorClient
from local.simulator.gateway import Gateway
from local.simulator.settings import BASE_PATH, Settings
from local.simulator.state import CONTROLS, State


class Address(NamedTuple):
    """Where a simulator listens, and how to stop it from any thread."""

    url: str
    tls_url: str  # with `ca_file`, the certificate to trust; both are empty without TLS
    ca_file: str
    stop: Callable[[], object]


class Simulator(SimulatorClient):
    """A simulator in its own thread, running during the ``with`` block.

    Port 0 means any free one. With `tls` it serves TLS as well, on another port. The rest is in `Settings`.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: bool = False, **settings: Any) -> None:
        self._state = State(Settings(**settings))
        self._arguments = host, port, tls

    def __enter__(self) -> Self:
        started: Future[Address] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        address = started.result()
        self._stop = address.stop
        super().__init__(address.url, address.tls_url, address.ca_file)
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()
        self._stop()
        self._thread.join()

    def _run(self, started: "Future[Address]") -> None:
        try:
            asyncio.run(serve(self._state, *self._arguments, started.set_result))
        except OSError as error:  # cannot listen on this address; raised again in `__enter__`
            started.set_exception(error)


async def serve(state: State, host: str, port: int, tls: bool, announce: Callable[[Address], object]) -> None:
    """Serve until stopped; `announce` is called when the server listens. The rest is as for `Simulator`."""
    app = web.Application(middlewares=[aiohttp_middleware()])
    app.router.add_post(CONTROLS_PATH + "{name}", partial(_control, state))
    Gateway(state).add_routes(app)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # At the end, answers that are still delayed or sent byte by byte are not waited for.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        with tempfile.TemporaryDirectory() as folder:
            await web.TCPSite(runner, host, port).start()
            tls_url = ca_file = ""
            if tls:
                key, ca_file = write_certificate(Path(folder), host)
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(ca_file, key)
                await web.TCPSite(runner, host, 0, ssl_context=context).start()
                tls_url = "https://{}:{}".format(*runner.addresses[1]) + BASE_PATH
            url = "http://{}:{}".format(*runner.addresses[0]) + BASE_PATH
            announce(Address(url, tls_url, ca_file, lambda: loop.call_soon_threadsafe(stopped.set)))
            await stopped.wait()
    finally:
        await runner.cleanup()


async def _control(state: State, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in CONTROLS:
        return web.json_response({"error": f"the controls are {list(CONTROLS)}"}, status=404)
    try:
        arguments = json.loads(await request.text() or "{}")
        return web.json_response(getattr(state, name)(**arguments))
    except (TypeError, ValueError) as error:  # wrong arguments
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
