"""Run the AWS emulator for as long as standard input stays open, under the emulator's own Python.

The process that starts it holds the other end. When that process ends, for whatever reason, the emulator, the
functions that it runs and the folder given as the argument are removed as well.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
from pathlib import Path


def end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, then remove the folder and end this process group."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # functions may still be writing there
    os.killpg(0, signal.SIGKILL)


def run() -> None:
    """Run the emulator with what its own settings do not offer, above all a guard against browsers."""
    here = Path(__file__)
    runpy.run_path(str(here.with_name("emulator_parameters.py")))["transform_with_values"]()
    guarded = runpy.run_path(str(here.with_name("browser_guard.py")))["guarded"]
    import ministack.app as emulator  # only now, for it takes a second: the thread below is running

    emulator.app = guarded(emulator.app)  # this is what main() serves
    emulator.main()


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=sys.argv[1:], daemon=True).start()
    del sys.argv[1:]  # the emulator would read it as its own argument
    run()
