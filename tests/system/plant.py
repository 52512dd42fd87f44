"""A whole plant in and around this process: platform process, agent, battery on a virtual bus.

Battery and platform are what they are in life; only the profile's waits are cut short, because a
test that proves the way of a frame need not last as long as a precharge.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import can
import httpx

from agent.clock import SystemClock
from agent.config import load
from agent.wiring import System, build
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.misbehaviour import misbehaviour
from bms_can.pack import Pack
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.ems_process import Ems

ROOT = Path(__file__).parents[2]
CONTROL_ID = 0x1811F4E5
CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)
FINISHED = ("held", "reverted", "rejected", "expired", "failed", "timed_out", "cancelled")
LOOK_S = 0.02
_channels = itertools.count()

# What is cut short in the profile of our default battery: text -> text, each exactly once.
QUICK = {
    "frames = 3, window_s = 20, hold_s = 5": "frames = 3, window_s = 4, hold_s = 0.4",
    "frames = 3, window_s = 15, hold_s = 5": "frames = 3, window_s = 4, hold_s = 0.4",
    "frames = 3, window_s = 10, hold_s = 2": "frames = 3, window_s = 4, hold_s = 0.4",
    "steady_s = 3\n": "steady_s = 0.3\n",
    "close_interval_s = 10\n": "close_interval_s = 0.1\n",
    "precharge_s = 2.0": "precharge_s = 0.1",
}

CONFIG = """\
[platform]
url = "{url}"
key_file = "box.key"
sync_period_s = {sync_period_s}
[agent]
state_dir = "state"
log_level = "debug"
[[device]]
uid = "{uid}"
profile = "{profile}"
{read_only}
[device.can]
interface = "{interface}"
channel = "{channel}"
{options}
"""


def quick_profile(folder: Path) -> Path:
    """Write our default battery with shorter waits; return the profile's file."""
    text = (ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8")
    for old, new in QUICK.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "ess_bau.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "ess_bau.dbc").write_bytes((ROOT / "dbc" / "ess_bau.dbc").read_bytes())
    return path


def write_config(folder: Path, ems: Ems, uid: str, key: str, **changed: str) -> Path:
    """Write agent.toml and box.key for a device of this platform; return the former's path."""
    words = {
        "url": ems.url,
        "uid": uid,
        "sync_period_s": "1",
        "profile": "ess_bau.toml",
        "read_only": "read_only = false",
        "interface": "virtual",
        "channel": "",
        "options": "",
    }
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    (folder / "box.key").touch(mode=0o600)
    (folder / "box.key").write_text(key, encoding="ascii")
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(**words | changed), encoding="utf-8")
    return path


def until(what: Callable[[], Any], seconds: float = 10.0) -> Any:  # noqa: ANN401 - whatever it is
    """Return the first true value of `what`; fail after so many seconds."""
    end_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end_s, f"not within {seconds} s: {what}"
        time.sleep(LOOK_S)
    return found


@dataclass
class Plant:
    """A device of a platform, its agent and its battery. All calls from one thread.

    Attributes:
        config: agent.toml.
        system: the agent as it runs now.
        simulator: the battery.
        log: all control frames on the bus so far.
    """

    ems: Ems
    uid: str
    config: Path
    channel: str
    operator: httpx.Client
    simulator: Simulator
    system: System
    log: list[can.Message] = field(default_factory=list)
    _listener: can.BusABC | None = None
    _thread: threading.Thread | None = None
    _codes: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Build the agent from its file and run it."""
        self.system = build(load(self.config, {}), SystemClock())
        system = self.system
        self._thread = threading.Thread(
            target=lambda: self._codes.append(system.run()), name="supervisor"
        )
        self._thread.start()

    def stop(self) -> int:
        """Stop the agent as SIGTERM does; return its exit code."""
        assert self._thread is not None
        self.system.supervisor.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._thread = None
        return self._codes[-1]

    @property
    def runs(self) -> bool:
        """Whether the agent runs."""
        return self._thread is not None

    def status(self) -> dict[str, Any]:
        """GET /bms-control."""
        answer = self.operator.get("/bms-control", params={"device_uid": self.uid})
        assert answer.json()["code"] == 0, answer.text
        data = answer.json()["data"]
        assert isinstance(data, dict)
        return data

    def shows(self, seconds: float = 10.0, **wanted: object) -> dict[str, Any]:
        """Wait until the platform's status has these values."""

        def there() -> dict[str, Any] | None:
            found = self.status()
            return found if all(found[key] == value for key, value in wanted.items()) else None

        found = until(there, seconds)
        assert isinstance(found, dict)
        return found

    def send(self, code: CommandCode) -> str:
        """POST /bms-control; return the command's id."""
        body = {"device_uid": self.uid, "command": int(code)}
        answer = self.operator.post("/bms-control", json=body)
        assert answer.json()["code"] == 0, answer.text
        return str(answer.json()["data"])

    def command(self, command_id: str) -> dict[str, Any]:
        """GET the whole life of a command."""
        data = self.operator.get(f"/bms-control/commands/{command_id}").json()["data"]
        assert isinstance(data, dict)
        return data

    def reached(self, command_id: str, *states: str, seconds: float = 15.0) -> dict[str, Any]:
        """Wait until the platform has a command in one of these states (default: any last one)."""
        wanted = states or FINISHED

        def there() -> dict[str, Any] | None:
            found = self.command(command_id)
            return found if found["state"] in wanted else None

        found = until(there, seconds)
        assert isinstance(found, dict)
        return found

    def reports(self) -> list[dict[str, Any]]:
        """Return all kept reports of the device that the platform has, oldest first."""
        query: dict[str, str | int] = {"device_uid": self.uid, "page": 1, "page-size": 200}
        data = self.operator.get("/reports", params=query).json()["data"]
        assert data["total"] <= 200
        return list(reversed(data["list"]))

    def control_frames(self) -> list[can.Message]:
        """Return all control frames that were on the bus since the plant stands."""
        assert self._listener is not None
        while (message := self._listener.recv(0)) is not None:
            if message.arbitration_id == CONTROL_ID and message.is_extended_id:
                self.log.append(message)
        return self.log

    def battery(self, action: Callable[[Pack], object]) -> None:
        """Do something to the battery."""
        self.simulator.tell(lambda pack: (action(pack), None)[1])

    def wrong(self, *words: str) -> None:
        """Let the battery misbehave; no words: repair it."""
        self.battery(lambda pack: pack.misbehave(misbehaviour(list(words))))


@contextmanager
def plant(folder: Path, ems: Ems, *, start: bool = True, **changed: str) -> Iterator[Plant]:
    """Build a plant; `changed` are words of CONFIG. The agent runs unless `start` is false."""
    uid, key = ems.new_device()
    channel = f"plant-{next(_channels)}"
    profile, database = load_profile(quick_profile(folder))
    config = write_config(folder, ems, uid, key, channel=channel, **changed)
    clock, stop = SystemClock(), threading.Event()
    simulator = Simulator(profile, database, now_s=clock.monotonic_s())
    port = open_port(BusSettings("virtual", channel), clock.monotonic_s, own_frames=False)
    arguments = (port, simulator, clock.monotonic_s, stop)
    battery = threading.Thread(target=simulator_bus.run, args=arguments, name="battery")
    with can.Bus(channel, interface="virtual") as listener, ems.client(ems.operator_key) as http:
        found = Plant(ems, uid, config, channel, http, simulator, None)  # type: ignore[arg-type]  # set by start
        found._listener = listener
        battery.start()
        try:
            if start:
                found.start()
            yield found
        finally:
            if found.runs:
                found.stop()
            stop.set()
            battery.join(5)
            port.close()
