"""The simulator as a web server in a thread: the API, and its controls.

A control is ``POST /_simulator/<name>``, with the arguments as a JSON object.
"""

import asyncio
import json
import ssl
import tempfile
import threading
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from local.browser_guard import aiohttp_middleware
from local.simulator.certificate import write_certificate
from local.simulator.client import CONTROLS_PATH, SimulatorClient
from local.simulator.gateway import Gateway
from local.simulator.settings import BASE_PATH, Settings
from local.simulator.state import CONTROLS, State


class Simulator(SimulatorClient):
    """A simulator in its own thread, running during the ``with`` block.

    Port 0 means any free one. With `tls` it serves TLS as well, on another port: at `tls_url`, with the
    certificate in `ca_file`. The rest is in `Settings`.
    """

    tls_url = ca_file = ""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: bool = False, **settings: Any) -> None:
        self._state = State(Settings(**settings))
        self._host, self._port, self._tls = host, port, tls

    def __enter__(self) -> Self:
        started: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        super().__init__(started.result())
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, started: "Future[str]") -> None:
        try:
            asyncio.run(self._serve(started))
        except OSError as error:  # cannot listen on this address; raised again in `__enter__`
            started.set_exception(error)

    async def _serve(self, started: "Future[str]") -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[aiohttp_middleware()])
        app.router.add_post(CONTROLS_PATH + "{name}", partial(_control, self._state))
        Gateway(self._state).add_routes(app)
        # At the end, answers that are still delayed or sent byte by byte are not waited for.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            with tempfile.TemporaryDirectory() as folder:
                await web.TCPSite(runner, self._host, self._port).start()
                if self._tls:
                    key, self.ca_file = write_certificate(Path(folder), self._host)
                    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                    context.load_cert_chain(self.ca_file, key)
                    await web.TCPSite(runner, self._host, 0, ssl_context=context).start()
                    self.tls_url = "https://{}:{}".format(*runner.addresses[1]) + BASE_PATH
                started.set_result("http://{}:{}".format(*runner.addresses[0]) + BASE_PATH)
                await self._stopped.wait()
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
