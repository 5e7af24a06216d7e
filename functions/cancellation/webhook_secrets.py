"""Verify the signatures of webhooks (Standard Webhooks) with the current and the previous secret."""

import binascii
import re
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence

from standardwebhooks import Webhook, WebhookVerificationError

from cancellation.aws import CACHE_S, Secret, SecretUnreadable
from cancellation.deadline import Deadline
from cancellation.errors import CancelError
from cancellation.telemetry import logger

# A signature that matches no cached secret may be made with a secret that was rotated in just now, so the
# secrets are read again; but not for every forged signature.
REREAD_S = 5
# If Secrets Manager cannot be reached, cached secrets are valid for this long.
MAX_STALE_S = 900
MAX_AGE_S = 300  # of a webhook; the age that Standard Webhooks recommends
MIN_KEY_BYTES = 16  # a shorter key could be guessed
UNUSABLE = "the webhook secret is empty, or not base64 of at least 16 bytes"
# The headers have either of two prefixes.
PREFIXES = ("webhook-", "svix-")
# A signature is 32 bytes, so 43 characters of base64 and one "=". It is found wherever it stands: senders and
# proxies separate several signatures with spaces or commas, and repeat or fold the header.
_SIGNATURE = re.compile("v1,[A-Za-z0-9+/]{43}=")


class WebhookSecrets:
    """The current and the previous secret; both are valid while a secret is rotated."""

    def __init__(self, arn: str) -> None:
        self._secrets = {
            "current": Secret(arn, verifier, "AWSCURRENT", MAX_STALE_S),
            "previous": Secret(arn, verifier, "AWSPREVIOUS", MAX_STALE_S),
        }
        self._reread_at = 0.0  # Unix seconds

    def verify(self, body: str, signed: Mapping[str, str], deadline: Deadline) -> str:
        """Check a webhook's signature and return which secret it was made with: `current` or `previous`.

        `signed` are the headers as `signature_headers` returns them. Raises `unauthenticated`, or
        `service_unavailable` if there is no current secret to check with.
        """
        usable: dict[str, Webhook] = {}
        for max_age_s in self._max_ages_s():
            usable = self._usable(deadline, max_age_s)
            for name, webhook in usable.items():
                try:
                    webhook.verify(body, dict(signed), json_parse=False)
                    return name
                except (WebhookVerificationError, UnicodeEncodeError):  # half of a surrogate pair in the body
                    continue
        if "current" not in usable:
            logger.error(UNUSABLE)
            raise CancelError("service_unavailable", UNUSABLE)
        raise CancelError("unauthenticated", "the webhook cannot be authenticated")

    def _max_ages_s(self) -> Iterator[float]:
        """Yield how old the secrets may be: first cached ones, then new ones unless just read again."""
        yield CACHE_S
        if not 0 <= time.time() - self._reread_at < REREAD_S:
            self._reread_at = time.time()
            yield 0

    def _usable(self, deadline: Deadline, max_age_s: float) -> dict[str, Webhook]:
        """Return a verifier for each usable secret, by its name."""
        usable = {}
        for name, secret in self._secrets.items():
            try:
                webhook = secret.get(deadline, max_age_s)
            except SecretUnreadable as exc:
                if name == "current":
                    raise CancelError("service_unavailable", "the webhook secret cannot be read") from exc
                continue
            if webhook:
                usable[name] = webhook
        return usable


def verifier(secret: str) -> Webhook | None:
    """Return the verifier for a secret; None if it is not strict base64 of at least 16 bytes."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):  # not base64, or not ASCII
        return None
    return Webhook(key) if len(key) >= MIN_KEY_BYTES else None


def signature_headers(headers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the three headers of the scheme, from the values of all headers by their names in lower case.

    Raises `unauthenticated` if one is missing or malformed, or the webhook is too old.
    """
    prefix = next((prefix for prefix in PREFIXES if headers.get(prefix + "signature")), PREFIXES[0])

    def read(name: str) -> str:
        values = headers.get(prefix + name) or [""]
        value = (" ".join(values) if name == "signature" else values[-1]).strip()
        if not value:
            raise CancelError("unauthenticated", f"the header {prefix}{name} is missing")
        return value

    webhook_id, timestamp, signatures = read("id"), read("timestamp"), _SIGNATURE.findall(read("signature"))
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise CancelError("unauthenticated", f"{prefix}timestamp: must be Unix seconds")
    if abs(time.time() - int(timestamp)) > MAX_AGE_S:
        raise CancelError("unauthenticated", "the timestamp is more than five minutes off; check the clock")
    if not signatures:
        raise CancelError("unauthenticated", f"{prefix}signature: must have the form v1,<base64>")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }
