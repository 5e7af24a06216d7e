"""`PUT /orders/{id}`: cancel one order for a caller who waits for the answer."""

import os
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.http_api import parse_request, respond
from cancellation.order import cancel_order
from cancellation.outcome_events import OutcomeEvents, outcome_detail
from cancellation.reporting import report
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

# API Gateway gives up after 29 s, and a cold start comes before this.
DEADLINE_S = 25
# For publishing the outcome and writing the log.
MARGIN_S = 3
MAX_ATTEMPTS = 11  # more than there is time for: the deadline ends the retries

tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
clopos = Clopos(os.environ["CLOPOS_BASE_URL"], max_attempts=MAX_ATTEMPTS)
events = OutcomeEvents(os.environ["EVENT_BUS_NAME"], os.environ["POWERTOOLS_SERVICE_NAME"])


# Powertools' Event Handler and data classes are not used: this is a single route, and importing them would
# add 30 ms to every cold start.
@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one API call."""
    outcome = cancel_order(
        partial(parse_request, event),
        clopos=clopos,
        tokens=tokens,
        deadline=Deadline.of(context, margin_s=MARGIN_S).at_most(DEADLINE_S),
        request_id=context.aws_request_id,
    )
    name = outcome.name(unsettled="failed")
    if outcome.is_settled:
        events.publish([outcome_detail(outcome, name, "api")], Deadline.after(MARGIN_S - 1))
    request = event.get("requestContext") or {}
    caller = request.get("identity") or {}
    report(
        outcome,
        name,
        "api",
        gateway_request_id=request.get("requestId"),
        caller=caller.get("userArn"),
        source_ip=caller.get("sourceIp"),
    )
    return respond(200, outcome.result, outcome.error)
