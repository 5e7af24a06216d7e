"""The ports of this machine that the local stack listens on."""

import socket

#: Everything listens here and nowhere else: no other machine reaches it.
HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
