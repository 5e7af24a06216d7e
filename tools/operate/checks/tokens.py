"""Checks of the Clopos token and its refresh."""

from __future__ import annotations

import json
import re
import time

from botocore.exceptions import ClientError

from tools.operate.checks.findings import Findings, ok, problem, unknown
from tools.operate.stack import Deployed, duration, is_denied, missing_permission

CREDENTIALS = ("client_id", "client_secret", "brand", "integrator_id")
TOKEN = re.compile(r"[\x21-\x7e]+")  # the characters that a header may have
TOKEN_LOW_S = 900  # the threshold of TokenExpiryAlarm


def credentials(stack: Deployed) -> Findings:
    """The operator has filled in the Clopos credentials."""
    arn = stack.outputs["CredentialsSecretArn"]
    if stack.parameters["TokenRefresh"] == "DISABLED":
        yield ok("not needed, as TokenRefresh is DISABLED")
        return
    fix = (
        f"Run: aws secretsmanager put-secret-value --secret-id {arn} --secret-string file://credentials.json"
    )
    try:
        secret = secret_text(stack, arn)
    except ClientError as error:
        if not is_denied(error):
            raise
        yield from _credentials_unread(stack, arn, missing_permission(error), fix)
        return
    try:
        content = json.loads(secret) if secret else {}
    except ValueError:  # not JSON; the error's text would quote the secret
        content = None
    if not isinstance(content, dict):
        yield problem("the secret is not a JSON object", fix)
    elif empty := [name for name in CREDENTIALS if not content.get(name)]:
        yield problem(f"{', '.join(empty)} missing or empty", fix)
    else:
        yield ok(f"{', '.join(CREDENTIALS)} are filled in")


def _credentials_unread(stack: Deployed, arn: str, permission: str, fix: str) -> Findings:
    """Check what can be checked without reading the secret."""
    described = stack.client("secretsmanager").describe_secret(SecretId=arn)
    if described.get("VersionIdsToStages"):
        yield unknown(f"a value is stored; whether it is complete, you may not read ({permission})")
    else:
        yield problem("the secret has no value yet", fix)


def token_refresh(stack: Deployed) -> Findings:
    """A refresh works (only if the operator asks for one)."""
    function = stack.outputs["TokenRefreshFunctionName"]
    if stack.parameters["TokenRefresh"] == "DISABLED":
        yield problem(
            "TokenRefresh is DISABLED, so another system stores the token", "Ask the operator of that system"
        )
        return
    answer = stack.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    result = json.load(answer["Payload"]) or {}
    if "FunctionError" in answer or not result.get("success") or not result.get("refreshed", True):
        reason = result.get("errorMessage") or result.get("message") or "the function stored no new token"
        yield problem(
            f"it failed: {reason}",
            f"Its log says more: .venv/bin/sam logs --stack-name {stack.name} --name TokenRefreshFunction",
        )
    else:
        yield ok("a new token is stored")


def token(stack: Deployed) -> Findings:
    """There is a token that does not expire soon."""
    fix = (
        f"Run: make doctor STACK={stack.name} REFRESH=1"
        if stack.parameters["TokenRefresh"] == "ENABLED"
        else "TokenRefresh is DISABLED: ask the operator of the system that stores the token"
    )
    text = secret_text(stack, stack.outputs["TokenSecretArn"]).strip()
    if not text:
        yield problem("the secret has no value yet", fix)
        return
    try:
        content = json.loads(text)
    except ValueError:  # a bare token
        content = text
    value, expires_at = (
        (content.get("token"), content.get("expires_at")) if isinstance(content, dict) else (content, None)
    )
    if not isinstance(value, str) or not TOKEN.fullmatch(value):
        yield problem("the secret holds no token", fix)
    elif not isinstance(expires_at, int | float):
        yield ok("there is one; the secret does not say when it expires")
    elif (left_s := expires_at - time.time()) <= 0:
        yield problem(f"it expired {duration(-left_s)} ago", fix)
    elif left_s < TOKEN_LOW_S and stack.parameters["TokenRefresh"] == "ENABLED":
        yield problem(f"it expires in {duration(left_s)}, and should have been refreshed by now", fix)
    else:
        yield ok(f"it expires in {duration(left_s)}")


def schedule(stack: Deployed) -> Findings:
    """The token refresh runs on its schedule, or not at all, as TokenRefresh says."""
    wanted = stack.parameters["TokenRefresh"]
    name = stack.physical_id("TokenRefreshFunctionSchedule")
    found = stack.client("scheduler").get_schedule(Name=name)
    if found["State"] == wanted:
        yield ok(f"the token refresh is {wanted}, {found['ScheduleExpression']}")
    else:
        yield problem(
            f"the schedule of the token refresh is {found['State']}, the parameter TokenRefresh {wanted}",
            f"Set it to {wanted} in the console (Amazon EventBridge, Schedules, {name})",
        )


def secret_text(stack: Deployed, arn: str) -> str:
    """Return the value of a secret; empty if it has none."""
    try:
        secret = stack.client("secretsmanager").get_secret_value(SecretId=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":  # it has no version yet
            return ""
        raise
    return str(secret.get("SecretString", ""))
