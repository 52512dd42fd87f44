"""The test stand: platform and agent as processes of their own, the battery in this one.

The bus between them is python-can's udp_multicast on this machine. The battery is our default one;
its profile is a copy without rate limits and with short waits, because 200 commands in a row are
no operation that a site would see. Frames are stamped by the kernel.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import can

from agent.clock import SystemClock
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator

ROOT = Path(__file__).parents[1]
GROUP, DEVICE = "239.74.163.2", "BENCH-1"
START_S, STEP_S = 20.0, 0.02
ENDED = ("held", "reverted", "rejected", "expired", "failed", "timed_out", "cancelled")
CHANGED = {  # text of the shipped profile -> of the copy
    "frames = 3, window_s = 20, hold_s = 5": "frames = 1, window_s = 5, hold_s = 0.1",
    "frames = 3, window_s = 15, hold_s = 5": "frames = 1, window_s = 5, hold_s = 0.1",
    "repeat = 3": "repeat = 1",
    "per_minute = 30\n": "per_minute = 6000\n",
    "per_minute = 60\n": "per_minute = 6000\n",
    "precharge_s = 2.0": "precharge_s = 0.05",
    "steady_s = 3\n": "steady_s = 0\n",
    "close_interval_s = 10\n": "close_interval_s = 0\n",
    "close_max = 3\n": "close_max = 100\n",
    "close_window_s = 600\n": "close_window_s = 1\n",
}
CONFIG = """\
[platform]
url = "{url}"
key_file = "box.key"
sync_period_s = 10
[agent]
state_dir = "state"
log_level = "warning"
[site]
override = "bench: rate limits are lifted"
close_interval_s = 0
close_max = 100
close_window_s = 1
steady_s = 0
[[device]]
uid = "{uid}"
profile = "{profile}"
read_only = false
[device.can]
interface = "udp_multicast"
channel = "{group}"
port = {port}
"""


class Client:
    """An operator at the platform, on one connection that stays open."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Make one call; return its data."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, self._path + path, content, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        if answer.get("code", 0) != 0:
            raise SystemExit(f"bench: {method} {path}: {answer}")
        return answer.get("data")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Stand:
    """Everything that runs.

    Attributes:
        agent: the process of `bms-agent run`.
        simulator: the battery, None if it is a process of its own.
        listener: a bus that hears all frames, stamped by the kernel [s, wall clock].
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("", 0))
            self.port = int(probe.getsockname()[1])
        self.agent: subprocess.Popen[bytes] | None = None
        self.simulator: Simulator | None = None
        self.client: Client | None = None
        self.listener: can.BusABC | None = None

    def operator(self) -> Client:
        """Return the operator."""
        assert self.client is not None  # noqa: S101 - made by `stand`
        return self.client

    def status(self) -> dict[str, Any]:
        """GET /bms-control."""
        found: dict[str, Any] = self.operator().call("GET", f"/bms-control?device_uid={DEVICE}")
        return found

    def frames(self, seconds: float) -> Iterator[can.Message]:
        """Yield the frames on the bus for so long."""
        assert self.listener is not None  # noqa: S101 - made by `stand`
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            message = self.listener.recv(left_s)
            if message is not None:
                yield message

    def forget_frames(self) -> None:
        """Throw away what the listener has heard so far."""
        assert self.listener is not None  # noqa: S101 - made by `stand`
        while self.listener.recv(0) is not None:
            pass


def until(what: Callable[[], object], seconds: float = START_S, step_s: float = STEP_S) -> None:
    """Wait until something is true; look every `step_s` [s]."""
    end_s = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end_s:
            raise SystemExit("bench: the stand does not get ready")
        time.sleep(step_s)


@contextmanager
def stand(folder: Path, *, battery_process: bool = False, quick: bool = True) -> Iterator[Stand]:
    """Set up the stand; `quick`: with the copy of the profile, else with the shipped one."""
    found = Stand(folder)
    profile = _quick_profile(folder) if quick else ROOT / "dbc" / "ess_bau.toml"
    with ExitStack() as end:
        url, operator_key = platform(folder, end)
        words = {"uid": DEVICE, "group": GROUP, "port": found.port, "profile": profile}
        (folder / "state").mkdir(mode=0o700)
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(url=url, **words), encoding="utf-8")
        if battery_process:
            words_of = ["simulate", "-c", GROUP, "-o", f"port={found.port}"]
            process(end, "agent", *words_of, "--profile", str(profile))
        else:
            found.simulator = _battery(found.port, profile, end)
        found.agent = process(end, "agent", "run", str(config))
        found.client = Client(url, operator_key)
        end.callback(found.client.close)
        found.listener = can.Bus(interface="udp_multicast", channel=GROUP, port=found.port)
        end.callback(found.listener.shutdown)
        until(lambda: found.status()["operating_status"] == 1)
        yield found


def process(
    end: ExitStack, module: str, *words: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start `python -m module words`, with more in its environment; it ends with the stack."""
    command = [sys.executable, "-m", module, *words]
    known = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, cwd=ROOT, env=known, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
    end.callback(process.wait)
    end.callback(process.terminate)
    return process


def _quick_profile(folder: Path) -> Path:
    text = (ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8")
    for old, new in CHANGED.items():
        if old not in text:
            raise SystemExit(f"bench: the profile no longer says {old!r}")
        text = text.replace(old, new)
    path = folder / "ess_bau.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "ess_bau.dbc").write_bytes((ROOT / "dbc" / "ess_bau.dbc").read_bytes())
    return path


def platform(folder: Path, end: ExitStack) -> tuple[str, str]:
    """Start the platform; return its URL and an operator's key."""
    db, ready = ["--db", str(folder / "ems.db")], folder / "ready"
    _ems("device", "add", DEVICE, "--name", "bench", *db)
    operator = _ems("key", "create", "--name", "bench", "--role", "operator", *db)
    box = _ems("key", "create", "--name", "box", "--role", "device", "--device", DEVICE, *db)
    (folder / "box.key").touch(mode=0o600)
    (folder / "box.key").write_text(box, encoding="ascii")
    process(end, "ems", "run", *db, "--port", "0", "--ready-file", str(ready), *_no_limits())
    until(ready.exists)
    return ready.read_text(encoding="utf-8").split()[-1], operator


def _no_limits() -> list[str]:
    """Return what lifts the platform's limits of calls, where it has them."""
    limits = ("--operator-per-s", "--device-per-s")
    known = _ems("run", "--help")
    return [word for name in limits if name in known for word in (name, "100000")]


def _ems(*words: str) -> str:
    command = [sys.executable, "-m", "ems", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own module
    return done.stdout.strip()


def _battery(port: int, profile: Path, end: ExitStack) -> Simulator:
    clock, stop = SystemClock(), threading.Event()
    bus = open_port(
        BusSettings("udp_multicast", GROUP, options={"port": port}),
        clock.monotonic_s,
        own_frames=False,
    )
    simulator = Simulator(*load_profile(profile), now_s=clock.monotonic_s())
    arguments = (bus, simulator, clock.monotonic_s, stop)
    thread = threading.Thread(target=simulator_bus.run, args=arguments, name="battery")
    end.callback(bus.close)
    end.callback(thread.join)
    end.callback(stop.set)
    thread.start()
    return simulator
