"""The errors of a cancellation: their codes, whose fault they are, and how they are answered."""

from dataclasses import dataclass
from typing import Any, NamedTuple

# Enough for a person to read; API Gateway and SQS attributes allow far more.
MESSAGE_LIMIT_CHARS = 500


class ErrorKind(NamedTuple):
    """The rules for one error code."""

    status: int  # HTTP status of the answer
    retryable: bool  # whether the same API call may succeed later, with nothing changed
    is_final: bool  # whether trying again is pointless, so that a message goes to the dead-letter queue
    retry_after_s: int = 0  # that a caller is asked to wait if Clopos named no time of its own


# The error table of the API. All triggers use it; there are no rules about error codes anywhere else.
ERROR_KINDS = {
    "invalid_request": ErrorKind(400, retryable=False, is_final=True),
    "unauthenticated": ErrorKind(401, retryable=False, is_final=True),
    "order_not_found": ErrorKind(404, retryable=False, is_final=True),
    "order_not_cancellable": ErrorKind(409, retryable=False, is_final=True),
    "rate_limited": ErrorKind(429, retryable=True, is_final=False, retry_after_s=60),
    "clopos_access_denied": ErrorKind(502, retryable=False, is_final=False),
    "clopos_bad_response": ErrorKind(502, retryable=True, is_final=False, retry_after_s=30),
    "clopos_unavailable": ErrorKind(503, retryable=True, is_final=False, retry_after_s=10),
    "token_unavailable": ErrorKind(503, retryable=True, is_final=False, retry_after_s=30),
    "service_unavailable": ErrorKind(503, retryable=True, is_final=False, retry_after_s=10),
    "clopos_timeout": ErrorKind(504, retryable=True, is_final=False, retry_after_s=10),
    "internal_error": ErrorKind(500, retryable=True, is_final=False, retry_after_s=30),
}
# The errors of an outage: Clopos itself fails. All others concern the order or our access to Clopos.
OUTAGE_ERRORS = frozenset({"clopos_unavailable", "clopos_timeout"})


@dataclass(eq=False)
class CancelError(Exception):
    """A cancellation that failed for a known reason."""

    code: str  # a key of `ERROR_KINDS`
    message: str  # human-readable; never contains a token, a credential or a signature
    upstream: dict[str, Any] | None = None  # what Clopos said: `status`, `error`, `message`
    retry_after_s: float | None = None  # that Clopos asked us to wait
    order: dict[str, Any] | None = None  # `status` and `receipt_id` of an order that cannot be cancelled

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def kind(self) -> ErrorKind:
        """The rules for its code."""
        return ERROR_KINDS[self.code]

    def envelope(self, request_id: str) -> dict[str, Any]:
        """Return the error as a JSON-serializable answer in Clopos's own envelope."""
        envelope = {
            "success": False,
            "error": self.code,
            "message": self.message,
            "retryable": self.kind.retryable,
            "request_id": request_id,
            "upstream": self.upstream,
        }
        return envelope | {"order": self.order} if self.code == "order_not_cancellable" else envelope


def printable(text: str) -> str:
    """Return `text` in a form that is safe for logs and SQS attributes: short, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MESSAGE_LIMIT_CHARS])
