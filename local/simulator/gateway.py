"""Clopos's answers to calls."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from local.simulator import quotes, wire
from local.simulator.answers import Answer, Call, json_object, timestamp
from local.simulator.faults import Fault
from local.simulator.rate_limits import Window
from local.simulator.refusals import STATES, VOCABULARIES, refuse
from local.simulator.settings import BASE_PATH, CREDENTIALS, EXPIRIES
from local.simulator.state import CUSTOMER, State

NO_FAULT = Fault()

Outcome = tuple[Answer, Fault | None]


class Gateway:
    """The routes of the API."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to a web application; as at Clopos, any other path gets a 404."""
        order, auth = BASE_PATH + "/orders/{order_id}", BASE_PATH + "/auth"
        app.router.add_put(order, partial(self._serve, self._answer_order, "latency"))
        app.router.add_get(order, partial(self._serve, self._answer_order, "latency"))
        app.router.add_post(auth, partial(self._serve, self._answer_auth, "auth_latency"))
        no_route = (refuse("no_route"), None)
        app.router.add_route("*", "/{path:.*}", partial(self._serve, lambda _: no_route, ""))

    async def _serve(
        self, answer_to: Callable[[Call], Outcome], latency: str, request: web.Request
    ) -> web.StreamResponse:
        call = await _record(request)
        self._state.recorded.append(call)
        answer, fault = answer_to(call)
        call.fault = fault.name if fault else None
        fault = fault or NO_FAULT
        await asyncio.sleep(fault.delay + (getattr(self._state.settings, latency) if latency else 0))
        response = web.Response(status=answer.status, headers=answer.all_headers(), body=answer.content())
        if not fault.wire:
            call.status = answer.status
            return response
        second = fault.second.encode() or _claim(call)
        sent, is_whole = await wire.send(request, fault.wire, response, second, fault.interval)
        call.status = answer.status if is_whole else None
        return sent

    def _answer_auth(self, call: Call) -> Outcome:
        tier = self._state.auth_calls
        if not tier.count():
            return _with_rate_limit(self._refuse(call, "rate_limited"), tier), None
        return self._answer_or_fault(call, lambda _: self._issue_token(call))

    def _issue_token(self, call: Call) -> Answer:
        settings, given = self._state.settings, json_object(call.body)
        refused = _first(
            {
                "missing_fields": not all(given.get(key) for key in CREDENTIALS),
                "unknown_integrator": given.get("integrator_id") != CREDENTIALS["integrator_id"],
                "wrong_credentials": any(given.get(key) != value for key, value in CREDENTIALS.items()),
            }
        )
        if refused := refused or STATES[settings.state][0]:
            return self._refuse(call, refused)
        token = self._state.issue_token()
        said = {"success": True, "message": "Authentication successful"}
        said |= {"token": token, "token_type": "Bearer"}
        expiry = EXPIRIES[settings.expiry](int(settings.token_lifetime), self._state.tokens[token][0])
        return Answer(200, said | expiry)

    def _answer_order(self, call: Call) -> Outcome:
        all_calls, failed_calls = self._state.all_calls, self._state.failed_calls
        token, fault = call.headers.get("x-token", ""), None
        expires_at, venue_id = self._state.tokens.get(token, (0, 0))
        tiers: tuple[Window, ...] = ()  # the answer has their headers only if the call is authenticated
        if failed_calls.left() <= 0:  # counted before the token is looked at
            tiers, answer = (failed_calls,), self._refuse(call, "rate_limited")
        elif not expires_at:
            answer = self._refuse(call, "invalid_token" if token else "headers_missing")
        elif expires_at <= time.time():
            answer = self._refuse(call, "token_expired", expires_at=timestamp(expires_at))
        else:
            tiers = (all_calls, failed_calls)
            refused = STATES[self._state.settings.state][1]
            if refused := refused if all_calls.count() else "rate_limited":
                answer = self._refuse(call, refused)
            else:
                answer, fault = self._answer_or_fault(call, partial(self._process, call, str(venue_id)))
        if answer.status >= 400:
            failed_calls.count()
        return _with_rate_limit(answer, *tiers), fault

    def _process(self, call: Call, venue_id: str, commit: bool) -> Answer:
        """Answer a PUT or GET. A PUT only changes the order if `commit`; its answer is the same."""
        order_id, is_read = call.order_id or "", call.method == "GET"
        order = self._state.as_seen(order_id, is_read=is_read)
        venue = call.headers.get("x-venue", venue_id)
        refused = _first(
            {
                "bad_venue": not venue.isdecimal(),
                **({} if is_read else _problems(call)),
                "not_found": str(order.get("venue_id")) != venue,
            }
        )
        if refused:
            return self._refuse(call, refused)
        if is_read:
            receipt = {"receipt": self._state.receipts.get(order_id)} if "receipt" in call.path else {}
            data = order | {"payload": {"customer": CUSTOMER}} | receipt
            return Answer(200, {"success": True, "data": data})
        repeatable = () if self._state.settings.strict else ("IGNORE",)
        if order["status"] not in ("PENDING", *repeatable):
            return self._refuse(call, "status_not_allowed")
        cancelled = order | {"status": "IGNORE", "updated_at": timestamp(time.time())}
        if commit:
            self._state.cancel(order_id, cancelled)
        return Answer(200, {"success": True, "data": cancelled})

    def _answer_or_fault(self, call: Call, process: Callable[[bool], Answer]) -> Outcome:
        fault = self._state.next_fault(call)
        if fault is None:
            return process(True), None
        own = process(not fault.answers_itself if fault.processed is None else fault.processed)
        if fault.answers_itself:
            body = "" if fault.body is None else quotes.fill_in(fault.body, call)
            return Answer(fault.status or 200, body, fault.headers), fault
        if "data" in own.body:
            own = dataclasses.replace(own, body=own.body | {"data": own.body["data"] | fault.data})
        return dataclasses.replace(own, headers=own.headers | fault.headers), fault

    def _refuse(self, call: Call, name: str, **fields: Any) -> Answer:
        settings = self._state.settings
        name = VOCABULARIES[settings.vocabulary].get(name, name)
        answer = refuse(name, settings.style, settings.objects_status, **fields)
        if not settings.for_browsers or "json" in call.headers.get("accept", ""):
            return answer
        if settings.for_browsers == "redirect":
            return Answer(302, "", {"Location": "/login"})
        return Answer(answer.status, "<h1>Error</h1>", {"Content-Type": "text/html"})


def _with_rate_limit(answer: Answer, *tiers: Window) -> Answer:
    """Return an answer with the headers of the tier that is closest to its limit, if there are tiers."""
    headers = min(tiers, key=Window.left).headers() if tiers else {}
    return dataclasses.replace(answer, headers=headers | answer.headers)


async def _record(request: web.Request) -> Call:
    # The values of a repeated header are joined, as HTTP allows.
    headers = {name: ", ".join(request.headers.getall(name)) for name in request.headers}
    body = (await request.read()).decode(errors="backslashreplace")
    order_id = request.match_info.get("order_id")
    return Call(request.method, request.raw_path, order_id, headers, body, time.monotonic())


def _claim(call: Call) -> bytes:
    """Return a complete answer that says that the order of the call is cancelled."""
    body = Answer(body={"success": True, "data": {"id": call.order_id, "status": "IGNORE"}}).content()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _first(checks: dict[str, bool]) -> str | None:
    return next((name for name, applies in checks.items() if applies), None)


def _problems(call: Call) -> dict[str, bool]:
    asked = json_object(call.body)
    is_json = call.headers.get("content-type", "").startswith("application/json")
    return {
        "not_json": not (is_json and asked),
        "extra_fields": set(asked) != {"status"},
        "status_not_allowed": asked.get("status") != "IGNORE",
    }
