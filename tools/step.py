"""Run one long step of ``make``: show its progress, and write its output to a log.

``python -m tools.step --title "Installing" --log .local/install.log -- pip install ...``

If the step fails, its log is printed. If it failed because another machine cannot be reached, the last line
says which one. It only uses the standard library, because the first step runs before any environment exists.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from tools.progress import Progress

POLL_S = 0.2

#: pip's errors if it cannot reach a machine. Not every version of pip then names the machine.
UNREACHABLE = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError"
)
HOST = re.compile(
    r"Connection(?:Pool)?\(host='([^']+)'|^Looking in indexes: \w+://(?:[^/@]*@)?([^/:]+)", re.M
)


def run(command: list[str], title: str, log: Path, count: str = "", total: int = 0, unit: str = "") -> int:
    """Run a command to its end, and return its status.

    `count` is a regular expression of the lines of its output to count, as `unit`, up to `total`.
    """
    counted, started, progress = 0, time.monotonic(), Progress()

    def described() -> str:
        done = f"{counted} of {total} {unit}, " if counted else ""
        return f"{title}: {done}{time.monotonic() - started:.0f} s"

    def read(lines: Iterable[str], log_file: TextIO) -> None:
        nonlocal counted
        for line in lines:
            log_file.write(line)
            counted += bool(count and re.search(count, line))

    if not sys.stderr.isatty():
        print(title, file=sys.stderr, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as log_file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        reader = threading.Thread(target=read, args=(process.stdout or (), log_file))
        reader.start()
        while reader.is_alive():
            progress.show(described())
            reader.join(POLL_S)
    progress.clear()
    if sys.stderr.isatty():
        print(described(), file=sys.stderr, flush=True)
    if process.returncode:
        text = log.read_text(errors="replace")
        print(text, file=sys.stderr)
        if sentence := unreachable(text):
            print(sentence, file=sys.stderr)
    return process.returncode


def unreachable(log: str) -> str | None:
    """Return a sentence about the machine that could not be reached; None for other failures."""
    if not UNREACHABLE.search(log):
        return None
    hosts = ["The package index", *(host or index for host, index in HOST.findall(log))]
    return (
        f"{hosts[-1]} cannot be reached, and packages have to be downloaded from there. Connect this machine "
        "to the network, or set HTTPS_PROXY or PIP_INDEX_URL if yours has a proxy or a package index."
    )


def main() -> int:
    """Run the step that the command line describes; return its status."""
    parser = argparse.ArgumentParser(prog="python -m tools.step", description=__doc__)
    parser.add_argument("--title", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--count", default="", help="count the lines of the output that match this")
    parser.add_argument("--total", type=int, default=0)
    parser.add_argument("--unit", default="")
    parser.add_argument("command", nargs="+")
    try:
        return run(**vars(parser.parse_args()))
    except KeyboardInterrupt:  # Ctrl-C in a terminal, which the command has got as well; make says so
        Progress().clear()
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
