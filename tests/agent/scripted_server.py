"""A TCP server on loopback that answers by a script: it can be slow, broken, hostile."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

Script = Callable[[socket.socket, threading.Event], None]


def answer(
    body: bytes = b'{"code":0,"message":"","data":null}',
    status: str = "200 OK",
    *headers: str,
    content_type: str = "application/json",
) -> bytes:
    """Return the bytes of a whole answer that ends its connection."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes) -> Script:
    """Send these bytes, then close."""

    def script(wire: socket.socket, _stop: threading.Event) -> None:
        wire.sendall(data)

    return script


def drips(head: bytes, drop: bytes, every_s: float = 0.03) -> Script:
    """Send `head`, then `drop` again and again until the peer is gone."""

    def script(wire: socket.socket, stop: threading.Event) -> None:
        wire.sendall(head)
        while not stop.wait(every_s):
            wire.sendall(drop)

    return script


def silent(_wire: socket.socket, stop: threading.Event) -> None:
    """Say nothing and keep the connection."""
    stop.wait()


def resets(wire: socket.socket, _stop: threading.Event) -> None:
    """Cut the connection hard."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


class ScriptedServer:
    """Takes one request per connection and runs the next script; the last one repeats.

    Attributes:
        requests: what each connection sent, as text.
    """

    def __init__(self, *scripts: Script, certificate: Path | None = None) -> None:
        self.requests: list[str] = []
        self._scripts = list(scripts)
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)

    @property
    def url(self) -> str:
        """Return the base url."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/api"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5.0)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            self._start(self._serve, wire, script)

    def _serve(self, wire: socket.socket, script: Script) -> None:
        wire.settimeout(5.0)
        with suppress(OSError), wire:  # the peer may leave at any time
            if self._tls is not None:
                wire = self._tls.wrap_socket(wire, server_side=True)
            with wire:
                self.requests.append(_read_request(wire))
                script(wire, self._stop)


def _read_request(wire: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        part = wire.recv(65536)
        if not part:
            return data.decode()
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    wanted = 0
    for line in head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            wanted = int(value)
    while len(body) < wanted:
        body += wire.recv(65536)
    return (head + b"\r\n\r\n" + body).decode()
