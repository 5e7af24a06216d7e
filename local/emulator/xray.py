"""An X-Ray daemon that keeps the segments that it receives, instead of sending them to AWS."""

import json
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Self

from local.common import HOST

Json = dict[str, Any]

MAX_DATAGRAM_BYTES = 65_535  # both X-Ray and UDP allow at most 64 KiB
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # what the kernel can buffer while this process is busy
KEPT_TRACES = 1000  # enough for an hour of manual use


def open_daemon() -> socket.socket:
    """Return a socket, on any free port, that receives what is sent to an X-Ray daemon."""
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.bind((HOST, 0))
    return daemon


def address(daemon: socket.socket) -> str:
    """Return a daemon's address, in the form that `AWS_XRAY_DAEMON_ADDRESS` takes."""
    host, port = daemon.getsockname()
    return f"{host}:{port}"


class Traces:
    """The daemon, for as long as the ``with`` block lasts, and the traces that it has received.

    Its `address` is the value of `AWS_XRAY_DAEMON_ADDRESS` for the functions.
    """

    def __init__(self) -> None:
        self._documents: OrderedDict[str, dict[str, Json]] = OrderedDict()  # by the ids of trace and segment
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._socket = open_daemon()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.address = address(self._socket)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())  # an empty datagram ends the thread
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        """Store the segments: a line that names the format, followed by the segment as JSON."""
        while datagram := self._socket.recv(MAX_DATAGRAM_BYTES):
            try:
                document = json.loads(datagram.partition(b"\n")[2])
                trace_id, segment_id = document["trace_id"], document["id"]
            except (ValueError, KeyError, TypeError):  # not a segment, or cut; the sender expects no answer
                continue
            with self._lock:
                # A segment may be sent twice: the later one is complete.
                self._documents.setdefault(trace_id, {})[segment_id] = document
                self._documents.move_to_end(trace_id)
                while len(self._documents) > KEPT_TRACES:
                    self._documents.popitem(last=False)

    def trace(self, trace_id: str) -> list[Json]:
        """Return the roots of a trace. Each segment has its `subsegments`, in order of time."""
        with self._lock:
            documents = list(self._documents.get(trace_id, {}).values())
        segments = {segment["id"]: segment for document in documents for segment in _copies(document)}
        roots: list[Json] = []
        for segment in sorted(segments.values(), key=lambda segment: float(segment["start_time"])):
            parent = segments.get(segment.get("parent_id", ""))
            (roots if parent is None else parent["subsegments"]).append(segment)
        return roots

    def text(self) -> str:
        """Return everything that was received as JSON text, for searching."""
        with self._lock:
            return json.dumps(list(self._documents.values()))


def _copies(segment: Json, parent_id: str | None = None) -> Iterator[Json]:
    """Yield the segment and all of its nested subsegments as a flat list, each with the id of its parent."""
    parent = {"parent_id": parent_id} if parent_id else {}
    yield {**segment, **parent, "subsegments": []}
    for subsegment in segment.get("subsegments", []):
        yield from _copies(subsegment, segment["id"])
