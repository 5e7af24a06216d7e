"""A function's handler, with libraries that log, warn and print in every way that exists."""

import importlib
import logging
import os
import threading
import warnings
from typing import Any

own = importlib.import_module(os.environ["WRAPPED_MODULE"])


def divide_by_zero() -> None:
    """Raise an exception that quotes what it should not."""
    raise ZeroDivisionError(os.environ["AWS_SESSION_TOKEN"])


class Broken:
    """An object whose destructor fails."""

    def __del__(self) -> None:
        divide_by_zero()


def handler(event: Any, context: Any) -> Any:
    """Make noise, then call the function's own handler."""
    warnings.warn("a warning\nof two lines", DeprecationWarning, stacklevel=2)
    warnings.warn("a resource", ResourceWarning, stacklevel=2)
    for name in (
        "urllib3.connectionpool",
        "botocore",
        "aws_xray_sdk.core.context",
        "a.library.of.tomorrow",
        None,
    ):
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
