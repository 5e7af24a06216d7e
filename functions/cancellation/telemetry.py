"""The logger, metrics and tracer that all modules share."""

import logging
import os
import sys
import threading
from traceback import format_tb
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer, single_metric
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import MetricUnit

from cancellation.errors import CancelError


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools drops keys whose value is null; the log line of an order has all its keys."""

    def serialize(self, log: Any) -> str:
        if "outcome" in log:
            log = {**log, "order_id": log.get("order_id"), "venue_id": log.get("venue_id")}
        return super().serialize(log)


logger = Logger(logger_formatter=_Formatter())

# Libraries log JSON lines too. Below WARNING, botocore logs secrets, so Lambda's own log level must not lower
# its level.
_root = logging.getLogger()
_root.handlers = list(logger.handlers)
logging.getLogger(logger.name).propagate = False  # its own handler has already written the line
_root.setLevel(logging.WARNING)
for _library in ("botocore", "boto3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
# Its warnings quote headers, in which Clopos may repeat a token.
logging.getLogger("urllib3").setLevel(logging.ERROR)
logging.captureWarnings(True)


def _log_unhandled(exc: Any) -> None:
    """Log an exception in a thread or in a destructor, which Python would print as plain text.

    The text is left out, as in `internal_error`: it may quote a secret.
    """
    logger.error("unhandled exception", error=exc.exc_type.__name__, stack=format_tb(exc.exc_traceback))


threading.excepthook = sys.unraisablehook = _log_unhandled

BUG = "An unexpected error; for details, see the log entry with this request_id"

metrics = Metrics()
# Libraries are not patched: `report` writes the trace of an order, and patching slows every cold start.
tracer = Tracer(auto_patch=False)


def internal_error(exc: Exception) -> CancelError:
    """Log and count a bug in this service, and return the error for the caller.

    The log entry has the stack, but not the text of the exception: it may quote a header, and so a token or a
    signature. A gradual deployment of the version that has the bug is rolled back.
    """
    logger.error("unexpected error", error=type(exc).__name__, stack=format_tb(exc.__traceback__))
    with single_metric(name="InternalErrors", unit=MetricUnit.Count, value=1) as metric:
        for dimension, variable in (("function_name", "NAME"), ("function_version", "VERSION")):
            metric.add_dimension(dimension, os.environ.get(f"AWS_LAMBDA_FUNCTION_{variable}", "local"))
    return CancelError("internal_error", BUG)
