"""Run the application under uvicorn: limits, a clean end, one line once it accepts connections."""

import asyncio
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ems.app import PREFIX, create_app
from ems.database import open_database
from ems.errors import ConfigError
from ems.hub import Hub
from ems.services import Services, Settings

#: Longest time for the head of a request to arrive, from the connection or its first byte [s].
HEADER_S = 10.0
#: An idle connection is closed after this [s]; longer than a long poll's pause at the client.
KEEP_ALIVE_S = 65
#: What still runs after this when the process is to stop is cancelled [s].
GRACE_S = 1
#: Largest head of a request [bytes].
HEADER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Options:
    """What `ems-server run` was told."""

    db: Path
    host: str
    port: int
    ready_file: Path | None
    settings: Settings
    limit_concurrency: int


class TimedH11(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline for the head of each request: it has none of its own."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as upstream
        """Start to count at the connection."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Count on while a head is incomplete, stop when it is there."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to count."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEADER_S, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """uvicorn's server that tells when it listens and ends all waits when it is to stop."""

    def __init__(self, config: uvicorn.Config, hub: Hub, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._on_ready = on_ready
        self.failure: ConfigError | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            try:
                self._on_ready()
            except ConfigError as error:
                self.failure = error
                self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End long polls and streams at once. The signal is not raised again: exit status 0."""
        self._hub.close()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def serve(options: Options) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        ConfigError: the address, the database or the ready file cannot be used.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    listener = _listen(options.host, options.port)
    with listener, _only_one(options.db):
        database = open_database(options.db)
        try:
            api = create_app(database, settings=options.settings)
            config = uvicorn.Config(
                api,
                http=TimedH11,
                ws="none",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=options.limit_concurrency,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=HEADER_BYTES,
            )
            url = _url(listener) + PREFIX
            hub = cast("Services", api.state.services).hub
            server = Server(config, hub, lambda: _announce(url, options.ready_file))
            server.run([listener])
            if server.failure is not None:
                raise server.failure
        finally:
            database.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--host {host} --port {port}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(f"--host {host} --port {port}: {error.strerror}") from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(url: str, ready_file: Path | None) -> None:
    line = f"ems-server: listening on {url}\n"
    if ready_file is not None:
        part = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        try:
            part.write_text(line, encoding="utf-8")
            part.replace(ready_file)
        except OSError as error:
            raise ConfigError(f"--ready-file {ready_file}: {error.strerror}") from error
    sys.stdout.write(line)
    sys.stdout.flush()


@contextmanager
def _only_one(db: Path) -> Iterator[None]:
    """Hold a lock beside the database: two servers on it would not wake each other's polls."""
    lock = db.with_name(db.name + ".lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"--db {db}: cannot open {lock}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"--db {db}: another ems-server runs on it") from error
    finally:
        os.close(handle)
