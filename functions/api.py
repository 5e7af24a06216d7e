"""`PUT /orders/{id}`: cancel one order for a caller who waits for the answer."""

import os
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.messages import parse_request
from cancellation.order import cancel_order
from cancellation.responses import respond
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

# API Gateway gives up after 29 s, and a cold start comes before this.
DEADLINE_S = 25
RETRIES = 10  # more than fit: the deadline ends them

tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
clopos = Clopos(os.environ["CLOPOS_BASE_URL"], retries=RETRIES)


# Neither Event Handler nor data classes: one route comes here, and they would take 30 ms of a cold start.
@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one API call."""
    outcome = cancel_order(
        partial(parse_request, event),
        clopos=clopos,
        tokens=tokens,
        deadline=Deadline.after(DEADLINE_S),
        request_id=context.aws_request_id,
        unfinished="failed",
    )
    outcome.report("api")
    return respond(200, outcome.result, outcome.error)
