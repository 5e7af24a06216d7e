"""The settings of the simulator."""

import dataclasses
import hashlib
from collections.abc import Callable

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


@dataclasses.dataclass(frozen=True)
class Settings:
    """The state of Clopos."""

    quota: int = 300  # authenticated calls per window, for each integrator and brand
    failed_quota: int = 600  # failed calls per window, for each client IP
    auth_quota: int = 60  # calls of /auth per window, for each client IP
    window: float = 60.0  # the sliding window in seconds; under 60, RateLimit-Reset has decimals
    token_lifetime: float = 3600.0  # seconds, rounded up to a whole Unix second
    latency: float = 0.0  # seconds before every answer about an order
    auth_latency: float = 0.0  # seconds before every answer of /auth
    read_lag: float = 0.0  # seconds for which a GET still shows a cancelled order as PENDING
    venue_id: int = 1  # that tokens are issued for
    strict: bool = False  # reject a PUT to an order that is already IGNORE
    state: str = "ok"  # one of `STATES`: the configuration of the brand
    style: str = ""  # one of `STYLES`: the form of every refusal; empty for the documented one
    objects_status: int = 0  # HTTP status of refusals in the style objects; 0 for their http_code
    vocabulary: str = "errors"  # one of `VOCABULARIES`: which documentation refusals follow
    expiry: str = "documented"  # one of `EXPIRIES`: how /auth says when a token expires
    for_browsers: str = ""  # "html" or "redirect": what a refused call gets unless it accepts JSON
    seed_orders: int = 0  # start with this many pending orders, 1 to N

    def __post_init__(self) -> None:
        for name, allowed in {
            "state": STATES,
            "style": ("", *STYLES),
            "vocabulary": VOCABULARIES,
            "expiry": EXPIRIES,
            "for_browsers": ("", "html", "redirect"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {list(allowed)}")
