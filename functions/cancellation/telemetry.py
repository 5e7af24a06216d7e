"""Logger, metrics and tracer, made once."""

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
# Only the call to Clopos is patched: tracing the AWS clients too would make every cold start longer.
tracer = Tracer(patch_modules=["requests"])
