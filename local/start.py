"""``make start``: the local stack and its page, until Ctrl-C."""

import contextlib
import json
import signal
from collections.abc import Mapping

from local import page
from local.console import run_command, say
from local.emulator.xray import Traces
from local.guide import guide
from local.paths import STATE
from local.settings import (
    optional_port_from_environment,
    parameters_from_environment,
    port_from_environment,
    upstream_from_environment,
)
from local.stack import LocalStack

OUTPUTS = STATE / "outputs.json"
SEED_ORDERS = 120

AWS_PORT, CLOPOS_PORT, PAGE_PORT = 4566, 4010, 4080


def write_outputs(outputs: Mapping[str, str]) -> None:
    """Write the outputs atomically: a process that waits for the file must not read half of it."""
    scratch = OUTPUTS.with_suffix(".tmp")
    scratch.write_text(json.dumps(outputs, indent=2) + "\n")
    scratch.replace(OUTPUTS)


def start() -> None:
    """Run the stack until SIGTERM or Ctrl-C. Ctrl-C is the normal end and not an error."""
    with contextlib.suppress(KeyboardInterrupt):
        _run_until_interrupted()


def _run_until_interrupted() -> None:
    port = optional_port_from_environment("LOCAL_PAGE_PORT", PAGE_PORT)
    OUTPUTS.unlink(missing_ok=True)  # a run that was killed may have left it
    upstream = upstream_from_environment()
    has_simulator = not upstream["clopos_base_url"]
    clopos_port = port_from_environment("LOCAL_CLOPOS_PORT", CLOPOS_PORT) if has_simulator else 0
    with (
        Traces() as traces,
        LocalStack(
            aws_port=port_from_environment("LOCAL_AWS_PORT", AWS_PORT),
            clopos_port=clopos_port,
            parameters=parameters_from_environment(),
            settings={"seed_orders": SEED_ORDERS},
            xray_daemon=traces.address,
            report=say,
            **upstream,
        ) as stack,
        page.serve(stack, traces, port) as url,
    ):
        outputs = stack.outputs | {"PageUrl": url}
        try:
            write_outputs(outputs)
            say("\n" + guide(outputs))
            signal.pause()
        finally:
            OUTPUTS.unlink(missing_ok=True)


if __name__ == "__main__":
    run_command(start)
