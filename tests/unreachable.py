"""Addresses at which nothing answers."""

import contextlib
import socket
from collections.abc import Iterator

_LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def stalled_listener() -> Iterator[tuple[str, int]]:
    """Yield the address of a server that accepts connections but never reads or writes.

    TLS handshakes and requests to it get no answer.
    """
    with socket.create_server((_LOOPBACK, 0), backlog=128) as listener:
        yield listener.getsockname()


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """Yield an address where attempts to connect get no answer, as behind a firewall that drops packets.

    The queue of a listener that accepts nothing is full, so the system drops further attempts.
    """
    with socket.create_server((_LOOPBACK, 0), backlog=0) as listener, contextlib.ExitStack() as queue:
        address = listener.getsockname()
        for _ in range(300):  # the minimum length of the queue is 128 on some systems
            try:
                queue.enter_context(socket.create_connection(address, timeout=0.2))
            except TimeoutError:  # full
                break
        else:
            raise RuntimeError("this system accepts more connections than a listener asked for")
        yield address
