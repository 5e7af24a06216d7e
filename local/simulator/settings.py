"""The settings of the simulator."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection
from typing import Any

from local.simulator.answers import Json
from local.simulator.refusals import STATES, STYLES, VOCABULARIES

BASE_PATH = "/open-api/v2"
CREDENTIALS = {
    "client_id": "local-client",
    # Not a literal: hypothesis draws those of local code, and an order id must not look like a leaked secret.
    "client_secret": hashlib.sha256(b"nobody's").hexdigest(),
    "brand": "local-brand",
    "integrator_id": "local-9d41c07e",
}

# How /auth says when a token expires, from its lifetime and its expiry in Unix seconds.
EXPIRIES: dict[str, Callable[[int, int], Json]] = {
    "documented": lambda lifetime, at: {"expires_in": lifetime, "expires_at": at},
    "text": lambda lifetime, at: {"expires_in": str(lifetime), "expires_at": str(at)},
    "expires_in": lambda lifetime, at: {"expires_in": lifetime},
    "milliseconds": lambda lifetime, at: {"expires_at": at * 1000},
    "absurd": lambda lifetime, at: {"expires_at": 10**400},
    "none": lambda lifetime, at: {},
}


def _option(default: Any, text: str, allowed: Collection[str] = ()) -> Any:
    text += f", one of: {' '.join(allowed)}" if allowed else ""
    return dataclasses.field(default=default, metadata={"help": text, "allowed": allowed})


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
    read_lag: float = _option(0.0, "seconds for which a GET still shows a cancelled order as PENDING")
    venue_id: int = _option(1, "venue that tokens are issued for")
    strict: bool = _option(False, "reject a PUT to an order that is already IGNORE")
    state: str = _option("ok", "configuration of the brand", STATES)
    style: str = _option("", "form of every refusal; empty for the documented one", ("", *STYLES))
    objects_status: int = _option(0, "HTTP status of refusals in the style objects; 0 for their http_code")
    vocabulary: str = _option("errors", "which documentation refusals follow", VOCABULARIES)
    expiry: str = _option("documented", "how /auth says when a token expires", EXPIRIES)
    for_browsers: str = _option(
        "", "what a refused call gets unless it accepts JSON", ("", "html", "redirect")
    )
    seed_orders: int = _option(0, "start with this many pending orders, 1 to N")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            allowed = field.metadata["allowed"]
            if allowed and getattr(self, field.name) not in allowed:
                raise ValueError(f"{field.name} is one of {list(allowed)}")
