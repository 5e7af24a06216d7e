"""Logger, metrics and tracer, made once."""

import logging
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools drops keys whose value is null; an order's line has them all."""

    def serialize(self, log: Any) -> str:
        if "outcome" in log:
            log = {**log, "order_id": log.get("order_id"), "venue_id": log.get("venue_id")}
        return super().serialize(log)


logger = Logger(logger_formatter=_Formatter())
metrics = Metrics()
# Nothing is patched: `report` writes the trace of an order, and patching slows every cold start.
tracer = Tracer(auto_patch=False)

# What libraries log comes out as one JSON object a line too. Below WARNING botocore quotes secrets, so
# Lambda's own log level does not count for it.
_root = logging.getLogger()
_root.handlers = list(logger.handlers)
logging.getLogger(logger.name).propagate = False  # its own handler has written the line already
_root.setLevel(logging.WARNING)
for _library in ("botocore", "boto3", "urllib3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
logging.captureWarnings(True)
