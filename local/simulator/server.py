"""The simulator as a web server: in a thread of a test, or for as long as a process lives."""

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
    """A simulator in a thread of its own, for as long as the ``with`` block lasts.

    Parameters
    ----------
    host, port
        Where to listen; port 0 is any free one.
    **settings
        As in `Settings`.

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
        except OSError as error:  # cannot listen there: for the thread that wants to
            started.set_exception(error)


async def serve(upstream: Upstream, host: str, port: int, announce: Callable[[str, Stop], None]) -> None:
    """Serve until stopped.

    Parameters
    ----------
    upstream
        Whose state is served.
    host, port
        Where to listen; port 0 is any free one.
    announce
        Called once the server listens, with its address and with what stops it from any thread.
    """
    app = web.Application(middlewares=[aiohttp_middleware()])
    Controls(upstream).add_routes(app)
    Gateway(upstream).add_routes(app)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # An answer that is still being delayed or dripped when the simulator ends is not waited for.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        announce("http://{}:{}".format(*runner.addresses[0]), lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()
    finally:
        await runner.cleanup()
