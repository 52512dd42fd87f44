"""How regular is a held request that a Python thread sends? `python -m bench held`.

The real sender on python-can's virtual bus, on which the simulated foxBMS 2 lives; alone, and
beside a thread that decodes a full 500 kbit/s bus in batches. foxBMS 2 wants 95 to 105 ms; what it
makes of the periods is counted as its source does (bms_can/simulator_request.py).
"""

import statistics
import threading
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.clock import SystemClock
from agent.device import Device
from agent.gate import Gate
from agent.held import RequestSender
from agent.journal import Journal
from agent.journal_rows import Stamp
from bench.heartbeat import full_bus
from bms_can import simulator_bus
from bms_can.bus import BusSettings, Port, open_port
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard, Heard
from bms_can.intake import Intake
from bms_can.pack import Pack
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from bms_can.simulator_request import RequestEar

ROOT = Path(__file__).parents[1]
SECONDS = 20.0
LEAST_MS, MOST_MS = 95.0, 105.0
BEGINNING = 10  # frames: it begins without a request


def receive(port: Port, control: ControlPort, intake: Intake, stop: threading.Event) -> None:
    """Take frames in, as can-rx does."""
    while not stop.is_set():
        frame = port.receive(0.02)
        if frame is not None and control.hear(frame) is Heard.OTHER:
            intake.take(frame)


def times_s(folder: Path, seconds: float, *, busy: bool) -> list[float]:
    """Return when the bus took each frame of the request [s]."""
    profile, database = load_profile(ROOT / "dbc" / "foxbms2.toml")
    assert profile.held is not None  # noqa: S101 - it was just read
    clock, stop = SystemClock(), threading.Event()
    times: list[float] = []
    channel = f"bench-held-{busy}"
    port = open_port(BusSettings("virtual", channel), clock.monotonic_s)
    far = open_port(BusSettings("virtual", channel), clock.monotonic_s, own_frames=False)
    send = port.send

    def timed(frame: Frame) -> None:
        times.append(time.perf_counter())
        send(frame)

    port.send = timed  # type: ignore[method-assign]  # the moment of handing over
    control = ControlPort(Guard(profile.guard), lambda: port)
    intake = Intake(profile, database)
    device = Device("BENCH", profile, intake, control, False, True, clock.monotonic_s())  # noqa: FBT003 - read_only, echo
    gate, journal = Gate(device, str), Journal(folder / "journal.db", Stamp.of(clock))
    sender = RequestSender(device, profile.held, clock, gate, journal)
    simulator = Simulator(profile, database, now_s=clock.monotonic_s())
    threads = [
        threading.Thread(target=sender.run),
        threading.Thread(target=receive, args=(port, control, intake, stop)),
        threading.Thread(target=simulator_bus.run, args=(far, simulator, clock.monotonic_s, stop)),
        *([threading.Thread(target=full_bus, args=(stop,))] if busy else ()),
    ]
    for thread in threads:
        thread.start()
    end_s = clock.monotonic_s() + seconds
    while clock.monotonic_s() < end_s:
        sender.renew()
        time.sleep(0.05)
    sender.stop()
    stop.set()
    for thread in threads:
        thread.join()
    for each in (port, far, journal):
        each.close()
    return times


def worst_count(times: list[float]) -> int:
    """Return the most that the battery's counter of lateness came to; 100 is an error."""
    ear, pack, worst = RequestEar(0.1, times[0]), Pack(now_s=times[0]), 0
    for index, at_s in enumerate(times):
        ear.hear(None, at_s, pack)
        worst = max(worst, ear.count if index > BEGINNING else 0)
    return worst


def held() -> None:
    """Measure and print."""
    print("\nHeld request of 100 ms")
    print("bus     frames   mean     p50     p99   p99.9     min     max  outside  count of 100")
    for name, busy in (("silent", False), ("full", True)):
        with TemporaryDirectory() as folder:
            times = times_s(Path(folder), SECONDS, busy=busy)
        gaps = sorted(1000 * (after - before) for before, after in pairwise(times))
        outside = sum(not LEAST_MS <= gap <= MOST_MS for gap in gaps)
        shares = [gaps[min(len(gaps) - 1, int(share * len(gaps)))] for share in (0.5, 0.99, 0.999)]
        numbers = [statistics.mean(gaps), *shares, gaps[0], gaps[-1]]
        row = " ".join(f"{number:7.2f}" for number in numbers)
        print(f"{name:7} {len(times):6} {row} {outside:8} {worst_count(times):8}")


if __name__ == "__main__":
    held()
