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
from pathlib import Path


def end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, then remove the folder and end this process group."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # functions may still be writing there
    os.killpg(0, signal.SIGKILL)


def run() -> None:
    """Run the emulator with two patches that it has no settings for: parameters and the browser guard."""
    here = Path(__file__)
    runpy.run_path(str(here.with_name("sam_parameters.py")))["transform_with_values"]()
    guarded = runpy.run_path(str(here.parents[1].joinpath("browser_guard.py")))["guarded"]
    import ministack.app as emulator  # takes a second, and the thread below must run by then

    emulator.app = guarded(emulator.app)  # this is what main() serves
    emulator.main()


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=sys.argv[1:], daemon=True).start()
    del sys.argv[1:]  # the emulator would parse it as its own
    run()
