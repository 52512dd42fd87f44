"""The agent's local door: one line of JSON in, one line of JSON out, on a Unix socket.

Only the owner of the state directory can open it. It shows what the agent sees, judges a command
without sending it, and sets or clears the local lock-out. It cannot send a command. Whatever comes
in, the answer is a line; a client that says or takes nothing is left after a second.
"""

import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from agent.clock import Clock
from agent.errors import JournalFailed

SOCKET_FILE = "agent.sock"
LONGEST_PATH = 107  # bytes of sun_path in unix(7), without the zero at its end
LOOK_S = 0.5
REQUEST_S, ANSWER_S = 1.0, 1.0  # a client holds the door no longer than both together
ASK_S = 10  # others may be in front
MAX_LINE = 16 * 1024

Answer = Mapping[str, object]
Handler = Callable[[Mapping[str, object]], Answer]

log = logging.getLogger(__name__)


class BadRequest(Exception):
    """The request makes no sense; its text goes back to the person."""


def path_mistake(state_dir: Path) -> str:
    """Return why no socket can be in this folder, "" if one can."""
    length = len(os.fsencode(state_dir / SOCKET_FILE))
    if length <= LONGEST_PATH:
        return ""
    return f"is too long: with /{SOCKET_FILE} {length} bytes, and {LONGEST_PATH} are the most"


class LocalDoor:
    """Serves one request a connection, one connection at a time.

    Args:
        state_dir: where the socket is; see `path_mistake`.
        handlers: by the request's word "do".
        clock: time.

    Attributes:
        beats: loop passes, for the watchdog.
    """

    def __init__(self, state_dir: Path, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._path = state_dir / SOCKET_FILE
        self._handlers = handlers
        self._clock = clock
        self._stopped = False
        self.beats = 0

    def run(self) -> None:
        """Serve until `stop`. To be the target of a thread."""
        self._path.unlink(missing_ok=True)  # of an agent that was killed
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as server:
            before = os.umask(0o177)
            try:
                server.bind(str(self._path))
            finally:
                os.umask(before)
            server.listen(16)
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
            try:
                answer = self._answer(self._line(client))
                client.settimeout(ANSWER_S)
                client.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                log.info("local door: %s", error)

    def _line(self, client: socket.socket) -> bytes:
        """Return the first line; a client has so long for all of it."""
        end_s = self._clock.monotonic_s() + REQUEST_S
        data = b""
        while b"\n" not in data and len(data) <= MAX_LINE:
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise TimeoutError("the request did not come in time")
            client.settimeout(left_s)
            part = client.recv(4096)
            if not part:
                break
            data += part
        return data.split(b"\n", 1)[0]

    def _answer(self, line: bytes) -> Answer:
        try:
            request = _read(line)
            return self._handler(request)(request)
        except BadRequest as error:
            return {"error": str(error)}
        except JournalFailed as error:
            return {"error": f"the journal cannot be used: {error}"}

    def _handler(self, request: Mapping[str, object]) -> Handler:
        word = request.get("do")
        handler = self._handlers.get(word) if isinstance(word, str) else None
        if handler is None:
            raise BadRequest(f'"do" must be one of {", ".join(self._handlers)}')
        return handler


def _read(line: bytes) -> Mapping[str, object]:
    if len(line) > MAX_LINE:
        raise BadRequest(f"the request is longer than {MAX_LINE} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(request, dict):
        raise BadRequest("the request must be a JSON object")
    return request


class NotRunning(Exception):
    """No agent answers at this state directory."""


def ask(state_dir: Path, request: Mapping[str, object]) -> dict[str, object]:
    """Ask the running agent.

    Raises:
        NotRunning: there is none.
        BadRequest: it does not understand, or refuses.
    """
    path = state_dir / SOCKET_FILE
    try:
        answer = json.loads(_exchange(path, json.dumps(request).encode() + b"\n"))
    except OSError as error:
        asked = "does bms-agent run, with this configuration?"
        raise NotRunning(f"no agent answers at {path}: {error}; {asked}") from error
    except ValueError as error:
        raise NotRunning(f"{path} ended before its answer was complete") from error
    if not isinstance(answer, dict):
        raise NotRunning(f"{path} gave no answer of an agent")
    if "error" in answer:
        raise BadRequest(str(answer["error"]))
    return answer


def _exchange(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
        # With a time-out of Python's own, connect fails at once while others wait in front.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", ASK_S, 0))
        client.connect(str(path))
        client.settimeout(ASK_S)
        client.sendall(line)
        data = b""
        with suppress(ConnectionResetError):  # the door read no further, but it answered
            while part := client.recv(65536):
                data += part
        return data
