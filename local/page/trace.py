"""Turn the X-Ray traces of one order into the bars of a timeline."""

import re
from collections.abc import Iterator
from typing import Any

from local.emulator.xray import Traces

Json = dict[str, Any]

SHORTEST_S = 0.001  # the duration to draw for a trace that took no measurable time


def trace_of(result: Json, traces: Traces) -> list[Json]:
    """Return the bars of a result's trace.

    A bar has `label`, `depth`, `kind` (``own``, ``remote``, ``waiting`` or ``failed``), `ms`, and `left` and
    `width` in percent of the whole.

    Parameters
    ----------
    result : dict
        A line of a function's log.
    traces : Traces
        The received segments.
    """
    sent = re.match(r"Root=([\w-]+)", result.get("message_trace") or "")
    sources = {sent[1]: "webhook"} if sent else {}
    sources[result.get("xray_trace_id", "")] = result.get("source", "webhook")
    bars: list[Json] = []
    for trace_id, source in sources.items():
        # A batch is one trace: leave out the other orders in it.
        roots = [
            root
            for root in traces.trace(trace_id)
            if root.get("annotations", {}).get("order_id") in (None, result.get("order_id"))
        ]
        if bars and roots:
            start, end = bars[0]["end"], max(bars[0]["end"], roots[0]["start_time"])
            bars.append({"label": "queue", "depth": 0, "start": start, "end": end, "kind": "waiting"})
        for root in roots:
            bars += _bars(root, source)
    return _to_scale(bars)


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


def _to_scale(bars: list[Json]) -> list[Json]:
    start = min((bar["start"] for bar in bars), default=0)
    whole_s = max((bar["end"] - start for bar in bars), default=0)
    percent = 100 / max(whole_s, SHORTEST_S)
    return [
        {
            "label": bar["label"],
            "depth": bar["depth"],
            "kind": bar["kind"],
            "ms": (bar["end"] - bar["start"]) * 1000,
            "left": (bar["start"] - start) * percent,
            "width": (bar["end"] - bar["start"]) * percent,
        }
        for bar in bars
    ]
