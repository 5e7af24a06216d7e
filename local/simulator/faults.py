"""Faults: how Clopos and the network fail, and what the two triggers make of it."""

import dataclasses
from typing import Any, Literal, NamedTuple

from local.simulator.answers import Answer, Headers, Json
from local.simulator.refusals import REFUSALS, STYLES, refuse
from local.simulator.wire import WIRES


@dataclasses.dataclass(frozen=True)
class Fault:
    """How one call, or several, is answered.

    Without `status` and `body`, Clopos gives its own (usual) answer, and the rest changes its content or its
    delivery. A body of text can quote values of the call: see `local.simulator.quotes`.
    """

    status: int | None = None
    body: Any = None  # a text is sent as UTF-8, bytes unchanged, and anything else as JSON
    headers: Headers = dataclasses.field(default_factory=dict)  # added to the answer; None removes one
    delay: float = 0.0  # seconds before the answer
    processed: bool | None = None  # is the order cancelled? None: only if Clopos's own answer is sent
    data: Json = dataclasses.field(default_factory=dict)  # replaces fields in the answer, not in the order
    wire: str = ""  # one of `WIRES`: how HTTP is broken
    interval: float = 1.0  # seconds between two parts, if HTTP is broken in parts
    second: str = ""  # a second answer as it travels; empty for one that says that the order is cancelled
    repeat: int | None = 1  # how many calls get this fault; None: all that follow
    name: str = "scripted"  # the value of `Call.fault`

    def __post_init__(self) -> None:
        if self.wire not in ("", *WIRES):
            raise ValueError(f"wire is one of {list(WIRES)}, or empty")
        Answer(body=self.body).content()  # raises ValueError or TypeError if it cannot be sent
        if self.repeat is not None and self.repeat < 1:
            raise ValueError("repeat is at least 1, or None for no end")

    @property
    def answers_itself(self) -> bool:
        """Whether the fault has an answer of its own, instead of changing Clopos's."""
        return self.status is not None or self.body is not None


AnyFault = Fault | Json | str  # a fault, its fields, or its name


def refusal(name: str, style: str = "", objects_status: int = 0) -> Fault:
    """Return a refusal as a fault; the arguments are those of `refuse`."""
    fields = {"expires_at": "2026-01-08T06:05:32.000000Z"} if name == "token_expired" else {}
    answer = refuse(name, style, objects_status, **fields)
    headers: Headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"} if answer.status == 429 else {}
    return Fault(answer.status, answer.body, headers, name=f"{name}:{style}" if style else name)


def quoting(value: str, form: str = "whole", status: int = 401) -> Fault:
    """Return a fault that quotes a value of the call: name and form are those of `local.simulator.quotes`."""
    text = f"The value {{{value}:{form}}} is not valid for this brand"
    body = {"success": False, "error": "unauthorized", "message": text}
    return Fault(status, body, name=f"quotes_{value}:{form}")


Fate = Literal["done", "deferred", "dead-lettered"]


class Row(NamedTuple):
    """What comes of a fault that every PUT of a pending order gets."""

    fault: Fault
    does: str  # what Clopos or the network does
    error: str  # the error code of an API call; empty if the order is reported as cancelled
    fate: Fate  # what becomes of a message


_PROXY: Headers = {"Content-Type": "text/html", "RateLimit-Limit": None, "RateLimit-Remaining": None}
_OLDER = {"success": True, "data": {"id": "{order_id}", "status": "IGNORE"}, "unix": 1761211989}
_LIVE = {"integration_id": 4711, "integration_response": "accepted", "receipt_id": 10950, "deleted_at": None}
_NOT_FOUND, _DENIED, _LIMITED = "order_not_found", "clopos_access_denied", "rate_limited"
_BAD, _DOWN, _TIMEOUT = "clopos_bad_response", "clopos_unavailable", "clopos_timeout"
# A message younger than two minutes is deferred even if there is no order: it may come yet.
_ROWS: list[tuple[str, str, str, Fault | None]] = [
    # name, what Clopos or the network does, the error code of an API call, the fault (None: a refusal)
    ("not_found", "knows no such order", _NOT_FOUND, None),
    ("model_not_found", "knows no such order, and says so in a list of objects", _NOT_FOUND, None),
    ("status_not_allowed", "refuses an order though it is pending", _BAD, None),
    ("rate_limited", "says that the quota is used up", _LIMITED, None),
    ("invalid_token", "rejects the token, and the next one as well", _DENIED, None),
    ("token_expired", "says that the token has expired, and the next one as well", _DENIED, None),
    ("unauthorized", "does not say why it rejects the token", _DENIED, None),
    ("quotes_token", "quotes the token in an error", _DENIED, quoting("token")),
    ("quotes_inner_token", "quotes the token inside the token", _DENIED, quoting("inner_token", "upper")),
    ("client_disabled", "says that the restaurant has switched the client off", _DENIED, None),
    ("integrator_deactivated", "has deactivated the integrator, for all brands", _DENIED, None),
    ("test_mode_200", "says with status 200 that the integrator is in test mode", _DENIED, None),
    ("module_missing", "says that the brand has not subscribed to the module", _DENIED, None),
    ("staff_role", "says that the staff user behind the credentials lacks the right", _DENIED, None),
    ("server_error", "has a bug", _DOWN, None),
    ("unavailable", "is down, and says so", _DOWN, None),
    ("html", "is down, and its proxy answers", _DOWN, Fault(502, "<h1>Bad gateway</h1>", _PROXY)),
    ("html_200", "is under maintenance, with status 200", _BAD, Fault(200, "<h1>Maintenance</h1>", _PROXY)),
    ("empty", "answers with nothing", _BAD, Fault(200, "")),
    ("redirect", "sends the caller to a login page", _BAD, Fault(302, "", {"Location": "/login"})),
    ("another_order", "answers with another order", _BAD, Fault(data={"id": 999_108})),
    ("gateway_timeout", "waits 8 s for the system behind it, and gives up", _TIMEOUT, None),
    # The eight ways to break HTTP.
    ("reset", "resets the connection before an answer", _DOWN, Fault(wire="reset", processed=False)),
    ("lost_answer", "cancels, and resets the connection", _DOWN, Fault(wire="reset", processed=True)),
    ("reset_in_body", "resets the connection in mid-body", _DOWN, Fault(wire="reset_in_body", interval=0.05)),
    ("silence", "never answers", _TIMEOUT, Fault(wire="silence", processed=False)),
    ("silence_after", "cancels, and never answers", _TIMEOUT, Fault(wire="silence", processed=True)),
    ("drip", "sends one byte of the body a second", _TIMEOUT, Fault(wire="drip")),
    ("not_http", "does not speak HTTP", _DOWN, Fault(wire="not_http", processed=False)),
    ("truncated", "closes the connection before Content-Length", _DOWN, Fault(wire="truncated")),
    ("oversized", "answers with more than 1 MiB", _BAD, Fault(wire="oversized")),
    ("bomb", "answers with 8 MiB in 8 KiB of gzip", _BAD, Fault(wire="bomb")),
    ("second_answer", "sends a second answer on the connection", "", Fault(wire="second_answer")),
    # Not faults: what must not matter.
    ("older", "answers in the older documented form", "", Fault(200, _OLDER, processed=True)),
    ("live_fields", "answers with fields that are not documented", "", Fault(data=_LIVE)),
]
_FATES: dict[str, Fate] = {"": "done", _NOT_FOUND: "dead-lettered"}
FAULTS: dict[str, Row] = {
    name: Row(
        dataclasses.replace(fault or refusal(name), name=name), does, error, _FATES.get(error, "deferred")
    )
    for name, does, error, fault in _ROWS
}


def find(fault: AnyFault) -> Fault:
    """Return a fault, given as a `Fault`, as its fields, or by its name.

    A name is one in `FAULTS` or `REFUSALS`, or that of a refusal with a style, such as ``not_found:objects``.
    Raises ValueError or TypeError for anything else.
    """
    if isinstance(fault, Fault):
        return fault
    if isinstance(fault, dict):
        return Fault(**fault)
    if fault in FAULTS:
        return FAULTS[fault].fault
    name, _, style = fault.partition(":")
    if name not in REFUSALS or style not in ("", *STYLES):
        raise ValueError(f"no fault is named {fault!r}")
    return refusal(name, style)
