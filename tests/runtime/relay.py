"""A TCP relay whose connections can be closed, as servers close idle ones."""

import contextlib
import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


class Relay(ThreadingTCPServer):
    """Passes connections on to the server at a URL; `url` is the same through the relay, `opened` counts them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(url)
        self.target = (parts.hostname, parts.port)
        self.url = parts._replace(netloc="{}:{}".format(*self.server_address)).geturl()
        self.opened = 0
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def server_close(self) -> None:
        """Stop; called at the end of a ``with`` block."""
        self.shutdown()
        super().server_close()

    def close_connections(self) -> None:
        """Close every connection, on both sides."""
        while self.sockets:
            with contextlib.suppress(OSError):  # it is closed already
                self.sockets.pop().shutdown(socket.SHUT_RDWR)


class _Connection(BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as server:
            self.server.opened += 1
            self.server.sockets += [self.request, server]
            threading.Thread(target=_pass_on, args=(server, self.request), daemon=True).start()
            _pass_on(self.request, server)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one of the two ends was closed or reset
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):  # this end
        target.shutdown(socket.SHUT_WR)
