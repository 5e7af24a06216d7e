"""The settings of the simulator."""

import dataclasses
from typing import Any

from local.simulator.refusals import STATES, STYLES, VOCABULARIES

BASE_PATH = "/open-api/v2"
CREDENTIALS = {
    "client_id": "local-client",
    "client_secret": "not-a-real-secret",
    "brand": "local-brand",
    "integrator_id": "local-integrator",
}


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Settings:
    """The state of Clopos. Each field is also an option of the command line."""

    quota: int = _option(300, "authenticated calls per window, for each integrator and brand")
    failed_quota: int = _option(600, "failed calls per window, for each client IP")
    auth_quota: int = _option(60, "calls of /auth per window, for each client IP")
    window: float = _option(60.0, "the sliding window in seconds; under 60, RateLimit-Reset has decimals")
    token_lifetime: float = _option(3600.0, "seconds, rounded up to a whole Unix second")
    latency: float = _option(0.0, "seconds before every answer about an order")
    auth_latency: float = _option(0.0, "seconds before every answer of /auth")
    venue_id: int = _option(1, "venue that tokens are issued for")
    strict: bool = _option(
        False, "reject a PUT to an order that is already IGNORE, with the same 400 as for other statuses"
    )
    state: str = _option("ok", f"configuration of the brand, one of: {' '.join(STATES)}")
    style: str = _option(
        "", f"form of every refusal, one of: {' '.join(STYLES)}; empty for the documented one"
    )
    vocabulary: str = _option(
        "errors", f"which documentation refusals follow, one of: {' '.join(VOCABULARIES)}"
    )
    seed_orders: int = _option(0, "start with this many pending orders, 1 to N")

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state is one of {list(STATES)}")
        if self.style not in ("", *STYLES):
            raise ValueError(f"style is one of {list(STYLES)}, or empty")
        if self.vocabulary not in VOCABULARIES:
            raise ValueError(f"vocabulary is one of {list(VOCABULARIES)}")
