"""Every way in which a cancellation can fail: what it is called, whose fault it is, what to answer."""

from dataclasses import dataclass
from traceback import format_tb
from typing import Any, NamedTuple

from cancellation.telemetry import logger

# API Gateway and SQS attributes take far more; a person reads no further.
MESSAGE_LIMIT_CHARS = 500


class Kind(NamedTuple):
    """What follows from one error code.

    Attributes
    ----------
    status : int
        HTTP status of the answer.
    retryable : bool
        Whether the same API call may succeed later without anybody changing anything.
    message_at_fault : bool
        Whether the request itself is wrong, so that a queue must not try it again.
    retry_after_s : int
        Seconds that a caller is asked to wait where Clopos named no time of its own.
    """

    status: int
    retryable: bool
    message_at_fault: bool
    retry_after_s: int = 0


# The table of the contract. Both triggers read it; no rule about an error stands anywhere else.
KINDS = {
    "invalid_request": Kind(400, retryable=False, message_at_fault=True),
    "unauthenticated": Kind(401, retryable=False, message_at_fault=True),
    "order_not_found": Kind(404, retryable=False, message_at_fault=True),
    "order_not_cancellable": Kind(409, retryable=False, message_at_fault=True),
    "rate_limited": Kind(429, retryable=True, message_at_fault=False, retry_after_s=60),
    "clopos_access_denied": Kind(502, retryable=False, message_at_fault=False),
    "clopos_bad_response": Kind(502, retryable=True, message_at_fault=False, retry_after_s=30),
    "clopos_unavailable": Kind(503, retryable=True, message_at_fault=False, retry_after_s=10),
    "token_unavailable": Kind(503, retryable=True, message_at_fault=False, retry_after_s=30),
    "service_unavailable": Kind(503, retryable=True, message_at_fault=False, retry_after_s=10),
    "clopos_timeout": Kind(504, retryable=True, message_at_fault=False, retry_after_s=10),
    "internal_error": Kind(500, retryable=True, message_at_fault=False, retry_after_s=30),
}


@dataclass(eq=False)
class CancelError(Exception):
    """A cancellation that failed for a known reason.

    Parameters
    ----------
    code : str
        A key of `KINDS`.
    message : str
        For a person; never holds a token, a credential or a signature.
    upstream : dict, optional
        What Clopos said (`status`, `error`, `message`); None where it was not reached.
    retry_after_s : float, optional
        Seconds that Clopos asked us to wait.
    """

    code: str
    message: str
    upstream: dict[str, Any] | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def kind(self) -> Kind:
        """What follows from the code."""
        return KINDS[self.code]

    def envelope(self, request_id: str) -> dict[str, Any]:
        """Return the error as a JSON-serializable answer in Clopos's own envelope."""
        return {
            "success": False,
            "error": self.code,
            "message": self.message,
            "retryable": self.kind.retryable,
            "request_id": request_id,
            "upstream": self.upstream,
        }


def internal_error(exc: Exception) -> CancelError:
    """Log a bug of ours, and return what a caller is told of it.

    The log says where it happened, without its text: that may quote a header, and so a token or a signature.
    """
    logger.error("unexpected error", error=type(exc).__name__, stack=format_tb(exc.__traceback__))
    return CancelError("internal_error", "an error of ours; the log of this request says where")


def printable(text: str) -> str:
    """Return `text` cut to what any log or SQS attribute takes: one line, no control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MESSAGE_LIMIT_CHARS])
