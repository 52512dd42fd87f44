"""The agent's local door: one line of JSON in, one line of JSON out, on a Unix socket.

Only the owner of the state directory can open it. It shows what the agent sees, judges a command
without sending it, and sets or clears the local lock-out. It cannot send a command.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

SOCKET_FILE = "agent.sock"
LOOK_S = 0.5
CLIENT_S = 2.0
MAX_LINE = 16 * 1024

Answer = Mapping[str, object]
Handler = Callable[[Mapping[str, object]], Answer]

log = logging.getLogger(__name__)


class BadRequest(Exception):
    """The request makes no sense; its text goes back to the person."""


class LocalDoor:
    """Serves one request a connection, one connection at a time.

    Args:
        state_dir: where the socket is.
        handlers: by the request's word "do".

    Attributes:
        beats: loop passes, for the watchdog.
    """

    def __init__(self, state_dir: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = state_dir / SOCKET_FILE
        self._handlers = handlers
        self._stopped = False
        self.beats = 0

    def run(self) -> None:
        """Serve until `stop`. To be the target of a thread."""
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as server:
            before = os.umask(0o177)
            try:
                server.bind(str(self._path))
            finally:
                os.umask(before)
            server.listen(4)
            server.settimeout(LOOK_S)
            while not self._stopped:
                self.beats += 1
                self._serve(server)
        self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True

    def _serve(self, server: socket.socket) -> None:
        try:
            client, _ = server.accept()
        except TimeoutError:
            return
        with client:
            client.settimeout(CLIENT_S)
            try:
                client.sendall(json.dumps(self._answer(_line(client))).encode() + b"\n")
            except OSError as error:
                log.info("local door: %s", error)

    def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or request.get("do") not in self._handlers:
                return {"error": f'"do" must be one of {", ".join(self._handlers)}'}
            return self._handlers[str(request["do"])](request)
        except ValueError as error:
            return {"error": f"not JSON: {error}"}
        except BadRequest as error:
            return {"error": str(error)}


def _line(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) <= MAX_LINE:
        part = client.recv(4096)
        if not part:
            break
        data += part
    return data


class NotRunning(Exception):
    """No agent answers at this state directory."""


def ask(state_dir: Path, request: Mapping[str, object]) -> dict[str, object]:
    """Ask the running agent.

    Raises:
        NotRunning: there is none.
        BadRequest: it does not understand, or refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
            client.settimeout(CLIENT_S)
            client.connect(str(state_dir / SOCKET_FILE))
            client.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while part := client.recv(65536):
                data += part
    except OSError as error:
        raise NotRunning(f"no agent answers at {state_dir / SOCKET_FILE}: {error}") from error
    answer = json.loads(data or b"{}")
    if "error" in answer:
        raise BadRequest(str(answer["error"]))
    return dict(answer)
