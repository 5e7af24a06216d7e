"""Verify the signatures of webhooks (Standard Webhooks) with the current and the previous secret."""

import re
import time
from collections.abc import Iterator, Mapping

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from cancellation.aws import CACHE_S, Secret, SecretUnreadable
from cancellation.deadline import Deadline
from cancellation.errors import CancelError

# A signature that matches no cached secret may be made with a secret that was rotated in just now, so the
# secrets are read again; but not for every forged signature.
REREAD_S = 5
# If Secrets Manager cannot be reached, cached secrets are valid for this long.
MAX_STALE_S = 900
# The headers have either of two prefixes.
HEADERS = ("id", "timestamp", "signature")
PREFIXES = ("webhook-", "svix-")

CANNOT_CHECK = "the webhook secret is empty or not base64"

_SIGNATURE = re.compile("v1,[A-Za-z0-9+/]+={0,2}")


class WebhookSecrets:
    """The current and the previous secret; both are valid while a secret is rotated.

    Parameters
    ----------
    arn : str
        ARN of the secret.
    """

    def __init__(self, arn: str) -> None:
        self._secrets = {
            "current": Secret(arn, "AWSCURRENT", MAX_STALE_S),
            "previous": Secret(arn, "AWSPREVIOUS", MAX_STALE_S),
        }
        self._reread_at = 0.0  # Unix seconds

    def verify(self, body: str, signed: Mapping[str, str], deadline: Deadline) -> str:
        """Check a webhook's signature and return which secret it was made with: `current` or `previous`.

        Parameters
        ----------
        body : str
            The body that was signed.
        signed : mapping
            The headers of the scheme, as `signature_headers` returns them.
        deadline : Deadline
            For reading the secrets.

        Raises
        ------
        CancelError
            `unauthenticated`, or `service_unavailable` if there is no current secret to check with.
        """
        usable: dict[str, Webhook] = {}
        for max_age_s in self._max_ages_s():
            usable = self._usable(deadline, max_age_s)
            for name, webhook in usable.items():
                try:
                    webhook.verify(body, dict(signed), json_parse=False)
                    return name
                except (WebhookVerificationError, UnicodeEncodeError) as exc:  # half of a surrogate pair
                    if "timestamp too" in str(exc):
                        raise CancelError(
                            "unauthenticated", "the timestamp is more than five minutes off; check the clock"
                        ) from exc
        if "current" not in usable:
            raise CancelError("service_unavailable", CANNOT_CHECK)
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
                value = secret.get(deadline, max_age_s)
                usable[name] = Webhook((value or "").strip())
            except SecretUnreadable as exc:
                if name == "current":
                    raise CancelError("service_unavailable", "the webhook secret cannot be read") from exc
            except (
                EmptyWebhookSecretError,
                ValueError,
            ):  # empty, or not base64: nothing can be signed with it
                pass
        return usable


def signature_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the three headers in the form that the package expects, without malformed signatures.

    Raises
    ------
    CancelError
        `unauthenticated`, if one is missing or malformed.
    """
    prefix = next((prefix for prefix in PREFIXES if headers.get(prefix + "signature")), PREFIXES[0])
    signed = {name: (headers.get(prefix + name) or "").strip() for name in HEADERS}
    for name, value in signed.items():
        if not value:
            raise CancelError("unauthenticated", f"the header {prefix}{name} is missing")
    if not re.fullmatch("[0-9]{1,12}", signed["timestamp"]):
        raise CancelError("unauthenticated", f"{prefix}timestamp: must be Unix seconds")
    signatures = [entry for entry in signed["signature"].split() if _SIGNATURE.fullmatch(entry)]
    # The package would stop at an entry with a length that base64 cannot have, and not reach a valid one.
    signatures = [entry for entry in signatures if len(entry.partition(",")[2]) % 4 == 0]
    if not signatures:
        raise CancelError("unauthenticated", f"{prefix}signature: must have the form v1,<base64>")
    return {f"webhook-{name}": value for name, value in signed.items()} | {
        "webhook-signature": " ".join(signatures)
    }
