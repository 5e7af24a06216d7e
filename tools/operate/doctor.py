"""Check a deployed stack, and say what is wrong and how to fix it. It changes nothing unless asked to."""

from collections.abc import Callable

from tools.operate.checks import Finding, Findings, configuration, orders, problem, secrets
from tools.operate.checks.order import OrderCheck
from tools.operate.stack import AWS_ERRORS, Deployed, explain
from tools.progress import Progress

Check = Callable[[Deployed], Findings]

#: Ordered so that causes come before their effects.
CHECKS: dict[str, Check] = {
    "credentials": secrets.credentials,
    "token refresh": secrets.last_refresh,
    "token": secrets.token,
    "token schedule": secrets.schedule,
    "webhook secret": secrets.webhook_secret,
    "parameters": configuration.parameters,
    "event source": configuration.event_source,
    "throttling": configuration.throttling,
    "event bus": configuration.event_bus,
    "alarms": configuration.alarms,
    "subscriptions": configuration.subscriptions,
    "orders": orders.orders,
    "webhooks": orders.webhooks,
    "queue": orders.queue,
    "dead letters": orders.dead_letters,
}


def examine(stack: Deployed, check: Check) -> list[Finding]:
    """Run one check, and return its problems, or its `ok` if there are none."""
    try:
        found = list(check(stack))
    except AWS_ERRORS as error:  # a problem of this check, which does not stop the others
        return [problem("not checked", explain(error, stack.endpoint))]
    return [finding for finding in found if finding.state != "ok"] or found[-1:]


def diagnose(stack: Deployed, *, refresh: bool = False, order_id: str | None = None) -> bool:
    """Run the checks, print what they find, and return whether all is well."""
    progress, problems = Progress(), 0
    checks: dict[str, Check] = {"outputs": configuration.outputs}
    if not configuration.missing_from(stack):
        checks |= CHECKS | ({"token refresh": secrets.token_refresh} if refresh else {})
        order = OrderCheck(order_id or "")
        ways = {"API": order.by_api, "queue": order.by_queue, "webhook": order.by_webhook}
        checks |= {f"order {order_id} by {way}": check for way, check in ways.items() if order_id}
    for name, check in checks.items():
        progress.show(f"Checking {name}")
        findings = examine(stack, check)
        progress.clear()
        for finding in findings:
            print(finding.line(name), flush=True)
        problems += sum(finding.state == "problem" for finding in findings)
    print(f"\n{problems} problems." if problems > 1 else "\n1 problem." if problems else "\nNo problem.")
    return not problems
