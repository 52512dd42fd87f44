"""Whatever the platform does to one device of a box, another one reports and is commanded."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from agent.clock import SystemClock
from agent.config import load
from agent.wiring import build
from tests.system.plant import until

CONFIG = """\
[platform]
url = "{url}"
key_file = "key"
sync_period_s = 1
deadline_s = 30
poll_wait_s = 0
[agent]
state_dir = "state"
"""
DEVICE = """\
[[device]]
uid = "{uid}"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "two-devices-{uid}"
"""
SICK = ("A", "C", "D", "E", "F")  # more than reports could run at once before


class Platform(ThreadingHTTPServer):
    """Answers device B; what the others ask hangs, or gets nonsense.

    Attributes:
        seen: for each device and path how many requests came.
    """

    daemon_threads = True

    def __init__(self, *, hangs: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hangs = hangs
        self.ended = threading.Event()
        self.seen: dict[tuple[str, str], int] = {}

    @property
    def url(self) -> str:
        """The address with the prefix."""
        return f"http://127.0.0.1:{self.server_address[1]}/wad/ems/v1/api"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        assert isinstance(self.server, Platform)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        told = json.loads(body) if body else {}
        uid = parse_qs(parts.query).get("device_uid", [told.get("device_uid", "")])[0]
        name = parts.path.rsplit("/", 1)[1]
        self.server.seen[uid, name] = self.server.seen.get((uid, name), 0) + 1
        data: dict[str, object] = {"device_uid": uid, "sequence": told.get("sequence", 1)}
        if name == "pending":
            data = {"poll_after_ms": 200, "sync_requested": False, "commands": []}
        if name == "reports":
            data = {"stored": 1, "duplicates": 0, "accepted_through": 1_000_000}
        text = json.dumps({"code": 0, "message": "", "data": data}).encode()
        if uid != "B" and self.server.hangs:
            self.server.ended.wait(30)
        if uid != "B":
            text = b"<html>no</html>"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def platform(*, hangs: bool) -> Iterator[Platform]:
    """Run the platform."""
    with Platform(hangs=hangs) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [True, False])
def test_a_sick_device_delays_no_other(tmp_path: Path, hangs: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Five devices whose every call hangs, or is answered with a portal's page; B goes on."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("secret-secret", encoding="ascii")
    (tmp_path / "state").mkdir(mode=0o700)
    with platform(hangs=hangs) as server:
        text = CONFIG.format(url=server.url)
        text += "".join(DEVICE.format(uid=uid) for uid in (*SICK, "B"))
        (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
        system = build(load(tmp_path / "agent.toml", {}), SystemClock())
        thread = threading.Thread(target=system.run)
        thread.start()
        try:
            until(lambda: server.seen.get(("B", "sync"), 0) >= 3, 8.0)
        finally:
            system.supervisor.stop()
            server.ended.set()
            thread.join(15)
        assert not thread.is_alive()
        assert server.seen["B", "pending"] >= 4
        assert server.seen["B", "reports"] >= 1
        assert all(server.seen[uid, "sync"] >= 1 for uid in SICK)
