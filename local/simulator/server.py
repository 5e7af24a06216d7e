"""The simulator as a web server, in a thread or as a process."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self

from aiohttp import web

from local.browser_guard import aiohttp_middleware
from local.simulator.client import SimulatorClient
from local.simulator.controls import Controls
from local.simulator.gateway import Gateway
from local.simulator.settings import Settings
from local.simulator.upstream import Upstream

Stop = Callable[[], object]


class Simulator(SimulatorClient):
    """A simulator in its own thread, running during the ``with`` block.

    Parameters
    ----------
    host, port
        The address to listen on; port 0 means any free one.
    **settings
        See `Settings`.

    Examples
    --------
    >>> with Simulator(quota=10, window=2) as clopos:
    ...     clopos.add_order(108)
    ...     clopos.fail(108, "html", Fault(504, delay=1))
    ...     # call clopos.url, with clopos.issue_token() in x-token
    ...     assert [call.body for call in clopos.calls(108)] == ['{"status": "IGNORE"}']
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> None:
        self._upstream = Upstream(Settings(**settings))
        self._address = host, port

    def __enter__(self) -> Self:
        started: Future[tuple[str, Stop]] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        root, self._stop = started.result()
        super().__init__(root)
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()
        self._stop()
        self._thread.join()

    def _run(self, started: "Future[tuple[str, Stop]]") -> None:
        try:
            asyncio.run(
                serve(self._upstream, *self._address, lambda *root_stop: started.set_result(root_stop))
            )
        except OSError as error:  # cannot listen on this address; raised again in `__enter__`
            started.set_exception(error)


async def serve(upstream: Upstream, host: str, port: int, announce: Callable[[str, Stop], None]) -> None:
    """Serve until stopped.

    Parameters
    ----------
    upstream
        The state of Clopos.
    host, port
        The address to listen on; port 0 means any free one.
    announce
        Called when the server listens, with its URL and a function that stops it from any thread.
    """
    app = web.Application(middlewares=[aiohttp_middleware()])
    Controls(upstream).add_routes(app)
    Gateway(upstream).add_routes(app)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # At the end, answers that are still delayed or sent byte by byte are not waited for.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        announce("http://{}:{}".format(*runner.addresses[0]), lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()
    finally:
        await runner.cleanup()
