"""Sign calls of the API (SigV4, Standard Webhooks), as the ``auth`` of `requests`."""

import uuid
from datetime import UTC, datetime

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError


class SigV4(requests.auth.AuthBase):
    """Signs requests for API Gateway's IAM authorization."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._signer = SigV4Auth(credentials, "execute-api", region)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers of the signature."""
        signed = AWSRequest(request.method, request.url, data=request.body)
        self._signer.add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


class StandardWebhooks(requests.auth.AuthBase):
    """Signs requests as the sender of a webhook does. A request without a ``webhook-id`` gets a new one.

    Raises
    ------
    ValueError
        If the secret is empty or not base64.
    """

    def __init__(self, secret: str) -> None:
        try:
            Webhook(secret)  # so that an invalid secret fails here and not at the first request
        except EmptyWebhookSecretError as error:  # which is no ValueError
            raise ValueError("the secret is empty") from error
        self._secret = secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers of the signature."""
        body = request.body or ""
        if isinstance(body, bytes):
            body = body.decode(errors="replace")  # the signature of bytes that are not text does not match
        webhook_id = request.headers.get("webhook-id") or f"msg_{uuid.uuid4().hex}"
        request.headers.update(webhook_headers(self._secret, body, webhook_id=webhook_id))
        return request


def webhook_headers(
    secret: str, body: str, *, webhook_id: str = "msg_1", signed_at: datetime | None = None
) -> dict[str, str]:
    """Return the headers that sign a body according to Standard Webhooks, by default now."""
    signed_at = signed_at or datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(signed_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, signed_at, body),
    }
