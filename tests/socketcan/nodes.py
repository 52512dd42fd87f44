"""The other nodes on the guest's buses: simulated batteries behind vcan0 and behind an adapter."""

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bms_can.bus import BusSettings, Port, open_port
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from bms_can.netlink import read_link
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.socketcan.adapter import Adapter

PROFILE = Path(__file__).parents[2] / "dbc" / "ess_bau.toml"
CONTROL_ID = 0x1811F4E5
BITRATE = 500_000
BEAT_S = 0.005


def sh(text: str) -> str:
    """Run a shell command that must succeed; return its output."""
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)  # noqa: S603, S607 - the test's own words
    assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
    return done.stdout


def clock_s() -> float:
    """Return the agent's clock [s]."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Battery:
    """A simulated battery that goes on whatever happens to its bus.

    Args:
        send: brings a frame to the bus.
        profile: what it is.

    Attributes:
        spoke_s: when the bus took a frame for the last time, monotonic [s].
    """

    def __init__(self, send: Callable[[Frame], object], profile: Path = PROFILE) -> None:
        self.lock = threading.Lock()
        self.simulator = Simulator(*load_profile(profile), now_s=clock_s())
        self.silent = threading.Event()
        self.spoke_s = 0.0
        self._send = send
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="battery")
        self._thread.start()

    def hear(self, frame: Frame) -> None:
        """Take a frame from the bus."""
        with self.lock:
            self.simulator.hear(frame, clock_s())

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            with self.lock:
                frames = self.simulator.due_frames(clock_s())
            for frame in frames if not self.silent.is_set() else ():
                with suppress(SendFailed, BusDown, OSError):
                    self._send(frame)
                    self.spoke_s = time.monotonic()


class VcanNode:
    """The battery's end of vcan0, opened anew whenever that is needed.

    Args:
        profile: what the battery is.
        control: identifier of the frames it takes, and whether it is an extended one.

    Attributes:
        sent: those frames, and when they came.
    """

    def __init__(
        self, profile: Path = PROFILE, control: tuple[int, bool] = (CONTROL_ID, True)
    ) -> None:
        self._stop = threading.Event()
        self._port: Port | None = None
        self._control = control
        self.sent: list[tuple[float, Frame]] = []
        self.battery = Battery(self._send, profile)
        self._thread = threading.Thread(target=self._listen, name="vcan node")
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self.battery.stop()
        self._stop.set()
        self._thread.join()

    def _send(self, frame: Frame) -> None:
        port = self._port
        if port is None:
            raise SendFailed("vcan0 is not there")
        port.send(frame)

    def _listen(self) -> None:
        settings = BusSettings("socketcan", "vcan0", filters=frozenset({self._control}))
        while not self._stop.is_set():
            with suppress(BusDown):
                self._serve(open_port(settings, clock_s, own_frames=False))
            self._stop.wait(0.02)

    def _serve(self, port: Port) -> None:
        self._port = port
        index = read_link("vcan0")
        try:
            while not self._stop.is_set():
                for frame in port.receive_many(0.02):
                    self.sent.append((clock_s(), frame))
                    self.battery.hear(frame)
                now = read_link("vcan0")
                if now is None or index is None or now.index != index.index:
                    return
        finally:
            self._port = None
            port.close()


class SlcanNode:
    """An adapter and the battery behind it."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Frame]] = []
        self.adapter = Adapter(self._take)
        self.battery = Battery(lambda frame: self.adapter.put(frame))  # noqa: PLW0108 - another one may be put in

    def plug(self) -> None:
        """Put an adapter in, and set its interface up."""
        self.adapter = Adapter(self._take)
        self.up()

    def up(self) -> None:
        """Set the interface up as systemd-networkd would."""
        sh(f"ip link set {self.adapter.name} up type can bitrate {BITRATE}")

    def stop(self) -> None:
        """End."""
        self.battery.stop()
        self.adapter.pull()

    def _take(self, frame: Frame) -> None:
        self.sent.append((clock_s(), frame))
        self.battery.hear(frame)
