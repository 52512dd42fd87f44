"""The HTTP shell: a request head that never ends does not hold a connection."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ems import server


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give a server in a thread whose heads must arrive within 0.3 s."""
    monkeypatch.setattr(server, "HEADER_S", 0.3)

    async def slow(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", slow)])
    config = uvicorn.Config(app, http=server.TimedH11, ws="none", log_config=None, lifespan="off")
    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    running.should_exit = True
    thread.join()


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            got += part
    return got


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_an_unfinished_head_is_cut_off(port: int, head: bytes) -> None:
    """Nothing, or half a head, and the connection is closed without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        assert read_all(connection) == b""


def test_a_second_head_has_the_same_time(port: int) -> None:
    """On a kept connection the next head counts from its first byte; a whole one is served."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(request)
            got = b""
            while not got.endswith(b"ok"):
                got += connection.recv(4096)
            assert got.startswith(b"HTTP/1.1 200")
            time.sleep(0.4)  # longer than a head may take: an idle connection is not a slow head
        connection.sendall(request[:10])
        assert read_all(connection) == b""
