"""Run the AWS emulator for as long as standard input stays open, under the emulator's own Python.

Whoever starts it holds the other end. When that process ends, however it ends, the emulator, the functions
that it runs and the folder given as the argument are gone too.
"""

import os
import runpy
import shutil
import signal
import sys
import threading


def end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, then end this process group and what it wrote."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # functions may still be writing there
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=sys.argv[1:], daemon=True).start()
    del sys.argv[1:]  # the emulator reads it as well
    runpy.run_module("ministack", run_name="__main__")
