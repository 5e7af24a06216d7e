"""Handlers that call a function's own handler, in its process, with something added."""

import cProfile
import importlib
import json
import logging
import os
import ssl
import sys
import threading
import time
import warnings
from typing import Any

now, ahead_s = time.time, 0.0
time.time = lambda: now() + ahead_s  # before any module of the function could keep the original
trust, trusted = ssl.SSLContext.load_verify_locations, []
ssl.SSLContext.load_verify_locations = lambda *args, **kwargs: trusted.append(args) or trust(*args, **kwargs)
own = importlib.import_module(os.environ["WRAPPED_MODULE"])


def later(event: Any, context: Any) -> Any:
    """Put the clock forward: more time has passed than really has, and the event says how much."""
    global ahead_s
    ahead_s = event.pop("clock_ahead_s", ahead_s)
    return own.handler(event, context)


def counting(event: Any, context: Any) -> Any:
    """Print the number of calls, of Python and C functions: the same on every machine."""
    profile = cProfile.Profile()
    result = profile.runcall(own.handler, event, context)
    calls = sum(entry.callcount for entry in profile.getstats())
    sys.stdout.write(json.dumps({"calls": calls}) + "\n")
    return result


def counting_contexts(event: Any, context: Any) -> Any:
    """Call the function's own handler, and print in how many TLS contexts authorities have been loaded so far."""
    result = own.handler(event, context)
    sys.stdout.write(json.dumps({"contexts": len(trusted)}) + "\n")
    return result


def divide_by_zero() -> None:
    """Raise an exception that quotes what it should not."""
    raise ZeroDivisionError(os.environ["AWS_SESSION_TOKEN"])


class Broken:
    """An object whose destructor fails."""

    def __del__(self) -> None:
        divide_by_zero()


def noisy(event: Any, context: Any) -> Any:
    """Log, warn and print in every way that libraries know."""
    warnings.warn("a warning\nof two lines", DeprecationWarning, stacklevel=2)
    warnings.warn("a resource", ResourceWarning, stacklevel=2)
    for name in ("urllib3.connectionpool", "botocore", "aws_xray_sdk.core.context", "of.tomorrow", None):
        library = logging.getLogger(name)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            library.log(level, "one line\nand %s more", "one")
        try:
            raise ValueError("a cause\nof two lines")
        except ValueError:  # the one above
            library.exception("an error with its cause")
    logging.warning("on the root logger")
    thread = threading.Thread(target=divide_by_zero)
    thread.start()
    thread.join()
    Broken()  # its destructor runs at once
    return own.handler(event, context)
