"""The commands of an operator; the Makefile has a target for each."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence

from tools.operate import secrets
from tools.operate.checks.orders import described, groups, read_log
from tools.operate.checks.secrets import secret_text
from tools.operate.dead_letters import DeadLetters
from tools.operate.doctor import diagnose
from tools.operate.stack import AWS_ERRORS, CannotStart, Deployed, explain, use_local_stack, variables_of

#: What each is for, its options with a value, and those without.
COMMANDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "doctor": ("check a stack", ("order",), ("refresh",)),
    "orders": ("count what happened to orders", ("minutes",), ()),
    "dead-letters": ("list them", ("code", "order"), ("csv", "bodies", "redrive", "delete", "yes")),
    "credentials": ("store the Clopos credentials", (), ()),
    "webhook-secret": ("print the webhook secret", (), ("rotate",)),
    "outputs": ("print the outputs for a shell", (), ("local", "keys")),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (text, values, flags) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("stack")
        for value in values:
            command.add_argument(f"--{value}", default="")
        for flag in flags:
            command.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args(arguments)
    if options.command == "doctor" and not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", options.order):
        parser.error(f"{options.order!r} is not the id of an order")
    if options.command == "dead-letters" and options.delete and not (options.code or options.order):
        parser.error("say which dead letters to delete: CODE=... or ORDER=...")
    return options


def run(options: argparse.Namespace) -> bool:
    """Run a command, and return whether all is well."""
    local = use_local_stack() if options.command == "outputs" and options.local else {}
    stack = Deployed.from_environment(options.stack)
    if options.command == "doctor":
        return diagnose(stack, refresh=options.refresh, order_id=options.order)
    if options.command == "orders":
        minutes = float(options.minutes or 15)
        found = groups(read_log(stack, minutes * 60))
        for (outcome, why), lines in found.items():
            print(described(outcome, why, lines))
        print(f"{sum(map(len, found.values()))} orders in {minutes:g} minutes")
    elif options.command == "dead-letters":
        letters, chosen = DeadLetters(stack, options.code, options.order), options.code or options.order
        if options.delete:
            return letters.delete(sure=options.yes)
        if options.redrive and chosen:
            return letters.redrive()
        return letters.show(as_csv=options.csv, bodies=options.bodies) or not chosen
    elif options.command == "credentials":
        secrets.store_credentials(stack)
        print(f"Stored. Now fetch a token with them: make doctor STACK={stack.name} REFRESH=1")
    elif options.command == "webhook-secret":
        if options.rotate:
            secrets.rotate(stack)
        print(secret_text(stack, stack.output("WebhookSecretArn")))
    else:
        if local:
            print("unset AWS_PROFILE AWS_SESSION_TOKEN")  # of a real account
        for name, value in {**local, **variables_of(stack, keys=options.keys)}.items():
            print(f"export {name}={shlex.quote(value)}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = parse(arguments)
    try:
        return 0 if run(options) else 1
    except CannotStart as error:
        reason = str(error)
    except AWS_ERRORS as error:  # a permission is missing, or the service cannot be reached
        reason = explain(error, os.environ.get("AWS_ENDPOINT_URL", ""))
    except (KeyboardInterrupt, EOFError):
        return 130  # as a shell would tell of Ctrl-C; Ctrl-D answers no question either
    if options.command == "doctor":
        print(f"problem  stack: {reason}")
    else:
        print(f"{options.command}: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
