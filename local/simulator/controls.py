"""The controls over HTTP: ``POST /_simulator/<name>``, with the arguments as a JSON object."""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from local.simulator.upstream import Upstream

CONTROLS_PATH = "/_simulator/"


class Controls:
    """The routes by which a test or a person controls the simulator."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._controls: dict[str, Callable[..., Any]] = {
            "reset": upstream.reset,
            "configure": upstream.configure,
            "add_order": upstream.add_order,
            "add_orders": upstream.add_orders,
            "order": upstream.order,
            "statuses": upstream.statuses,
            "fail": upstream.fail,
            "fail_all": upstream.fail_all,
            "fail_get": upstream.fail_get,
            "fail_all_gets": upstream.fail_all_gets,
            "fail_auth": upstream.fail_auth,
            "fail_some": upstream.fail_some,
            "heal": upstream.heal,
            "calls": self._calls,
            "issue_token": upstream.issue_token,
            "accept_token": upstream.accept_token,
            "expire_tokens": upstream.expire_tokens,
            "revoke_tokens": upstream.revoke_tokens,
        }

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to a web application."""
        app.router.add_get(CONTROLS_PATH, self._list)
        app.router.add_post(CONTROLS_PATH + "{name}", self._call)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({name: control.__doc__ for name, control in self._controls.items()})

    async def _call(self, request: web.Request) -> web.Response:
        control = self._controls.get(request.match_info["name"])
        if control is None:
            return web.json_response({"error": f"the controls are {list(self._controls)}"}, status=404)
        try:
            return web.json_response(control(**json.loads(await request.text() or "{}")))
        except (TypeError, ValueError) as error:  # wrong arguments
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    def _calls(self, **arguments: Any) -> list[dict[str, Any]]:
        """Return the calls received, oldest first. None means any order, or any method."""
        return [call.as_json() for call in self._upstream.calls(**arguments)]
