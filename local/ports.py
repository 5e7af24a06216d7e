"""The address and the ports that the local stack listens on."""

import socket

#: The only address that anything listens on, so that other machines cannot reach it.
HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
