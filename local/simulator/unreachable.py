"""Addresses at which nothing answers."""

import contextlib
import socket
from collections.abc import Iterator

_LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def stalled_listener() -> Iterator[tuple[str, int]]:
    """Give the address of a server to which connections open, and which never reads or writes.

    A TLS handshake with it stalls, and so does a request.
    """
    with socket.create_server((_LOOPBACK, 0), backlog=128) as listener:
        yield listener.getsockname()


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """Give an address at which the attempt to connect is not answered, as behind a firewall that drops it.

    The queue of a listener that accepts nothing is filled up; the system then drops further attempts.
    """
    with socket.create_server((_LOOPBACK, 0), backlog=0) as listener, contextlib.ExitStack() as queue:
        address = listener.getsockname()
        for _ in range(300):  # some systems make a queue of at least 128
            try:
                queue.enter_context(socket.create_connection(address, timeout=0.2))
            except TimeoutError:  # full
                break
        else:
            raise RuntimeError("this system accepts more connections than a listener asked for")
        yield address
