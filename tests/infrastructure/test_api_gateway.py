"""The API: one stage, limits that fit Clopos's quota, and error responses in our envelope."""

import json
import re

import pytest

from tests.infrastructure.cloudformation import Stack

STACK = Stack()
QUOTA = 300  # Clopos's calls per minute
ROUTES = {("put", "/orders/{id}"), ("post", "/webhooks/cancellations")}
RESPONSES = STACK["Api"]["Body"]["x-amazon-apigateway-gateway-responses"]
ENVELOPE = {"success", "error", "message", "retryable", "request_id", "upstream"}


def settings():
    """Return the method settings of the stage by path, decoded as CloudFormation's reference has it, and method."""
    found = STACK["Apiv1Stage"]["MethodSettings"]
    return {(each["HttpMethod"], each["ResourcePath"][1:].replace("~1", "/")): each for each in found}


def test_v1_is_the_only_stage():
    [stage] = STACK.of_type("AWS::ApiGateway::Stage").values()
    assert stage["StageName"] == "v1"
    assert STACK.outputs["ApiUrl"]["Value"].endswith("/v1")
    [deployment] = STACK.of_type("AWS::ApiGateway::Deployment").values()
    assert "StageName" not in deployment, "SAM deploys a second stage, which has no limits"


def test_the_routes_are_those_of_the_contract_and_only_the_webhook_is_public():
    assert {
        (method, path): operation["security"]
        for path, operations in STACK["Api"]["Body"]["paths"].items()
        for method, operation in operations.items()
    } == {("put", "/orders/{id}"): [{"AWS_IAM": []}], ("post", "/webhooks/cancellations"): [{"NONE": []}]}


def test_the_first_minute_admits_no_more_orders_than_clopos_and_webhooks_a_few_times_what_the_queue_can_do():
    orders, webhooks = settings()["*", "*"], settings()["POST", "/webhooks/cancellations"]
    assert orders["ThrottlingBurstLimit"] + 60 * orders["ThrottlingRateLimit"] <= QUOTA
    assert 60 * webhooks["ThrottlingRateLimit"] <= 2 * QUOTA
    assert webhooks["ThrottlingBurstLimit"] <= QUOTA
    assert not [each for each in settings().values() if each.get("MetricsEnabled")], "they are paid for"


def test_the_function_gives_up_before_api_gateway():
    assert STACK["ApiFunction"]["Timeout"] < 29  # seconds; API Gateway quotas, integration timeout
    assert STACK["WebhookFunction"]["Timeout"] < 29


def body_of(response_type):
    """Return the body of a gateway response, with what API Gateway puts in."""
    [text] = RESPONSES[response_type]["responseTemplates"].values()
    filled = text.replace("$context.error.messageString", '"Forbidden"').replace("$context.requestId", "id-1")
    assert "$" not in filled
    return json.loads(filled)


@pytest.mark.parametrize("response_type", RESPONSES)
def test_an_error_response_of_api_gateway_is_our_envelope(response_type):
    body = body_of(response_type)
    assert body.keys() == ENVELOPE
    assert (body["success"], body["upstream"], body["request_id"]) == (False, None, "id-1")
    retry_after = RESPONSES[response_type]["responseParameters"].get("gatewayresponse.header.Retry-After", "")
    assert (re.fullmatch(r"'\d+'", retry_after) is not None) == body["retryable"]


def test_every_kind_of_refusal_has_a_response_and_a_wrong_path_gets_the_two_routes():
    assert RESPONSES.keys() >= {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "WAF_FILTERED", "ACCESS_DENIED"}
    message = body_of("MISSING_AUTHENTICATION_TOKEN")["message"]
    for method, path in ROUTES:
        assert f"{method.upper()} /v1{path}" in message
