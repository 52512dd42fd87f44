"""What the machine itself costs: a byte there and back over TCP, without anything of ours."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
peer, _ = server.accept()
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := peer.recv(4096):
    peer.sendall(data)
"""
PAYLOAD = b"x" * 200  # about the size of a command with its headers


class Echo:
    """A process that sends back what it gets."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def round_trip_s(self) -> float:
        """Send the payload and wait until all of it is back [s]."""
        began_s = time.perf_counter()
        self._peer.sendall(PAYLOAD)
        missing = len(PAYLOAD)
        while missing:
            missing -= len(self._peer.recv(missing))
        return time.perf_counter() - began_s


@contextmanager
def echo() -> Iterator[Echo]:
    """Run the echo process."""
    command = [sys.executable, "-c", ECHO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own text
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Echo(peer)
        process.wait()
