"""HTTP answers of the API."""

import json
import math
from typing import Any

from cancellation.errors import CancelError

# Nobody may keep an answer that tells an order's state, or guess at its type. (No CORS: no browser calls us.)
HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000",
}


def respond(status: int, envelope: dict[str, Any], error: CancelError | None = None) -> dict[str, Any]:
    """Return an envelope as API Gateway wants it: with `status`, or where there is an error with its own."""
    headers = dict(HEADERS)
    if error:
        status = error.kind.status
        if error.kind.retryable:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or error.kind.retry_after_s)))
    return {
        "statusCode": status,
        "headers": headers,
        "body": json.dumps(envelope),
        "isBase64Encoded": False,
    }
