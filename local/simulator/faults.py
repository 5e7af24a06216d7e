"""A fault: how one call, or several, is answered instead of properly."""

import dataclasses
from typing import Any

from local.simulator.answers import Answer, Headers, Json
from local.simulator.delivery import DELIVERIES
from local.simulator.encodings import ENCODINGS
from local.simulator.variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Fault:
    """How one call, or several, is answered.

    Without `status` and `body`, Clopos answers as usual (its own answer), and the other parameters change
    what it says or how it travels.

    Parameters
    ----------
    status, body
        The answer. A string is sent as UTF-8, bytes as they are, and anything else as JSON. A text can repeat
        what the call sent: see `local.simulator.echoes`.
    headers
        Added to the answer or, if None, taken away from it.
    delay
        Seconds before the answer.
    processed
        Whether the order is cancelled. None: only if Clopos's own answer is sent.
    variant
        One of `VARIANTS`: another shape of the own answer.
    data
        Fields that replace those of ``data`` in the own answer. The order keeps its own.
    encoding
        One of `ENCODINGS`: a content coding, sound or broken.
    interim
        Statuses of interim (1xx) answers that are sent first.
    delivery
        One of `DELIVERIES`: how the answer travels.
    surplus
        What the deliveries that send further bytes after the answer send there. None: a whole answer by which
        this call's order is cancelled.
    interval
        Seconds between two parts of the delivery: two bytes of a drip, an interim answer and the next one,
        the answer and its surplus. With 0 all leave in one piece.
    repeat
        How many calls the fault lasts; None: for ever.
    name
        What `Call.fault` shows.
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
            raise ValueError("repeat is at least 1, or None for ever")

    @property
    def answers_itself(self) -> bool:
        """Whether the fault has an answer of its own, instead of changing Clopos's."""
        return self.status is not None or self.body is not None


AnyFault = Fault | Json | str  # as its fields; by its name in the catalogue
