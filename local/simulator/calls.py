"""The record of a call."""

import dataclasses

from requests.structures import CaseInsensitiveDict

from local.simulator.answers import Json


@dataclasses.dataclass
class Call:
    """One call that the simulator received."""

    method: str
    path: str  # as on the request line, with the query
    order_id: str | None
    headers: CaseInsensitiveDict[str] = dataclasses.field(repr=False)  # includes the token
    body: str = dataclasses.field(repr=False)  # may contain credentials
    time: float  # monotonic
    client_port: int  # calls with the same port came on the same connection
    status: int | None = None  # None if no complete answer was sent
    fault: str | None = None

    def __post_init__(self) -> None:
        self.headers = CaseInsensitiveDict(self.headers)

    def as_json(self) -> Json:
        """Return the fields, for the controls."""
        return vars(self) | {"headers": dict(self.headers)}
