"""Run the AWS emulator for as long as standard input stays open, under the emulator's own Python.

The process that starts it holds the other end. When that process ends, for any reason, the emulator and its
functions are killed, and the folder given as the argument is removed.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Transform = Callable[..., Json]


def end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, then remove the folder and end this process group."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # functions may still be writing there
    os.killpg(0, signal.SIGKILL)


def run() -> None:
    """Run the emulator with what it has no settings for: parameters, whole logs and the browser guard."""
    transform_with_values()
    wait_for_last_lines()
    guarded = runpy.run_path(str(Path(__file__).parents[1] / "browser_guard.py"))["guarded"]
    import ministack.app as emulator  # takes a second, and the thread below must run by then

    emulator.app = guarded(emulator.app)  # this is what main() serves
    emulator.main()


def transform_with_values() -> None:
    """Make the emulator's SAM transform use the values of a stack's parameters, as AWS does.

    By itself it only uses their defaults, so `sam deploy --parameter-overrides GradualDeployments=false`
    would still ask for CodeDeploy, which the emulator does not have. There is no setting for this, so a
    function of it is replaced. The version is locked, and tests/infrastructure/test_deployed.py fails if
    this stops working.

    In `MaximumConcurrency`, a reference becomes an integer: the emulator's event sources cannot compare text.
    """
    package = "ministack.services.cloudformation"
    engine = import_module(f"{package}.engine")
    transform: Transform = engine._apply_transforms

    def transform_template(template: Json, provided: Any = None, previous: Any = None) -> Json:
        values = engine._transform_parameters(template, provided, previous)
        parameters = {
            name: {**parameter, "Default": values[name]} if name in values else parameter
            for name, parameter in template.get("Parameters", {}).items()
        }
        processed = transform({**template, "Parameters": parameters}, provided, previous)
        for resource in processed.get("Resources", {}).values():
            scaling = resource.get("Properties", {}).get("ScalingConfig", {})
            if isinstance(reference := scaling.get("MaximumConcurrency"), dict):
                scaling["MaximumConcurrency"] = int(values[reference["Ref"]])
        return processed

    for caller in ("changesets", "handlers"):
        vars(import_module(f"{package}.{caller}"))["_apply_transforms"] = transform_template


def wait_for_last_lines() -> None:
    """Make the emulator wait longer for what a function writes: 20 ms after a line, 0.5 s for the first one.

    After 5 and 50 ms, a busy machine's lines come too late, and appear with the next invocation or never.
    """
    worker = import_module("ministack.core.lambda_runtime").Worker
    worker._drain_stderr_bounded.__defaults__ = (0.5, 0.02, 1.0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=sys.argv[1:], daemon=True).start()
    del sys.argv[1:]  # the emulator would parse it as its own
    run()
