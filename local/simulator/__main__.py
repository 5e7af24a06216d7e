"""The command line: run a simulator as a process until SIGINT or SIGTERM."""

import argparse
import asyncio
import dataclasses
import errno
import signal
import sys

from local.simulator.client import CONTROLS_PATH
from local.simulator.server import Address, serve
from local.simulator.settings import BASE_PATH, Settings
from local.simulator.state import State


def main() -> None:
    """Run a simulator until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m local.simulator", description="A simulator of Clopos Open API v2."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4010, help="0 for any free one (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="serve TLS as well, on a port of its own")
    for field in dataclasses.fields(Settings):
        option, text = "--" + field.name.replace("_", "-"), field.metadata["help"]
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true", help=text)
        else:
            kind = type(field.default)
            parser.add_argument(option, type=kind, default=field.default, help=f"{text} (%(default)s)")
    settings = vars(parser.parse_args())
    host, port, tls = (settings.pop(name) for name in ("host", "port", "tls"))
    try:
        asyncio.run(serve(State(Settings(**settings)), host, port, tls, _announce))
    except ValueError as error:  # an invalid setting
        parser.error(str(error))
    except OSError as error:  # cannot listen on this address
        why = "the port is taken" if error.errno == errno.EADDRINUSE else error.strerror
        sys.exit(f"Clopos simulator: cannot listen on {host}:{port}: {why}")


def _announce(address: Address) -> None:
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: address.stop())
    controls = f"its controls on {address.url.removesuffix(BASE_PATH)}{CONTROLS_PATH}"
    tls = address.tls_url and f", TLS on {address.tls_url} with the certificate {address.ca_file}"
    print(f"Clopos simulator listening on {address.url}, {controls}{tls}", flush=True)


if __name__ == "__main__":
    main()
