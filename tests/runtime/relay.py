"""A TCP relay whose connections can be closed, as servers close idle ones."""

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"


class Relay:
    """Passes connections on to a server, for as long as the ``with`` block lasts.

    Parameters
    ----------
    url : str
        The server's URL.

    Attributes
    ----------
    url : str
        The same through the relay.
    opened : int
        How many connections there have been.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server((HOST, 0))
        self._sockets: list[socket.socket] = []
        self.url = parts._replace(netloc=f"{HOST}:{self._listener.getsockname()[1]}").geturl()
        self.opened = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        """Close every connection, on both sides."""
        for end in self._sockets:
            with contextlib.suppress(OSError):  # it is closed already
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._sockets.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed: the block has ended
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self.opened += 1
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one of the two ends was closed or reset
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):  # this end
        target.shutdown(socket.SHUT_WR)
