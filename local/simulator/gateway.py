"""Clopos's answers to calls."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from requests.structures import CaseInsensitiveDict

from local.simulator import delivery, echoes
from local.simulator.answers import Answer, Json, json_object, timestamp
from local.simulator.calls import Call
from local.simulator.encodings import ENCODINGS
from local.simulator.faults import Fault
from local.simulator.rate_limits import Counted
from local.simulator.refusals import STATES, VOCABULARIES, refuse
from local.simulator.settings import BASE_PATH, CREDENTIALS
from local.simulator.upstream import CUSTOMER, Upstream
from local.simulator.variants import VARIANTS

RECEIPT_FIELDS = ("id", "service_notification_id", "status")

NO_FAULT = Fault()

Outcome = tuple[Answer, Fault | None]


class Gateway:
    """The routes of the API."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to a web application; as at Clopos, any other path gets a 404."""
        app.router.add_put(BASE_PATH + "/orders/{order_id}", self._serve_order)
        app.router.add_get(BASE_PATH + "/orders/{order_id}", self._serve_order)
        app.router.add_post(BASE_PATH + "/auth", self._serve_auth)
        app.router.add_route("*", "/{elsewhere:.*}", self._serve_elsewhere)

    async def _serve_order(self, request: web.Request) -> web.Response:
        return await self._serve(request, self._answer_order, self._upstream.settings.latency)

    async def _serve_auth(self, request: web.Request) -> web.Response:
        return await self._serve(request, self._answer_auth, self._upstream.settings.auth_latency)

    async def _serve_elsewhere(self, request: web.Request) -> web.Response:
        return await self._serve(request, lambda call, client_ip: (refuse("no_route"), None), 0)

    async def _serve(
        self, request: web.Request, answer_to: Callable[[Call, str], Outcome], latency: float
    ) -> web.Response:
        call = await _record(request)
        self._upstream.recorded.append(call)

        answer, fault = answer_to(call, request.remote or "")
        call.fault = fault.name if fault else None
        fault = fault or NO_FAULT
        await asyncio.sleep(latency + fault.delay)
        return await _send(request, call, answer, fault)

    def _answer_auth(self, call: Call, client_ip: str) -> Outcome:
        limits = self._upstream.rate_limits
        tier = limits.auth_calls(client_ip)
        if not limits.count(tier):
            return self._with_rate_limit(self._refuse("rate_limited"), tier), None
        return self._answer_or_fault(call, lambda _: self._issue_token(json_object(call.body)))

    def _issue_token(self, given: Json) -> Answer:
        settings = self._upstream.settings
        refused = _first(
            {
                "missing_fields": not all(given.get(key) for key in CREDENTIALS),
                "unknown_integrator": given.get("integrator_id") != CREDENTIALS["integrator_id"],
                "wrong_credentials": any(given.get(key) != value for key, value in CREDENTIALS.items()),
            }
        )
        if refused := refused or STATES[settings.state][0]:
            return self._refuse(refused)
        token = self._upstream.issue_token()
        return Answer(
            200,
            {
                "success": True,
                "token": token,
                "token_type": "Bearer",
                "expires_in": int(settings.token_lifetime),
                "expires_at": self._upstream.tokens[token][0],
                "message": "Authentication successful",
            },
        )

    def _answer_order(self, call: Call, client_ip: str) -> Outcome:
        limits, tokens = self._upstream.rate_limits, self._upstream.tokens
        token, fault = call.headers.get("x-token", ""), None
        expires_at, venue_id = tokens.get(token, (0, 0))
        failed_calls, all_calls = limits.failed_calls(client_ip), limits.all_calls()
        tiers: tuple[Counted, ...] = ()  # the answer has their headers only if the call is authenticated
        if not limits.has_room(failed_calls):
            tiers, answer = (failed_calls,), self._refuse("rate_limited")
        elif token not in tokens:
            answer = self._refuse("invalid_token" if token else "headers_missing")
        elif expires_at <= time.time():
            answer = self._refuse("token_expired", expires_at=timestamp(expires_at))
        else:
            tiers = (all_calls, failed_calls)
            refused = STATES[self._upstream.settings.state][1]
            if not limits.count(all_calls):
                refused = "rate_limited"
            if refused:
                answer = self._refuse(refused)
            else:
                answer, fault = self._answer_or_fault(call, partial(self._process, call, str(venue_id)))
        if answer.status >= 400:
            limits.count(failed_calls)
        return self._with_rate_limit(answer, *tiers), fault

    def _process(self, call: Call, venue_id: str, commit: bool) -> Answer:
        """Answer a PUT or GET. A PUT only changes the order if `commit`; its answer is the same."""
        order = self._upstream.order(call.order_id or "") or {}
        venue = call.headers.get("x-venue", venue_id)
        refused = _first(
            {
                "bad_venue": not venue.isdecimal(),
                **(_problems_of_put(call) if call.method == "PUT" else _problems_of_get(call)),
                "not_found": str(order.get("venue_id")) != venue,
            }
        )
        if refused:
            return self._refuse(refused)
        if call.method == "GET":
            return Answer(200, {"success": True, "data": order | self._details(call)})
        repeatable = () if self._upstream.settings.strict else ("IGNORE",)
        if order["status"] not in ("PENDING", *repeatable):
            return self._refuse("status_not_allowed")
        cancelled = order | {"status": "IGNORE", "updated_at": timestamp(time.time())}
        if commit:
            order.update(cancelled)
        return Answer(200, {"success": True, "data": cancelled})

    def _details(self, call: Call) -> Json:
        """Return the fields that only the answer to a GET has."""
        details: Json = {"payload": {"customer": CUSTOMER}}
        for _, fields in _relations(call):
            receipt = self._upstream.receipts.get(call.order_id or "")
            details["receipt"] = receipt and {field: receipt[field] for field in fields}
        return details

    def _answer_or_fault(self, call: Call, process: Callable[[bool], Answer]) -> Outcome:
        fault = self._upstream.scripts.next(call)
        if fault is None:
            return process(True), None
        own = process(not fault.answers_itself if fault.processed is None else fault.processed)
        if fault.answers_itself:
            sent = echoes.sent_by(call.order_id, call.headers, call.body)
            body = "" if fault.body is None else echoes.fill_in(fault.body, sent)
            return Answer(fault.status or 200, body, fault.headers), fault
        if "data" in own.body:
            data = own.body["data"] | fault.data
            body = VARIANTS[fault.variant](data) if fault.variant else own.body | {"data": data}
            own = dataclasses.replace(own, body=body)
        return dataclasses.replace(own, headers=fault.headers), fault

    def _refuse(self, name: str, **fields: Any) -> Answer:
        settings = self._upstream.settings
        return refuse(VOCABULARIES[settings.vocabulary].get(name, name), settings.style, **fields)

    def _with_rate_limit(self, answer: Answer, *tiers: Counted) -> Answer:
        headers = self._upstream.rate_limits.headers(*tiers)
        return dataclasses.replace(answer, headers=headers | answer.headers)


async def _record(request: web.Request) -> Call:
    transport = request.transport  # None if the client has already disconnected
    return Call(
        method=request.method,
        path=request.raw_path,
        order_id=request.match_info.get("order_id"),
        # The values of a repeated header are joined, as HTTP allows.
        headers=CaseInsensitiveDict(
            {name: ", ".join(request.headers.getall(name)) for name in request.headers}
        ),
        body=(await request.read()).decode(errors="backslashreplace"),
        time=time.monotonic(),
        client_port=transport.get_extra_info("peername")[1] if transport else 0,
    )


async def _send(request: web.Request, call: Call, answer: Answer, fault: Fault) -> web.Response:
    headers, content = answer.all_headers(), answer.content()
    if fault.encoding:
        headers["Content-Encoding"], content = ENCODINGS[fault.encoding](content)
    if fault.delivery == "whole" and not fault.interim:
        call.status = answer.status
        return web.Response(status=answer.status, headers=headers, body=content)
    surplus = _claim(call) if fault.surplus is None else Answer(body=fault.surplus).content()
    planned = delivery.DELIVERIES[fault.delivery](delivery.Message(answer.status, headers, content, surplus))
    parts = [*(delivery.interim(status) for status in fault.interim), *planned.parts]
    planned = dataclasses.replace(planned, parts=parts)
    if await delivery.write(request.transport, planned, fault.interval):
        call.status = answer.status
    return delivery.AlreadyWritten()


def _claim(call: Call) -> bytes:
    """Return a complete answer that says that the order of the call is cancelled."""
    order_id = call.order_id or ""
    data = {"id": int(order_id) if order_id.isdecimal() else order_id, "status": "IGNORE"}
    answer = Answer(200, {"success": True, "data": data})
    message = delivery.Message(answer.status, answer.all_headers(), answer.content())
    return message.sized_head() + message.content


def _first(checks: dict[str, bool]) -> str | None:
    return next((name for name, applies in checks.items() if applies), None)


def _problems_of_put(call: Call) -> dict[str, bool]:
    asked = json_object(call.body)
    is_json = call.headers.get("content-type", "").startswith("application/json")
    return {
        "not_json": not (is_json and asked),
        "extra_fields": set(asked) != {"status"},
        "status_not_allowed": asked.get("status") != "IGNORE",
    }


def _problems_of_get(call: Call) -> dict[str, bool]:
    return {
        "bad_relation": any(
            relation != "receipt" or not set(fields) <= set(RECEIPT_FIELDS)
            for relation, fields in _relations(call)
        )
    }


def _relations(call: Call) -> list[tuple[str, list[str]]]:
    """Return the relations and their fields in queries such as ``with[0]=receipt:id,status``."""
    asked = [value for name, value in parse_qsl(urlsplit(call.path).query) if name.startswith("with[")]
    pairs = [value.partition(":") for value in asked]
    return [(relation, fields.split(",")) for relation, _, fields in pairs]
