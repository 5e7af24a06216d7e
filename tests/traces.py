"""An X-Ray daemon that keeps what the functions send to it."""

import socket
import threading

MAX_DATAGRAM_BYTES = 65_535  # both X-Ray and UDP allow at most 64 KiB
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # what the kernel can buffer while this process is busy


class Traces:
    """The daemon, for as long as the ``with`` block lasts. At its end, everything that was sent has been kept.

    `address` is the value of `AWS_XRAY_DAEMON_ADDRESS`, `segments` are the texts that were received.
    """

    def __enter__(self):
        self.segments = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._socket.sendto(b"", self._socket.getsockname())  # an empty datagram ends the thread
        self._thread.join()
        self._socket.close()

    def _receive(self):
        while datagram := self._socket.recv(MAX_DATAGRAM_BYTES):
            self.segments.append(datagram.decode(errors="replace"))
