"""The platform, as small as it can be: keeps what it is told, and when; hands out commands.

Python's own HTTP server: the guest's processor has no AVX registers to lend to compiled ones.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

PREFIX = "/wad/ems/v1/api"
LONGEST_HOLD_S = 0.5


class Told(NamedTuple):
    """One report. `at_s`: when it came, monotonic [s]."""

    at_s: float
    body: dict[str, Any]

    @property
    def connected(self) -> bool:
        """Whether it says what the battery does."""
        return not self.body["disconnected"] and self.body["operating_status"] is not None


class Platform:
    """Listens on loopback until `close`.

    Attributes:
        told: reports by device_uid, oldest first.
        results: steps of commands by id, oldest first.
    """

    def __init__(self) -> None:
        self.told: dict[str, list[Told]] = {}
        self.results: dict[str, list[dict[str, Any]]] = {}
        self._pending: dict[str, list[dict[str, Any]]] = {}
        self._news = threading.Condition()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(platform.get(*_parts(self.path)))

            def do_PUT(self) -> None:
                self._answer(platform.put(_parts(self.path)[1], self._body()))

            def do_POST(self) -> None:
                self._answer(platform.post(_parts(self.path)[0], self._body()))

            def _body(self) -> dict[str, Any]:
                found: dict[str, Any] = json.loads(
                    self.rfile.read(int(self.headers["Content-Length"]))
                )
                return found

            def _answer(self, data: object) -> None:
                body = json.dumps({"code": 0, "message": "ok", "data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = _ignore  # type: ignore[assignment,method-assign]  # it hangs up
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{PREFIX}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="platform")
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def get(self, path: str, query: dict[str, str]) -> object:
        """Answer a poll, held for a while if there is nothing; or the test of the key."""
        if not path.endswith("/pending"):
            return None
        uid = query["device_uid"]
        with self._news:
            if int(query.get("wait", "0")):
                self._news.wait_for(lambda: self._pending.get(uid), LONGEST_HOLD_S)
            commands = list(self._pending.get(uid, ()))
        return {"poll_after_ms": 0, "sync_requested": False, "commands": commands}

    def put(self, query: dict[str, str], body: dict[str, Any]) -> object:
        """Take a report."""
        with self._news:
            self.told.setdefault(query["device_uid"], []).append(Told(time.monotonic(), body))
            self._news.notify_all()
        return {"device_uid": query["device_uid"], "sequence": body["sequence"]}

    def post(self, path: str, body: dict[str, Any]) -> object:
        """Take a step of a command, or kept reports."""
        if path.endswith("/reports"):
            return {
                "accepted_through": max((each["sequence"] for each in body["reports"]), default=0)
            }
        with self._news:
            self.results.setdefault(body["id"], []).append(body)
            if body["state"] not in {"accepted", "gated", "sending", "sent", "acknowledged"}:
                pending = self._pending.get(body["device_uid"], [])
                pending[:] = [each for each in pending if each["id"] != body["id"]]
            self._news.notify_all()
        return None

    def command(self, uid: str, identity: str, code: int, life_s: float = 10.0) -> None:
        """Hand out a command."""
        with self._news:
            self._pending.setdefault(uid, []).append(
                {
                    "id": identity,
                    "command": code,
                    "expires_in_ms": round(life_s * 1000),
                    "issued_by": "test",
                    "version": 1,
                }
            )
            self._news.notify_all()

    def wait(self, what: Callable[[], object], seconds: float) -> bool:
        """Wait until something that was told is so; tell whether it is."""
        with self._news:
            return bool(self._news.wait_for(what, seconds))


def _ignore(*_: object) -> None:
    """Say nothing of a client that left."""


def _parts(path: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(path)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}
