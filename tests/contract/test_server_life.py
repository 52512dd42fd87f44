"""The process: restart, kill -9, clean end, limits, and no key in any output."""

import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.contract.conftest import Box, Ems
from tests.contract.test_device_channel import issue, life, until_waiting


def test_everything_survives_a_restart(own_ems: Ems) -> None:
    """Devices, keys, status, commands with their lives, results and reports are there again."""
    uid, key = own_ems.new_device()
    with own_ems.client(key) as http, own_ems.client(own_ems.operator_key) as operator:
        box = Box(uid, http)
        box.report(5, operating_status=3)
        done = issue(operator, box, 1)
        box.poll()
        box.tell(done, "succeeded", evidence={"frame": "0102"})
        queued = issue(operator, box, 3)
        http.post(
            "/bms-control/reports",
            json={"device_uid": uid, "reports": [{"sequence": 1, "kind": "k", "body": {}}]},
        )
        before = life(operator, done)
    assert own_ems.stop() == 0
    own_ems.start()
    with own_ems.client(key) as http, own_ems.client(own_ems.operator_key) as operator:
        box = Box(uid, http)
        assert life(operator, done) == before
        (pending,) = box.poll()["commands"]
        assert pending["id"] == queued
        assert 30_000 < pending["expires_in_ms"] < 60_000
        status = operator.get("/bms-control", params={"device_uid": uid}).json()["data"]
        assert status["operating_status"] == 3
        assert box.report(4, operating_status=1).json()["data"]["operating_status"] == 3
        assert operator.get("/reports", params={"device_uid": uid}).json()["data"]["total"] == 1
        assert operator.get("/device").json()["data"]["list"][0]["heartbeat_time"] is not None


def test_kill_9_loses_nothing_that_was_acknowledged(own_ems: Ems) -> None:
    """Commands and results answered with 200 are there after kill -9 in the middle of traffic."""
    uid, key = own_ems.new_device()
    acknowledged: list[str] = []
    for _ in range(3):
        with own_ems.client(key) as http, own_ems.client(own_ems.operator_key) as operator:
            box = Box(uid, http)
            killer = threading.Timer(0.3, own_ems.stop, [signal.SIGKILL])
            killer.start()
            try:
                while True:
                    command_id = issue(operator, box, 3)
                    box.poll()
                    box.tell(command_id, "succeeded").raise_for_status()
                    acknowledged.append(command_id)
            except httpx.TransportError:
                killer.join()
        own_ems.start()
    with own_ems.client(own_ems.operator_key) as operator:
        assert len(acknowledged) > 3
        for command_id in acknowledged:
            assert life(operator, command_id)["state"] == "succeeded"
    with sqlite3.connect(own_ems.db) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_end_with_open_waits(own_ems: Ems, how: signal.Signals) -> None:
    """A signal ends long polls, syncs and event streams; exit status 0 within 2 s."""
    uid, key = own_ems.new_device()

    def stream() -> int:
        with (
            own_ems.client(own_ems.operator_key) as client,
            client.stream("GET", "/events") as events,
        ):
            return sum(1 for _ in events.iter_lines())

    with ThreadPoolExecutor(3) as pool, own_ems.client(key) as http:
        polling = pool.submit(Box(uid, http).poll, 30)
        with own_ems.client(own_ems.operator_key) as operator:
            query = {"device_uid": uid}
            until_waiting(own_ems, 1)
            streaming = pool.submit(stream)
            asking = pool.submit(operator.put, "/bms-control/sync", params=query)
            assert polling.result(timeout=10)["sync_requested"] is True
            polling = pool.submit(Box(uid, http).poll, 30)
            until_waiting(own_ems, 2)
            began_s = time.monotonic()
            assert own_ems.stop(how) == 0
            assert time.monotonic() - began_s < 2
            assert polling.result(timeout=5)["commands"] == []
            assert asking.result(timeout=5).json()["code"] == 140002
            assert streaming.result(timeout=5) > 0
    assert "Traceback" not in own_ems.log(), own_ems.log()


def test_one_line_tells_where_it_listens(own_ems: Ems) -> None:
    """Standard output has exactly the agreed line, and nothing else is written."""
    assert own_ems.url.startswith("http://127.0.0.1:")
    assert own_ems.log() == f"ems-server: listening on {own_ems.url}\n"


def refused_start(*arguments: str) -> str:
    """Start a server that must not start; return its one line."""
    command = [sys.executable, "-m", "ems", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603  # our own program
    assert done.returncode == 78, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_configuration_errors_exit_78_with_one_line(own_ems: Ems, tmp_path: Path) -> None:
    """A database in use, an address in use and a file that is none are named."""
    assert "another ems-server runs" in refused_start("--db", str(own_ems.db), "--port", "0")
    port = own_ems.root.rpartition(":")[2]
    new = str(tmp_path / "new.db")
    assert f"--port {port}" in refused_start("--db", new, "--port", port)
    text = tmp_path / "text.db"
    text.write_text("no database" * 100)
    assert "text.db" in refused_start("--db", str(text), "--port", "0")
    ready = str(tmp_path / "missing" / "ready")
    assert "--ready-file" in refused_start("--db", new, "--port", "0", "--ready-file", ready)


def test_no_key_in_any_output(own_ems: Ems) -> None:
    """Neither the log nor the database nor an answer ever holds a key."""
    uid, key = own_ems.new_device()
    seen = []
    with own_ems.client(key) as http, own_ems.client(own_ems.operator_key) as operator:
        box = Box(uid, http)
        command_id = issue(operator, box)
        box.poll()
        seen += [box.tell(command_id, "sent"), box.tell(command_id, "bad"), box.report(1)]
        seen += [operator.get(path) for path in ("/device", "/nothing", "/bms-control")]
        seen += [httpx.get(own_ems.root + path) for path in ("/metrics", "/openapi.json", "/docs")]
    assert own_ems.stop() == 0
    outputs = [own_ems.log(), *(answer.text for answer in seen)]
    outputs += [file.read_bytes().decode("latin-1") for file in own_ems.db.parent.glob("ems.db*")]
    for text in outputs:
        for secret in (key, own_ems.operator_key):
            assert secret not in text
            assert secret.split("_", 2)[2] not in text  # its random part may hold "_" too


def test_a_large_head_is_refused(ems: Ems) -> None:
    """A request head above 16 KiB gets 400, not memory."""
    host, _, port = ems.root.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * 20_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
