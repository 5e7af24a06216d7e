"""Write the API's description from the schemas and tables that the functions use.

``python -m tools.openapi`` rewrites ``docs/openapi.json``; a test fails if the file is out of date.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from apispec import APISpec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "functions"))

from cancellation import answers  # noqa: E402
from cancellation.errors import ERROR_KINDS  # noqa: E402
from cancellation.messages import CANCEL_MESSAGE, CANCEL_REQUEST, ORDER_ID, VENUE_ID  # noqa: E402
from tools.examples import Example, cancel_errors, cancelled, webhook_errors  # noqa: E402

FILE = ROOT / "docs" / "openapi.json"

REQUEST_ID = {
    "type": "string",
    "description": "Lambda's request id, or API Gateway's if it answers by itself",
}
UPSTREAM = {
    "type": ["object", "null"],
    "description": "what Clopos answered; null if it was not reached",
    "properties": {
        "status": {"type": "integer"},
        "error": {"type": ["string", "null"]},
        "message": {"type": ["string", "null"]},
    },
    "required": ["status", "error", "message"],
    "additionalProperties": False,
}
RETRY_AFTER = {"Retry-After": {"description": "seconds, if retryable", "schema": {"type": "integer"}}}
# A signed webhook has all three. (The svix-* names are accepted too.)
WEBHOOK_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
# The schema of what each function for a field of Clopos's answer returns.
ORDER_SCHEMAS: dict[Any, dict[str, Any]] = {
    answers.read_id: {"type": ["string", "null"]},
    answers.read_integer: {"type": ["integer", "null"]},
    answers.read_text: {"type": ["string", "null"]},
    answers.read_timestamp: {"type": ["string", "null"], "format": "date-time"},
    answers.read_object: {"type": ["object", "null"]},
}

ORDER_STATE = {
    "type": ["object", "null"],
    "description": "the order's state at Clopos",
    "properties": {"status": {"type": "string"}, "receipt_id": {"type": ["integer", "null"]}},
    "required": ["status", "receipt_id"],
    "additionalProperties": False,
}
NULLABLE_TEXT = {"type": ["string", "null"]}
OUTCOME = {
    "type": "object",
    "description": "the outcome of one order",
    "properties": {
        "order_id": NULLABLE_TEXT,
        "venue_id": {"type": ["integer", "null"]},
        "source": {"enum": ["api", "queue"]},
        "outcome": {"enum": ["cancelled", "rejected"]},
        "result": {
            "anyOf": [
                {"$ref": f"#/components/schemas/{name}"}
                for name in ("Cancelled", "Problem", "NotCancellable")
            ]
        },
        "message_id": NULLABLE_TEXT,
        "webhook_id": NULLABLE_TEXT,
        "correlation_id": NULLABLE_TEXT,
        "stack": {"type": "string"},
    },
    "required": [
        *("order_id", "venue_id", "source", "outcome", "result"),
        *("message_id", "webhook_id", "correlation_id", "stack"),
    ],
    "additionalProperties": False,
}


def describe() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description."""
    spec = APISpec(
        title="clopos-cancel",
        version="1",
        openapi_version="3.1.0",
        info={"description": "Cancels Clopos orders: sets their status to `IGNORE`."},
        servers=[
            {
                "url": "{ApiUrl}",
                "variables": {"ApiUrl": {"default": "/", "description": "the stack's output"}},
            }
        ],
    )
    order_fields: dict[str, Any] = {"id": {"type": ["integer", "string"]}}
    order_fields |= {name: ORDER_SCHEMAS[read] for name, read in answers.FIELDS.items()}
    order = fields(**order_fields | {"status": {"const": "IGNORE"}})
    schemas: dict[str, dict[str, Any]] = {
        "CancelRequest": CANCEL_REQUEST,
        "CancelMessage": CANCEL_MESSAGE,
        "WrappedMessage": {
            "type": "object",
            "properties": {"data": {"$ref": "#/components/schemas/CancelMessage"}},
            "required": ["data"],
            "description": "a Standard Webhooks payload",
        },
        "Cancelled": envelope(order),
        "Accepted": envelope(fields(message_id={"type": "string"})),
        "Ignored": envelope(fields(message_id={"type": "null"}, ignored={"type": "string"})),
        "Problem": problem(*(code for code in ERROR_KINDS if code != "order_not_cancellable")),
        "NotCancellable": problem("order_not_cancellable", order=ORDER_STATE),
        "Outcome": OUTCOME,
    }
    for name, schema in schemas.items():
        spec.components.schema(name, component=schema)
    spec.components.security_scheme(
        "sigv4",
        {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "x-amazon-apigateway-authtype": "awsSigv4",
            "description": "AWS Signature Version 4 of the service `execute-api`",
        },
    )
    for name in WEBHOOK_HEADERS:
        spec.components.security_scheme(
            name, {"type": "apiKey", "in": "header", "name": name, "description": "Standard Webhooks"}
        )
    success = json_of("Cancelled")
    success["application/json"]["example"] = cancelled()
    spec.path(
        "/orders/{id}",
        operations={
            "put": {
                "operationId": "cancelOrder",
                "summary": "Cancel an order and wait for the result",
                "security": [{"sigv4": []}],
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": text_of(ORDER_ID)},
                    {"name": "x-venue", "in": "header", "schema": {**VENUE_ID, "type": "integer"}},
                ],
                "requestBody": {"required": True, "content": json_of("CancelRequest")},
                "responses": {"200": {"description": "cancelled", "content": success}}
                | problems(cancel_errors()),
            }
        },
    )
    spec.path(
        "/webhooks/cancellations",
        operations={
            "post": {
                "operationId": "acceptWebhook",
                "summary": "Put a cancellation on the queue",
                "description": "Signed per Standard Webhooks. The body is at most 64 KiB.",
                "security": [{name: [] for name in WEBHOOK_HEADERS}],
                "requestBody": {"required": True, "content": json_of("CancelMessage", "WrappedMessage")},
                "responses": {
                    "200": {
                        "description": "ignored: its type does not mean a cancellation",
                        "content": json_of("Ignored"),
                    },
                    "202": {"description": "accepted", "content": json_of("Accepted")},
                }
                | problems(webhook_errors()),
            }
        },
    )
    description = spec.to_dict()
    # Something that the stack sends rather than receives: OpenAPI 3.1 calls that a webhook.
    description["webhooks"] = {
        "outcome": {
            "post": {
                "operationId": "outcome",
                "summary": "The detail of an EventBridge event, published for each settled order",
                "requestBody": {"required": True, "content": json_of("Outcome")},
                "responses": {"200": {"description": "not read: EventBridge delivers it"}},
            }
        }
    }
    return description


def fields(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def problem(*codes: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of an error envelope with one of these codes."""
    return fields(
        success={"const": False},
        error={"enum": list(codes)},
        message={"type": "string", "description": "human-readable"},
        retryable={"type": "boolean"},
        request_id=REQUEST_ID,
        upstream=UPSTREAM,
        **properties,
    )


def envelope(data: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a successful answer."""
    return fields(success={"const": True}, data=data, request_id=REQUEST_ID)


def json_of(*schemas: str) -> dict[str, Any]:
    """Return the content of a request or an answer, of any of these schemas."""
    references = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"anyOf": references}}}


def text_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that is sent as text."""
    return {"type": "string", "pattern": schema["pattern"], "description": schema["description"]}


def problems(examples: Iterable[Example]) -> dict[str, Any]:
    """Return the answers that are errors, by status, with their examples."""
    statuses: dict[int, list[Example]] = {}
    for example in examples:
        statuses.setdefault(example.status, []).append(example)
    responses = {}
    for status, group in sorted(statuses.items()):
        codes = {example.envelope["error"] for example in group}
        content = json_of("NotCancellable" if codes == {"order_not_cancellable"} else "Problem")
        content["application/json"]["examples"] = {
            example.when: {"value": example.envelope} for example in group
        }
        is_retryable = any(example.envelope["retryable"] for example in group)
        responses[str(status)] = {
            "description": ", ".join(sorted(codes)),
            "content": content,
            "headers": RETRY_AFTER if is_retryable else {},
        }
    return responses


def text() -> str:
    """Return the description as the text of the file."""
    return json.dumps(describe(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())
