"""Faults: wrong or unusual answers to one call or several."""

import dataclasses
from typing import Any

from local.simulator.answers import Answer, Headers, Json
from local.simulator.delivery import DELIVERIES
from local.simulator.encodings import ENCODINGS
from local.simulator.variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Fault:
    """How one call, or several, is answered.

    Without `status` and `body`, Clopos gives its own (usual) answer, and the other parameters change its
    content or its delivery.

    Parameters
    ----------
    status, body
        The answer. A string is sent as UTF-8, bytes unchanged, and anything else as JSON. A text can repeat
        values of the call: see `local.simulator.echoes`.
    headers
        Added to the answer or, if None, removed from it.
    delay
        Seconds before the answer.
    processed
        Whether the order is cancelled. None: only if Clopos's own answer is sent.
    variant
        One of `VARIANTS`: another form of Clopos's own answer.
    data
        Replaces fields of ``data`` in Clopos's own answer. The order itself is not changed.
    encoding
        One of `ENCODINGS`: a content coding, valid or not.
    interim
        Statuses of interim (1xx) answers that are sent first.
    delivery
        One of `DELIVERIES`: how the answer is sent.
    surplus
        The bytes that some deliveries send after the answer. None: a complete answer that says that the
        order of this call is cancelled.
    interval
        Seconds between two parts of the delivery: two bytes of a drip, an interim answer and the next one,
        the answer and its surplus. With 0 everything is sent together.
    repeat
        How many calls get this fault; None: all that follow.
    name
        The value of `Call.fault`.
    """

    status: int | None = None
    body: Any = None
    headers: Headers = dataclasses.field(default_factory=dict)
    delay: float = 0.0
    processed: bool | None = None
    variant: str | None = None
    data: Json = dataclasses.field(default_factory=dict)
    encoding: str | None = None
    interim: tuple[int, ...] = ()
    delivery: str = "whole"
    surplus: str | bytes | None = None
    interval: float = 1.0
    repeat: int | None = 1
    name: str = "scripted"

    def __post_init__(self) -> None:
        for field, value, known in (
            ("variant", self.variant, VARIANTS),
            ("encoding", self.encoding, ENCODINGS),
            ("delivery", self.delivery, DELIVERIES),
        ):
            if value is not None and value not in known:
                raise ValueError(f"{field} is one of {list(known)}")
        if not all(100 <= status < 200 for status in self.interim):
            raise ValueError("interim statuses are 100 to 199")
        Answer(body=self.body).content()  # raises ValueError or TypeError if it cannot be sent
        if self.repeat is not None and self.repeat < 1:
            raise ValueError("repeat is at least 1, or None for no end")

    @property
    def answers_itself(self) -> bool:
        """Whether the fault has an answer of its own, instead of changing Clopos's."""
        return self.status is not None or self.body is not None


AnyFault = Fault | Json | str  # a fault, its fields, or its name in the catalogue
