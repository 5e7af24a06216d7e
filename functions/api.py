"""`PUT /orders/{id}`: cancel one order for a caller who waits for the answer."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cancellation.clopos import Clopos
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.http_api import correlation_id, parse_request, respond, respond_error
from cancellation.order import Outcome, cancel_order
from cancellation.outcome_events import OutcomeEvents, outcome_detail
from cancellation.reporting import report
from cancellation.telemetry import logger, metrics, tracer
from cancellation.tokens import Tokens

# API Gateway gives up after 29 s, and a cold start comes before this.
DEADLINE_S = 25
# For publishing the outcome and writing the log.
MARGIN_S = 3

tokens = Tokens(os.environ["TOKEN_SECRET_ARN"], os.environ["TOKEN_REFRESH_FUNCTION"])
clopos = Clopos(os.environ["CLOPOS_BASE_URL"])
events = OutcomeEvents(os.environ["EVENT_BUS_NAME"], os.environ["POWERTOOLS_SERVICE_NAME"])


# Powertools' Event Handler and data classes are not used: this is a single route, and importing them would
# add 30 ms to every cold start.
@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one API call."""
    outcome = Outcome(context.aws_request_id)
    try:
        outcome = cancel_order(
            parse_request(event),
            clopos=clopos,
            tokens=tokens,
            deadline=Deadline.of(context, margin_s=MARGIN_S).at_most(DEADLINE_S),
            request_id=context.aws_request_id,
        )
    except CancelError as exc:  # the request is wrong; `cancel_order` never raises
        outcome = Outcome(context.aws_request_id, error=exc)
    correlation = correlation_id(event)
    if outcome.verdict:
        detail = outcome_detail(outcome, outcome.verdict, "api", correlation_id=correlation)
        events.publish([detail], Deadline.after(MARGIN_S - 1))
    request = event.get("requestContext") or {}
    caller = request.get("identity") or {}
    report(
        outcome,
        outcome.verdict or "failed",
        "api",
        gateway_request_id=request.get("requestId"),
        correlation_id=correlation,
        caller=caller.get("userArn"),
        source_ip=caller.get("sourceIp"),
    )
    if outcome.error:
        return respond_error(outcome.error, context.aws_request_id)
    return respond(200, outcome.result)
