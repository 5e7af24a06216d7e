"""A live page of the local stack: what waits, what was done, why not, and what to press to see it.

``make start`` serves it. `Watch` gathers what is to be seen, the functions below it turn that into HTML, and
`serve` puts both behind a port of this machine.
"""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from html import escape
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import requests
import uvicorn
from aws_lambda_powertools.event_handler.openapi import swagger_ui
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from nicegui import events, run, ui
from requests.auth import AuthBase
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from local.alarms import Points, alarm_states
from local.simulator import AnyFault, Fault
from local.stack import HOST, ROOT, LocalStack, SigV4, built_template
from local.xray import Traces

Json = dict[str, Any]
T = TypeVar("T")

REFRESH_S = 1.0
PATIENCE_S = 30  # API Gateway gives up after 29 s
SHUTDOWN_S = 1  # what an open browser may delay the end
KEPT_RECORDS = 2000  # log lines and metrics, of some 500 orders
SHOWN_RESULTS = 10
SHOWN_ORDERS = 30
SHOWN_DEAD = 10  # what SQS hands out in one call
OVERLAP_MS = 2000  # log lines that were written at the same time may turn up one after the other
EMITTED = ("TokenRefreshFailed", "TokenSecondsLeft", "CloposAccessDenied", "CloposThrottled")
MISSING_ORDER = 404404  # so far above the others that nobody adds an order of this number by accident
LOG_GROUPS = ("ApiLogGroup", "QueueLogGroup", "WebhookLogGroup", "TokenRefreshLogGroup")
FAULTS: dict[str, AnyFault] = {
    "503": "unavailable",
    "429": "rate_limited",
    "HTML": "html",
    "silence": Fault(delay=PATIENCE_S, name="silence"),
}
AS_EVER = "as ever"
STATES = {"ALARM": "ALARM", "OK": "OK", "INSUFFICIENT_DATA": "not measured"}


class Watch:
    """What there is to see of a stack. Its methods block; `snapshot` and `redrive` belong on one thread.

    Parameters
    ----------
    stack : LocalStack
        A running one.
    traces : Traces
        The daemon that the stack's functions send their segments to.
    """

    def __init__(self, stack: LocalStack, traces: Traces) -> None:
        self.stack = stack
        self.has_simulator = hasattr(stack, "clopos")  # else Clopos is a foreign one
        self._traces = traces
        self._template = built_template()
        self._log_groups = [stack.physical_id(group) for group in LOG_GROUPS]
        # Made here, for boto3 makes clients in one thread at a time.
        self._sqs, self._logs = stack.client("sqs"), stack.client("logs")
        self._sign_webhook = stack.webhooks()
        self._fault = AS_EVER
        self._orders: dict[str, str] = {}  # the one that changed last is at the end
        self._records: deque[Json] = deque(maxlen=KEPT_RECORDS)  # oldest first
        self._ids = itertools.count(1)
        self._seen: dict[str, set[str]] = {group: set() for group in self._log_groups}
        self._since_ms = dict.fromkeys(self._log_groups, 0)
        self._numbering = threading.Lock()

    def snapshot(self) -> Json:
        """Return all that the page shows, and nothing secret."""
        self._read_logs()
        now = time.time()
        queue = self._count("QueueUrl") | {"dead": self._count("DeadLetterQueueUrl")["ready"]}
        results = sorted(filter(_is_result, self._records), key=itemgetter("at"), reverse=True)
        metrics = self._metrics(queue, results, now)
        if self.has_simulator:
            self._follow(self.stack.clopos.statuses())
        return {
            **({"clopos": self._fault} if self.has_simulator else {}),
            "orders": dict(itertools.islice(reversed(self._orders.items()), SHOWN_ORDERS)),
            "statuses": dict(Counter(self._orders.values())),
            "queue": queue,
            "dead": [_reason(message) for message in self._peek()] if queue["dead"] else [],
            "results": results[:SHOWN_RESULTS],
            "alarms": alarm_states(self._template, metrics, now),
        }

    def spans(self, result: Json) -> list[Json]:
        """Return the bars of an order's way: `label`, `depth`, `start` and `end` (Unix seconds), `kind`."""
        sent = re.match(r"Root=([\w-]+)", result.get("message_trace") or "")
        way = {sent[1]: "webhook"} if sent else {}
        bars: list[Json] = []
        for trace_id, source in (way | {result.get("xray_trace_id", ""): _source(result)}).items():
            # A batch is one trace: the other orders in it are not asked for.
            roots = [
                root
                for root in self._traces.trace(trace_id)
                if root.get("annotations", {}).get("order_id") in (None, result.get("order_id"))
            ]
            if bars and roots:
                start, end = bars[0]["end"], max(bars[0]["end"], roots[0]["start_time"])
                bars.append({"label": "queue", "depth": 0, "start": start, "end": end, "kind": "waiting"})
            for root in roots:
                bars += _bars(root, source)
        return bars

    def _read_logs(self) -> None:
        """Read what is new in the logs: reading all of them each second would take ever longer."""
        for group in self._log_groups:
            pages = self._logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=self._since_ms[group]
            )
            read = [event for page in pages for event in page["events"]]
            for event in read:
                if event["message"] not in self._seen[group] and event["message"].startswith("{"):
                    key = {"id": str(next(self._ids)), "at": event["timestamp"] / 1000}
                    self._records.append(json.loads(event["message"]) | key)
            if read:
                self._seen[group] = {event["message"] for event in read}
                self._since_ms[group] = read[-1]["timestamp"] - OVERLAP_MS

    def _metrics(self, queue: Json, results: list[Json], now: float) -> dict[str, Points]:
        """Return what the alarms look at, from the functions' logs: the emulator measures none of it.

        What Lambda itself would count as `Errors` of the queue's function is in no log.
        """
        metrics: dict[str, Points] = {name: [] for name in EMITTED}
        waiting: dict[str, float] = {}
        for record in self._records:
            for directive in record.get("_aws", {}).get("CloudWatchMetrics", []):
                at = record["_aws"]["Timestamp"] / 1000
                for metric in directive["Metrics"]:
                    points = metrics.setdefault(metric["Name"], [])
                    points += [(at, value) for value in record[metric["Name"]]]
            if record.get("outcome") == "deferred":
                waiting.setdefault(record["message_id"], record["at"])
            elif "outcome" in record:
                waiting.pop(record.get("message_id", ""), None)
        metrics["ApproximateNumberOfMessagesVisible"] = [(now, queue["dead"])]
        # SQS tells a message's age to whoever receives it, so it is counted from its first try.
        age_s = now - min(waiting.values(), default=now) if queue["ready"] + queue["hidden"] else 0
        metrics["ApproximateAgeOfOldestMessage"] = [
            (now - ago, age_s - ago) for ago in range(0, int(age_s) + 1, 60)
        ]
        # The other codes of a failed call are all 5xx.
        metrics["5XXError"] = [
            (result["at"], 1)
            for result in results
            if result.get("outcome") == "failed" and result["result"]["error"] != "rate_limited"
        ]
        return metrics

    def _count(self, queue: str) -> Json:
        names = {"ready": "ApproximateNumberOfMessages", "hidden": "ApproximateNumberOfMessagesNotVisible"}
        counts = self._sqs.get_queue_attributes(
            QueueUrl=self.stack.outputs[queue], AttributeNames=list(names.values())
        )["Attributes"]
        return {key: int(counts[name]) for key, name in names.items()}

    def _follow(self, statuses: dict[str, str]) -> None:
        for order_id in self._orders.keys() - statuses.keys():
            del self._orders[order_id]
        for order_id, status in statuses.items():
            if self._orders.get(order_id) != status:
                self._orders.pop(order_id, None)
                self._orders[order_id] = status

    def _peek(self, hidden_s: int = 0) -> list[Json]:
        answer = self._sqs.receive_message(
            QueueUrl=self.stack.outputs["DeadLetterQueueUrl"],
            MessageAttributeNames=["All"],
            MaxNumberOfMessages=SHOWN_DEAD,
            VisibilityTimeout=hidden_s,
        )
        return list(answer.get("Messages", []))

    # What the buttons do. Each returns the line that says what came of it.

    def send_by_api(self) -> str:
        """Cancel a new order through the API."""
        return self._call("PUT", f"/orders/{self._new_order()}", '{"status": "IGNORE"}', SigV4())

    def send_by_queue(self, order_id: int = 0) -> str:
        """Cancel an order, or else a new one, through the queue."""
        body = json.dumps({"order_id": order_id or self._new_order()})
        self._sqs.send_message(QueueUrl=self.stack.outputs["QueueUrl"], MessageBody=body)
        return f"SendMessage {body}"

    def send_by_webhook(self) -> str:
        """Cancel a new order through the webhook."""
        body = json.dumps({"type": "order.cancelled", "data": {"order_id": self._new_order()}})
        return self._call("POST", "/webhooks/cancellations", body, self._sign_webhook)

    def _new_order(self) -> int:
        with self._numbering:  # two clicks are two orders
            numbers = [int(number) for number in self.stack.clopos.statuses() if number.isdecimal()]
            order_id = max((number for number in numbers if number < MISSING_ORDER), default=0) + 1
            self.stack.clopos.add_order(order_id)
        return order_id

    def _call(self, method: str, path: str, body: str, auth: AuthBase) -> str:
        """Call the API in a session of its own: several calls may wait for their answers at a time."""
        with requests.Session() as session:
            session.trust_env = False  # neither a proxy nor a .netrc
            try:
                answer = session.request(
                    method,
                    self.stack.outputs["ApiUrl"] + path,
                    data=body,
                    headers={"Content-Type": "application/json"},
                    auth=auth,
                    timeout=PATIENCE_S,
                )
            except requests.RequestException as error:  # the stack is ending, or an answer takes too long
                return f"{method} {path}: {type(error).__name__}"
        took_s = answer.elapsed.total_seconds()
        return f"{method} {path}: {answer.status_code} {answer.reason} in {took_s:.2f} s"

    def answer_with(self, fault: str) -> str:
        """Let Clopos answer every PUT with one of `FAULTS` from now on; as ever where it is none of them."""
        self.stack.clopos.heal()
        if fault in FAULTS:
            self.stack.clopos.fail_all(FAULTS[fault])
        self._fault = fault
        return f"Clopos answers every PUT: {fault}"

    def revoke_tokens(self) -> str:
        """Let Clopos forget every token that it has issued."""
        self.stack.clopos.revoke_tokens()
        return "Clopos has forgotten every token"

    def redrive(self) -> str:
        """Move the messages that the dead-letter queue hands out back to the queue."""
        messages = self._peek(hidden_s=PATIENCE_S)
        for message in messages:
            self._sqs.send_message(
                QueueUrl=self.stack.outputs["QueueUrl"],
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            self._sqs.delete_message(
                QueueUrl=self.stack.outputs["DeadLetterQueueUrl"], ReceiptHandle=message["ReceiptHandle"]
            )
        return f"{len(messages)} back on the queue"


def _is_result(record: Json) -> bool:
    return "outcome" in record or record.get("message", "").startswith("webhook ")


def _reason(message: Json) -> Json:
    attributes = {
        name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "code": attributes.get("ErrorCode", "received too often"),  # else SQS itself has moved it
        "message": attributes.get("ErrorMessage", ""),
        "body": message["Body"],
    }


def _source(result: Json) -> str:
    return str(result.get("source", "webhook"))


def _bars(segment: Json, source: str, depth: int = 0) -> Iterator[Json]:
    http = segment.get("http", {})
    annotations = segment.get("annotations", {})
    label = segment["name"].replace("##", source)
    if http:
        url = http["request"]["url"]
        answer = http.get("response", {}).get("status", "no answer")
        label = f"{http['request']['method']} {url[url.find('/', 8) :]}: {answer}"
    elif "outcome" in annotations:
        label += f": {annotations['outcome']}"
    is_failed = any(segment.get(flag) for flag in ("error", "fault", "throttle"))
    yield {
        "label": label,
        "depth": depth,
        "start": segment["start_time"],
        "end": segment.get("end_time", segment["start_time"]),
        "kind": "failed" if is_failed else "remote" if http else "own",
    }
    for inner in segment["subsegments"]:
        yield from _bars(inner, source, depth + 1)


# What is shown. Everything here may hold what a sender wrote, so all of it is escaped.


def _orders(seen: Json) -> str:
    return "".join(
        f"<span class='order {escape(status)}'>{escape(order_id)} <b>{escape(status)}</b></span>"
        for order_id, status in seen["orders"].items()
    )


def _counts(seen: Json) -> str:
    queue = seen["queue"]
    tiles = {
        "waiting": queue["ready"],
        "in flight or backing off": queue["hidden"],
        "dead-lettered": queue["dead"],
    }
    tiles |= {f"orders {status}": count for status, count in sorted(seen["statuses"].items(), reverse=True)}
    if "clopos" in seen:
        tiles["Clopos answers"] = seen["clopos"]
    return "".join(f"<div><b>{escape(str(tile))}</b>{escape(name)}</div>" for name, tile in tiles.items())


def _results(seen: Json, chosen: str) -> str:
    rows = []
    for result in seen["results"]:
        outcome = result.get("outcome") or result["message"].removeprefix("webhook ")
        cells = (
            f"{datetime.fromtimestamp(result['at']):%H:%M:%S}",
            _source(result),
            result.get("order_id"),
            outcome,
            result.get("result", result).get("error"),
            result.get("attempts"),
            f"{result['duration_ms']} ms" if "duration_ms" in result else None,
        )
        kind = "chosen " * (result["id"] == chosen) + escape(outcome)
        rows.append((f"class='{kind}' data-id='{result['id']}' tabindex='0'", cells))
    return _table("time source order outcome error attempts duration", rows, "Send an order.")


def _dead(seen: Json) -> str:
    rows = [("", [message[key] for key in ("code", "message", "body")]) for message in seen["dead"]]
    return _table("ErrorCode ErrorMessage body", rows, "Empty.")


def _alarms(seen: Json) -> str:
    rows = []
    for alarm in seen["alarms"]:
        value = "" if alarm["value"] is None else f"{alarm['value']:.0f}"
        tip = escape(f"{alarm['metric']} {alarm['breached']}: {alarm['help']}")
        rows.append(
            (
                f"class='{alarm['state']}' title='{tip}'",
                (alarm["name"], value, alarm["breached"], STATES[alarm["state"]]),
            )
        )
    return _table("alarm now breached state", rows, "")


def _table(heads: str, rows: Sequence[tuple[str, Sequence[Any]]], empty: str) -> str:
    head = "".join(f"<th>{name}" for name in heads.split())
    body = "".join(
        f"<tr {attributes}>" + "".join(f"<td>{'' if cell is None else escape(str(cell))}" for cell in cells)
        for attributes, cells in rows
    )
    return f"<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>" + (
        "" if rows else f"<p>{empty}</p>"
    )


def _trace(bars: list[Json]) -> str:
    if not bars:
        return "<p>No trace has arrived.</p>"
    start, end = min(bar["start"] for bar in bars), max(bar["end"] for bar in bars)
    scale = 100 / max(end - start, 0.001)  # percent a second; 1 ms where a trace has no length at all
    rows = []
    for bar in bars:
        took = bar["end"] - bar["start"]
        place = f"left:{(bar['start'] - start) * scale:.2f}%;width:{took * scale:.2f}%"
        rows.append(
            f"<div class='span {bar['kind']}'><label style='padding-left:{bar['depth']}rem'>"
            f"{escape(bar['label'])}</label><div><i style='{place}'></i></div>"
            f"<b>{took * 1000:.1f} ms</b></div>"
        )
    return "".join(rows)


STYLE = """
.nicegui-content { max-width: 1400px; margin: auto; padding: 1.25rem; gap: 1rem; color: #1f2933; }
h1 { font-size: 1.4rem; line-height: 2rem; font-weight: 600; }
h2 { font-size: .85rem; line-height: 1.4rem; font-weight: 600; color: #52606d; margin-bottom: .3rem; }
.page { display: grid; grid-template-columns: minmax(0, 1fr) 400px; gap: 1rem; width: 100%; }
.page > div { display: flex; flex-direction: column; gap: 1rem; min-width: 0; }
.box, .counts > div { border: 1px solid #d9e2ec; border-radius: 6px; padding: .7rem 1rem; background: #fff; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; width: 100%; }
.controls .q-btn { margin-right: .4rem; }
.counts { display: flex; gap: 1rem; width: 100%; font-size: .8rem; color: #52606d; }
.counts > div { flex: 1; }
.counts b { display: block; font-size: 1.6rem; line-height: 2rem; font-weight: 600; color: #1f2933; }
.box table { width: 100%; border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
.box th { text-align: left; font-weight: 500; color: #7b8794; padding: .15rem .75rem .15rem .4rem; }
.box td { border-top: 1px solid #e4e7eb; padding: .25rem .75rem .25rem .4rem; vertical-align: top; }
.box p { color: #7b8794; font-size: .82rem; padding: .25rem .4rem; }
.dead td { overflow-wrap: anywhere; }
.results tr[data-id] { cursor: pointer; }
.results .chosen { background: #e6f0fa; }
.alarms .INSUFFICIENT_DATA td:last-child { color: #7b8794; }
.alarms td:last-child, .results td:nth-child(4) { font-weight: 500; }
.cancelled td:nth-child(4), .accepted td:nth-child(4), .OK td:last-child { color: #18794e; }
.rejected td:nth-child(4), .failed td:nth-child(4), .refused td:nth-child(4), .ALARM td { color: #c62828; }
.deferred td:nth-child(4) { color: #a15c00; }
.orders { display: grid; grid-template-columns: repeat(3, 1fr); gap: .35rem; }
.order { border-radius: 4px; padding: .05rem .45rem; font-size: .78rem; background: #eef2f6; }
.order b { font-weight: 500; color: #7b8794; }
.order.IGNORE, .order.IGNORE b { background: #e0f3e9; color: #18794e; }
.span { display: grid; grid-template-columns: 270px 1fr 80px; align-items: center; gap: .75rem;
        padding: 0 .4rem; font-size: .82rem; line-height: 1.6rem; font-variant-numeric: tabular-nums; }
.span label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.span div { position: relative; height: .8rem; background: #f0f4f8; }
.span i { position: absolute; height: 100%; min-width: 3px; border-radius: 2px; background: #5b8def; }
.span.remote i { background: #2e9e6b; }
.span.failed i { background: #d93025; }
.span.waiting i { background: repeating-linear-gradient(45deg, #cbd2d9 0 4px, #f0f4f8 4px 8px); }
.span b { font-weight: 400; text-align: right; }
"""
# A click (or Enter) anywhere in a row tells which it was.
ROW = "e => { const row = e.target.closest('[data-id]'); if (row) emit(row.dataset.id); }"


class View:
    """The page in one browser."""

    def __init__(self, watch: Watch, watching: ThreadPoolExecutor) -> None:
        self._watch = watch
        self._watching = watching
        self._chosen = ""  # else the newest result's trace is shown
        ui.add_css(STYLE)
        with ui.row().classes("w-full items-baseline justify-between"):
            ui.html("<h1>clopos-cancel on this machine</h1>", sanitize=False)
            ui.link("The API's description", "/api").classes("text-sm")
            self._told = ui.label().classes("told text-sm text-gray-600")
        with ui.element().classes("controls box"):
            self._controls()
        self._counts = ui.html(sanitize=False).classes("counts")
        with ui.element().classes("page"):
            with ui.element():
                self._results = self._box("Last results", "results")
                self._results.on("click", self._choose, js_handler=ROW)
                self._results.on("keydown.enter", self._choose, js_handler=ROW)
                self._trace = self._box("Trace of the chosen result", "trace")
                self._dead = self._box("Dead-letter queue", "dead")
            with ui.element():
                self._alarms = self._box("Alarms of template.yaml", "alarms")
                if watch.has_simulator:
                    self._orders = self._box(
                        f"Orders at Clopos: the last {SHOWN_ORDERS} that changed", "orders"
                    )
        ui.timer(REFRESH_S, self._refresh)

    def _box(self, title: str, name: str) -> ui.html:
        with ui.element().classes("box"):
            ui.html(f"<h2>{title}</h2>", sanitize=False)
            return ui.html(sanitize=False).classes(name)

    def _controls(self) -> None:
        watch = self._watch
        groups: dict[str, dict[str, Callable[[], str]]] = {}
        if watch.has_simulator:
            groups["Cancel a new order"] = {
                "by API": watch.send_by_api,
                "by queue": watch.send_by_queue,
                "by webhook": watch.send_by_webhook,
                "that does not exist": partial(watch.send_by_queue, MISSING_ORDER),
            }
            groups["Let Clopos answer with"] = {
                **{fault: partial(watch.answer_with, fault) for fault in FAULTS},
                "revoked token": watch.revoke_tokens,
                "mend": partial(watch.answer_with, AS_EVER),
            }
        groups["Dead-letter queue"] = {"redrive": watch.redrive}
        for title, buttons in groups.items():
            with ui.element():
                ui.html(f"<h2>{title}</h2>", sanitize=False)
                for name, action in buttons.items():
                    color = "positive" if name == "mend" else "primary"
                    ui.button(name, on_click=partial(self._act, action)).props(
                        f"outline dense no-caps padding='2px 10px' color={color}"
                    )

    async def _act(self, action: Callable[[], str]) -> None:
        if action == self._watch.redrive:
            self._told.text = await self._watching_do(action)
        else:
            self._told.text = await run.io_bound(action)

    async def _choose(self, event: events.GenericEventArguments) -> None:
        self._chosen = event.args
        await self._refresh()

    async def _watching_do(self, work: Callable[[], T]) -> T:
        """Do it on the one thread that reads the stack, in turn, whatever `run.io_bound` is busy with."""
        return await asyncio.get_running_loop().run_in_executor(self._watching, work)

    async def _refresh(self) -> None:
        """Show what there is now; the browser is sent what has changed."""
        seen = await self._watching_do(self._watch.snapshot)
        results = {result["id"]: result for result in seen["results"]}
        chosen = self._chosen if self._chosen in results else next(iter(results), "")
        contents = {
            self._counts: _counts(seen),
            self._results: _results(seen, chosen),
            self._trace: _trace(self._watch.spans(results[chosen]) if chosen else []),
            self._dead: _dead(seen),
            self._alarms: _alarms(seen),
        }
        if self._watch.has_simulator:
            contents[self._orders] = _orders(seen)
        for element, content in contents.items():
            if element.content != content:
                element.content = content


def _describe_api(app: FastAPI) -> None:
    """Serve docs/openapi.json, rendered by the Swagger UI that Powertools brings, at /api."""
    app.mount("/swagger-ui", StaticFiles(directory=Path(swagger_ui.__file__).parent))
    app.mount("/docs", StaticFiles(directory=ROOT / "docs"))

    @app.get("/api")
    def show() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/docs/openapi.json",
            title="clopos-cancel: the API",
            swagger_js_url="/swagger-ui/swagger-ui-bundle.min.js",
            swagger_css_url="/swagger-ui/swagger-ui.min.css",
            swagger_favicon_url="/favicon.ico",
            swagger_ui_parameters={"supportedSubmitMethods": []},  # it cannot sign
        )


@contextlib.contextmanager
def serve(stack: LocalStack, traces: Traces, port: int = 0) -> Iterator[str]:
    """Serve the page on a port (0: any free one) in a thread of its own, and yield its address.

    NiceGUI keeps its pages for as long as a process lives: there can be one of these in it.
    """
    watch, app = Watch(stack, traces), FastAPI(openapi_url=None)
    # The page has buttons and no password: a site whose name leads here must not get to press them.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    with ThreadPoolExecutor(1) as watching, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()  # who calls before the server is up waits for it

        @ui.page("/")
        def show() -> None:
            View(watch, watching)

        _describe_api(app)
        ui.run_with(app, title="clopos-cancel", show_welcome_message=False)
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=SHUTDOWN_S)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
