"""The page as one browser shows it."""

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import requests
from botocore.exceptions import BotoCoreError, ClientError
from nicegui import events, run, ui

from local.page.controls import ANSWERS, Controls
from local.page.watch import SHOWN_ORDERS, Watch

HERE = Path(__file__).parent
REFRESH_S = 1.0
AT_ONCE_S = 0.1  # an action that takes longer is shown as in progress
# A click anywhere in a row sends the row's id.
CHOSEN = "event => { const row = event.target.closest('[data-id]'); if (row) emit(row.dataset.id); }"
# The errors of boto3 and requests if the emulator or the simulator is being or has been stopped.
STOPPED = (BotoCoreError, ClientError, requests.RequestException)

templates = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True)
templates.filters["clock"] = lambda at: f"{datetime.fromtimestamp(at):%H:%M:%S}"
templates.filters["words"] = lambda name: re.findall("[A-Z]?[^A-Z]+|[A-Z]", name)  # lines may break there
regions: Any = templates.get_template("regions.html").module


class View:
    """Builds the page for a browser that has opened it, and refreshes it each second.

    Parameters
    ----------
    watch : Watch
        The data to show.
    controls : Controls
        The actions of the buttons.
    watching : ThreadPoolExecutor
        The single thread that uses `watch`.
    """

    def __init__(self, watch: Watch, controls: Controls, watching: ThreadPoolExecutor) -> None:
        self._watch = watch
        self._controls = controls
        self._watching = watching
        self._chosen = ""  # empty until the user chooses a result: then the newest one is shown
        self._is_stopped = False
        self._answers: dict[str, ui.html] = {}
        ui.add_css(HERE / "style.css")
        ui.add_body_html((HERE / "body.html").read_text())
        with ui.element("header"):
            ui.html("clopos-cancel on this machine", tag="h1")
            ui.link("API reference", "/api")
        with ui.element("section").classes("box controls").props("aria-label=Controls"):
            if watch.has_simulator:
                self._build_controls()
            self._status = ui.html(tag="p").classes("status").props("role=status aria-live=polite")
        self._tiles = ui.html(sanitize=False, tag="dl").classes("tiles")
        with ui.element().classes("columns"):
            with ui.element():
                self._results = self._box("Latest results", "results")
                self._results.on("click", self._choose, js_handler=CHOSEN)
                self._trace = self._box("Trace of the chosen result", "trace", "ul")
                self._dead_letters = self._box(
                    "Dead-letter queue",
                    "dead-letters",
                    buttons={"redrive all": controls.redrive, "delete all": controls.delete_dead_letters},
                )
                self._outcomes = self._box("Outcomes published on EventBridge", "outcomes")
            with ui.element():
                self._alarms = self._box("Alarms", "alarms")
                if watch.has_simulator:
                    self._orders = self._box(
                        f"Orders at Clopos (the last {SHOWN_ORDERS} that changed)", "orders", "ul"
                    )
        ui.timer(REFRESH_S, self._refresh)

    def _box(
        self, title: str, name: str, tag: str = "div", buttons: Mapping[str, Callable[[], None]] | None = None
    ) -> ui.html:
        with ui.element("section").classes("box").props(f"aria-labelledby={name}-title"):
            ui.html(title, tag="h2").props(f"id={name}-title")
            content = ui.html(sanitize=False, tag=tag).classes(name)
            for button, action in (buttons or {}).items():
                self._button(button, action)
        return content

    def _build_controls(self) -> None:
        controls = self._controls
        with self._group("Cancel a new order"):
            self._button("by API", controls.cancel_by_api)
            self._button("by queue", controls.cancel_by_queue)
            self._button("by webhook", controls.cancel_by_webhook)
            self._button("already accepted", controls.cancel_received)
            self._button("unknown to Clopos", controls.cancel_missing)
        with self._group("Let Clopos answer"):
            for answer in ANSWERS:
                self._answers[answer] = self._button(answer, partial(controls.answer_with, answer))
        with self._group("Tokens"):
            self._button("revoke", controls.revoke_tokens)

    def _group(self, title: str) -> ui.element:
        name = title.lower().replace(" ", "-")
        group = ui.element().classes("group").props(f"role=group aria-labelledby={name}-group")
        with group:
            ui.html(title, tag="h2").props(f"id={name}-group")
        return group

    def _button(self, name: str, action: Callable[[], None]) -> ui.html:
        button = ui.html(name, tag="button").props(f"type=button id={name.lower().replace(' ', '-')}")
        return button.on("click", partial(self._act, action), args=[])

    async def _act(self, action: Callable[[], None]) -> None:
        """Perform an action; if it takes long, show that it is in progress."""
        work = asyncio.create_task(run.io_bound(action))
        done, _ = await asyncio.wait([work], timeout=AT_ONCE_S)
        if not done:
            await self._refresh()
        try:
            await work
        except STOPPED as error:
            self._controls.say(f"That did not work: {error}")
        await self._refresh()

    async def _choose(self, event: events.GenericEventArguments) -> None:
        self._chosen = event.args
        await self._refresh()

    async def _refresh(self) -> None:
        """Show the current data; only the parts that have changed are sent to the browser."""
        loop = asyncio.get_running_loop()
        try:
            seen = await loop.run_in_executor(self._watching, self._watch.snapshot)
        except STOPPED:
            self._show_stopped(True)
            return
        self._show_stopped(False)
        results = [result["id"] for result in seen["results"]]
        chosen = self._chosen if self._chosen in results else next(iter(results), "")
        bars = await loop.run_in_executor(self._watching, self._watch.trace, chosen)
        answer = self._controls.answer if self._watch.has_simulator else ""
        contents = {
            self._status: str(jinja2.filters.do_forceescape(self._controls.status())),
            self._tiles: regions.tiles(seen, answer),
            self._results: regions.results(seen, self._controls.under_way(), chosen),
            self._trace: regions.trace(bars),
            self._dead_letters: regions.dead_letters(seen),
            self._outcomes: regions.outcomes(seen),
            self._alarms: regions.alarms(seen),
        }
        if self._watch.has_simulator:
            contents[self._orders] = regions.orders(seen)
        for element, content in contents.items():
            if element.content != content:
                element.content = content
        for name, button in self._answers.items():
            button.props(f"aria-pressed={'true' if name == answer else 'false'}")

    def _show_stopped(self, is_stopped: bool) -> None:
        if is_stopped != self._is_stopped:
            self._is_stopped = is_stopped
            ui.run_javascript(f"showStopped({'true' if is_stopped else 'false'})")
