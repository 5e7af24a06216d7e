"""Check a deployed stack, and say what is wrong and how to fix it: ``make doctor``.

Prints one line for each check that passes, and one for each problem. Changes nothing, unless the operator
asks for a token refresh or for the cancellation of an order.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence

from tools.operate.checks.alarms import alarms, subscriptions
from tools.operate.checks.configuration import (
    event_bus,
    event_source,
    missing_from,
    outputs,
    parameters,
    stages,
    throttling,
)
from tools.operate.checks.findings import Finding, Findings, problem, significant
from tools.operate.checks.messages import dead_letters, queue
from tools.operate.checks.order import OrderCheck
from tools.operate.checks.tokens import credentials, schedule, token, token_refresh
from tools.operate.stack import AWS_ERRORS, CannotStart, Deployed, explain
from tools.progress import Progress

Check = Callable[[Deployed], Findings]

#: Ordered so that causes come before their effects.
CHECKS: dict[str, Check] = {
    "token": token,
    "token schedule": schedule,
    "parameters": parameters,
    "event source": event_source,
    "throttling": throttling,
    "stages": stages,
    "event bus": event_bus,
    "alarms": alarms,
    "subscriptions": subscriptions,
    "queue": queue,
    "dead letters": dead_letters,
}


def chosen_checks(*, refresh: bool, order_id: str | None) -> dict[str, Check]:
    """Return the checks by name. A refresh comes after its credentials and before the token is checked."""
    checks: dict[str, Check] = {"credentials": credentials}
    if refresh:
        checks["token refresh"] = token_refresh
    checks |= CHECKS
    if order_id:
        order = OrderCheck(order_id)
        checks |= {
            f"order {order_id} by API": order.by_api,
            f"order {order_id} by queue": order.by_queue,
            f"order {order_id} by webhook": order.by_webhook,
        }
    return checks


def examine(stack: Deployed, check: Check) -> list[Finding]:
    """Run one check. An error of AWS is a problem of this check and does not stop the others."""
    try:
        return significant(check(stack))
    except AWS_ERRORS as error:
        return [problem("not checked", explain(error, stack.endpoint))]


def diagnose(stack: Deployed, *, refresh: bool = False, order_id: str | None = None) -> bool:
    """Run the checks, print what they find, and return whether all is well."""
    progress, problems = Progress(), 0

    def run(name: str, check: Check) -> int:
        progress.show(f"Checking {name}")
        findings = examine(stack, check)
        progress.clear()
        for finding in findings:
            print(finding.line(name), flush=True)
        return sum(finding.is_problem for finding in findings)

    problems += run("outputs", outputs)
    if not missing_from(stack):
        problems += sum(run(*each) for each in chosen_checks(refresh=refresh, order_id=order_id).items())
    print(f"\n{problems} problems." if problems > 1 else "\n1 problem." if problems else "\nNo problem.")
    return not problems


def order_id(text: str) -> str:
    """Return the argument if it is a valid order id."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an order")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a stack; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="doctor", description="Check a deployed stack, and say what is wrong and how to fix it."
    )
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--refresh", action="store_true", help="refresh the Clopos token")
    parser.add_argument("--order", type=order_id, help="cancel this order, through API, queue and webhook")
    options = parser.parse_args(arguments)
    try:
        stack = Deployed.from_environment(options.stack)
        return 0 if diagnose(stack, refresh=options.refresh, order_id=options.order) else 1
    except CannotStart as error:
        print(f"problem  stack: {error}")
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell would tell of Ctrl-C


if __name__ == "__main__":
    sys.exit(main())
