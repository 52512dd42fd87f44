"""A network backend for httpcore that keeps one deadline for a whole call, and can be cut off.

httpx's time-outs are per operation: a server that sends a byte now and then holds a call for ever.
Here each operation may take no longer than what is left of the call's budget, name lookup
included. `cut` ends a read that waits in another thread: closing a socket does not, shutting it
down does.
"""

import contextlib
import ipaddress
import math
import queue
import socket
import ssl
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import httpcore

from agent.clock import Clock

CONNECT_S = 5.0
_WRITE_CHUNK = 16 * 1024
# httpcore asks for 64 KiB at a time. A long poll would hold so much for its whole wait, and leave a
# hole of that size in the heap, which small things fill before the next read: memory creeps up.
_READ_BYTES = 4 * 1024
KEEPALIVE_S = 20
SOCKET_OPTIONS: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # A peer that vanished without a word is noticed in this time, not in 15 minutes [ms].
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 18), KEEPALIVE_S * 1000),
]


class Budget(threading.local):
    """End of the call that this thread makes, by the clock [s]."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.end_s = math.inf

    def left(self, timeout_s: float | None, over: type[Exception]) -> float:
        """Return the time that an operation may take [s].

        Raises:
            Exception: `over`, when nothing is left.
        """
        left_s = self.end_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise over("the deadline of the call is over")
        return left_s if timeout_s is None else min(left_s, timeout_s)


class BoundedStream(httpcore.NetworkStream):
    """A connection whose every operation ends within the budget."""

    def __init__(self, inner: httpcore.NetworkStream, backend: "BoundedBackend") -> None:
        self._inner = inner
        self._backend = backend
        backend.keep(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore."""
        left_s = self._backend.budget.left(timeout, httpcore.ReadTimeout)
        return self._inner.read(min(max_bytes, _READ_BYTES), left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore. In pieces, so that a slow reader cannot stretch the call."""
        for start in range(0, len(buffer), _WRITE_CHUNK):
            left_s = self._backend.budget.left(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _WRITE_CHUNK], left_s)

    def close(self) -> None:
        """See httpcore."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        left_s = self._backend.budget.left(timeout, httpcore.ConnectTimeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, left_s)
        return BoundedStream(inner, self._backend)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """See httpcore."""
        return self._inner.get_extra_info(info)

    def cut(self) -> None:
        """End whatever waits on this connection, from any thread."""
        wire = self._inner.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Of the base class: SSLSocket.shutdown would pull its state from under the reader.
            socket.socket.shutdown(wire, socket.SHUT_RDWR)


class BoundedBackend(httpcore.NetworkBackend):
    """Opens connections that keep to the budget. One for each client."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._inner = httpcore.SyncBackend()
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[BoundedStream] = weakref.WeakSet()
        self._cut = False

    def keep(self, stream: BoundedStream) -> None:
        """Remember a connection for `cut`."""
        with self._lock:
            self._streams.add(stream)
            cut = self._cut
        if cut:
            stream.cut()

    def cut(self) -> None:
        """End every connection, and every one that would be opened later."""
        with self._lock:
            self._cut = True
            streams = list(self._streams)
        for stream in streams:
            stream.cut()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore. Tries each address of the host until one answers."""
        limit_s = CONNECT_S if timeout is None else timeout
        addresses = self._lookup(host, port, limit_s)
        options = list(socket_options or ())
        for index, address in enumerate(addresses):
            left_s = self.budget.left(limit_s, httpcore.ConnectTimeout)
            share_s = left_s / (len(addresses) - index)
            try:
                inner = self._inner.connect_tcp(address, port, share_s, local_address, options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if index == len(addresses) - 1:
                    raise
            else:
                return BoundedStream(inner, self)
        raise httpcore.ConnectError(f"{host} has no address")

    def _lookup(self, host: str, port: int, limit_s: float) -> list[str]:
        """Return the host's addresses. In a thread: the resolver knows no time-out of ours."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
        args = (host, port, answers)
        threading.Thread(target=_ask_resolver, args=args, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=self.budget.left(limit_s, httpcore.ConnectTimeout))
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"no answer about the name {host}") from None
        if isinstance(answer, OSError):
            raise httpcore.ConnectError(str(answer)) from answer
        return answer


def _ask_resolver(host: str, port: int, answers: "queue.SimpleQueue[list[str] | OSError]") -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        answers.put(error)
    except UnicodeError as error:  # a label that IDNA refuses
        answers.put(OSError(str(error)))
    else:
        answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
