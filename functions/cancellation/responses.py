"""HTTP answers of the API."""

import json
import math
from typing import Any

from aws_lambda_powertools.event_handler import Response

from cancellation.errors import CancelError

# Nobody may keep an answer that tells an order's state, or guess at its type. (No CORS: no browser calls us.)
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000",
}


def respond(status: int, envelope: dict[str, Any], error: CancelError | None = None) -> Response[str]:
    """Return an envelope as an answer: with `status`, or where there is an error with the error's own."""
    headers: dict[str, str | list[str]] = dict(HEADERS)
    if error:
        status = error.kind.status
        if error.kind.retryable:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or error.kind.retry_after_s)))
    return Response(status, "application/json", json.dumps(envelope), headers=headers)
