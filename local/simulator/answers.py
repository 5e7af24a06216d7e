"""A call to the simulated Clopos, and an answer of it."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from requests.structures import CaseInsensitiveDict

Json = dict[str, Any]
Headers = dict[str, str | None]  # None removes a header that would be sent otherwise


@dataclasses.dataclass
class Call:
    """One call that the simulator received."""

    method: str
    path: str  # as on the request line, with the query
    order_id: str | None
    headers: Mapping[str, str] = dataclasses.field(repr=False)  # ignores case; includes the token
    body: str = dataclasses.field(repr=False)  # may contain credentials
    time: float  # monotonic
    status: int | None = None  # None if no complete answer was sent
    fault: str | None = None

    def __post_init__(self) -> None:
        self.headers = CaseInsensitiveDict(self.headers)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer of Clopos."""

    status: int = 200
    body: Any = ""  # a text or bytes are sent as they are, anything else as JSON
    headers: Headers = dataclasses.field(default_factory=dict)  # besides Content-Type

    def all_headers(self) -> dict[str, str]:
        """Return the headers to send, without those of the framing."""
        headers = {"Content-Type": "application/json", **self.headers}
        return {name: value for name, value in headers.items() if value is not None}

    def content(self) -> bytes:
        """Return the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        # In the JSON of the controls, bytes that are not UTF-8 are represented by surrogate escapes.
        return text.encode("utf-8", "surrogateescape")


def timestamp(unix: float) -> str:
    """Return Unix seconds in the format of Clopos's timestamps."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def json_object(text: str) -> Json:
    """Return the JSON object in a text; an empty one if there is none."""
    try:
        value = json.loads(text)
    except ValueError:  # Clopos treats what is not JSON like an object without fields
        return {}
    return value if isinstance(value, dict) else {}
