"""Checks of the three secrets, and of the refresh that turns the credentials into a token."""

import base64
import json
import re
import time
from typing import Any

from botocore.exceptions import ClientError

from tools.operate.checks import Finding, Findings, ok, problem, unknown
from tools.operate.checks.orders import clock
from tools.operate.remedies import remedy
from tools.operate.stack import Deployed, duration, is_denied, missing_permission

CREDENTIALS = ("client_id", "client_secret", "brand", "integrator_id")
TOKEN = re.compile(r"[\x21-\x7e]+")  # the characters that a header may have
TOKEN_LOW_S = 900  # the threshold of TokenExpiryAlarm
REFRESH_WINDOW_S = 2700  # two runs of the schedule, and Lambda's retries
MIN_KEY_BYTES = 16


def credentials(stack: Deployed) -> Findings:
    """The operator has filled in the Clopos credentials."""
    arn, fix = stack.outputs["CredentialsSecretArn"], f"Run: make credentials STACK={stack.name}"
    if stack.parameters["TokenRefresh"] == "DISABLED":
        yield ok("not needed, as TokenRefresh is DISABLED")
        return
    try:
        content = json_object(secret_text(stack, arn) or "{}")
    except ClientError as error:
        if not is_denied(error):
            raise
        yield unknown(f"whether they are filled in, you may not read ({missing_permission(error)})")
        return
    if content is None:
        yield problem("the secret is not a JSON object", fix)
    elif empty := [name for name in CREDENTIALS if not content.get(name)]:
        yield problem(f"{', '.join(empty)} missing or empty", fix)
    yield ok(f"{', '.join(CREDENTIALS)} are filled in")


def token_refresh(stack: Deployed) -> Findings:
    """A refresh works (only if the operator asks for one)."""
    if stack.parameters["TokenRefresh"] == "DISABLED":
        text = "TokenRefresh is DISABLED, so another system stores the token"
        yield problem(text, "Ask the operator of that system")
        return
    function = stack.outputs["TokenRefreshFunctionName"]
    answer = stack.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    result = json.load(answer["Payload"]) or {}
    if "FunctionError" in answer or not result.get("success") or not result.get("refreshed", True):
        # A handler that raises leaves its error as text: "<code>: <message>".
        code, _, words = str(result.get("errorMessage", "no token was stored")).partition(": ")
        yield _refresh_failed(stack, {"error": code, "message": words or code, **result}, "it failed")
    yield ok("a new token is stored")


def last_refresh(stack: Deployed) -> Findings:
    """The last refresh worked, according to the log."""
    lines = stack.log_lines("TokenRefresh", '{ $.message = "token *" }', time.time() - REFRESH_WINDOW_S)
    lines = [line for line in lines if line.get("message") in ("token refreshed", "token not refreshed")]
    when = f"the last, at {clock(lines[-1]['at'])}" if lines else ""
    result = lines[-1].get("result") if lines else None
    if result and "credentials secret" in result["message"]:
        yield unknown(f"{when}, had no credentials to use: {result['message']}")
    elif result:
        yield _refresh_failed(stack, result, f"{when}, failed")
    yield ok(f"{when}, stored a token" if lines else f"none in {REFRESH_WINDOW_S // 60} minutes")


def _refresh_failed(stack: Deployed, result: dict[str, Any], what: str) -> Finding:
    status = (result.get("upstream") or {}).get("status")
    fix = remedy(stack.name, result["error"], result["message"], status, refresh=True)
    return problem(f"{what} with {result['error']}: {result['message']}", fix)


def token(stack: Deployed) -> Findings:
    """There is a token that does not expire soon."""
    is_ours = stack.parameters["TokenRefresh"] == "ENABLED"
    other = "TokenRefresh is DISABLED: ask the operator of the system that stores the token"
    fix = f"Run: make doctor STACK={stack.name} REFRESH=1" if is_ours else other
    text = secret_text(stack, stack.outputs["TokenSecretArn"])
    content = json_object(text) or {"token": "" if text[:1] in ("[", "{") else text.strip('"')}
    value, expires_at = content.get("token"), content.get("expires_at")
    if not text:
        yield problem("the secret has no value yet", fix)
    elif not isinstance(value, str) or not TOKEN.fullmatch(value):
        yield problem("the secret holds no token", fix)
    elif not isinstance(expires_at, int | float):
        yield ok("there is one; the secret does not say when it expires")
    elif (left_s := expires_at - time.time()) <= 0:
        yield problem(f"it expired {duration(-left_s)} ago", fix)
    elif left_s < TOKEN_LOW_S and is_ours:
        yield problem(f"it expires in {duration(left_s)}, and should have been refreshed by now", fix)
    else:
        yield ok(f"it expires in {duration(left_s)}")


def schedule(stack: Deployed) -> Findings:
    """The token refresh runs on its schedule, or not at all, as TokenRefresh says."""
    wanted, name = stack.parameters["TokenRefresh"], stack.physical_id("TokenRefreshFunctionSchedule")
    found = stack.client("scheduler").get_schedule(Name=name)
    if found["State"] != wanted:
        text = f"the schedule of the token refresh is {found['State']}, the parameter TokenRefresh {wanted}"
        yield problem(text, f"Set it to {wanted} in the console (Amazon EventBridge, Schedules, {name})")
    yield ok(f"the token refresh is {wanted}, {found['ScheduleExpression']}")


def webhook_secret(stack: Deployed) -> Findings:
    """Webhooks can be checked with the secret."""
    text = secret_text(stack, stack.outputs["WebhookSecretArn"])
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:  # its text would quote the secret
        key = b""
    if len(key) < MIN_KEY_BYTES:
        wrong = f"not base64 of at least {MIN_KEY_BYTES} bytes" if text else "empty"
        fix = f"Make one, and give it to the sender: make webhook-secret STACK={stack.name} ROTATE=1"
        yield problem(f"it is {wrong}, so every webhook is refused", fix)
    yield ok(f"base64 of {len(key)} bytes")


def json_object(text: str) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else. An error's text would quote a secret."""
    try:
        content = json.loads(text)
    except ValueError:  # not JSON
        return None
    return content if isinstance(content, dict) else None


def secret_text(stack: Deployed, arn: str) -> str:
    """Return the value of a secret without a byte order mark and white space; empty if it has none."""
    try:
        secret = stack.client("secretsmanager").get_secret_value(SecretId=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":  # it has no version yet
            raise
        return ""
    return str(secret.get("SecretString", "")).removeprefix("\ufeff").strip()
