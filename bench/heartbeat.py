"""How regular is a heartbeat that a Python thread sends? `python -m bench.heartbeat [SECONDS]`.

The real sender on python-can's virtual bus, once alone, and once beside a receive thread that
decodes a full 500 kbit/s bus (4,000 frames/s in batches of 10 ms). foxBMS 2 wants 95 to 105 ms.
"""

import statistics
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import can

from agent.clock import SystemClock
from agent.device import Device
from agent.heartbeat import HeartbeatSender, allowed
from bms_can.bus import BusSettings, open_port
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.bms_can import tiny

ROOT = Path(__file__).parents[1]
SECONDS, FRAMES_PER_S, BATCH_S = 20.0, 4000, 0.01
LEAST_MS, MOST_MS = 95.0, 105.0
CHANGES = (
    ("heartbeat", {"message": "Wide", "values": {"wish": 0, "counter": 0}, "period_ms": 100}),
    ("guard[3]", {"name": "heartbeat", "frame": "201#0000000000000000", "per_minute": 700}),
)


def full_bus(stop: threading.Event) -> None:
    """Decode as many frames as fit on a bus, in batches, as can-rx does."""
    profile, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    simulator, intake = Simulator(profile, database, now_s=0.0), Intake(profile, database)
    frames = [frame for step in range(1, 200) for frame in simulator.due_frames(step / 10)]
    position = 0
    while not stop.wait(BATCH_S):
        for _ in range(round(FRAMES_PER_S * BATCH_S)):
            intake.take(frames[position % len(frames)])
            position += 1


def gaps_ms(folder: Path, seconds: float, *, busy: bool) -> list[float]:
    """Return the times between two heartbeats as they were taken by the bus [ms]."""
    profile, database = tiny.read(folder, *CHANGES)
    clock, stop = SystemClock(), threading.Event()
    times: list[float] = []
    channel = f"bench-heartbeat-{busy}"
    port = open_port(BusSettings("virtual", channel), clock.monotonic_s, own_frames=False)
    send = port.send

    def timed(frame: Frame) -> None:
        times.append(time.perf_counter())
        send(frame)

    port.send = timed  # type: ignore[method-assign]  # the moment of handing over
    control = ControlPort(Guard(allowed(profile, heartbeat=True)), lambda: port)
    device = Device("BENCH", profile, Intake(profile, database), control, False, False, 0.0)  # noqa: FBT003 - read_only, echo
    assert profile.heartbeat is not None  # noqa: S101 - it was just read
    beat = HeartbeatSender(device, profile.heartbeat, clock, str)
    threads = [threading.Thread(target=beat.run)]
    threads += [threading.Thread(target=full_bus, args=(stop,))] if busy else []
    with can.Bus(channel, "virtual"):
        for thread in threads:
            thread.start()
        end_s = clock.monotonic_s() + seconds
        while clock.monotonic_s() < end_s:
            beat.renew()
            time.sleep(0.05)
        beat.stop()
        stop.set()
        for thread in threads:
            thread.join()
    port.close()
    return [1000 * (after - before) for before, after in pairwise(times)]


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    print("bus       heartbeats   mean      p50      p99      min      max   outside 95..105 ms")
    for name, busy in (("silent", False), ("full", True)):
        with TemporaryDirectory() as folder:
            found = sorted(gaps_ms(Path(folder), seconds, busy=busy))
        outside = sum(not LEAST_MS <= gap <= MOST_MS for gap in found)
        middle, high = found[len(found) // 2], found[int(0.99 * len(found))]
        print(
            f"{name:8} {len(found):10} {statistics.mean(found):8.2f} {middle:8.2f} {high:8.2f}"
            f" {found[0]:8.2f} {found[-1]:8.2f} {outside:8}"
        )


if __name__ == "__main__":
    main()
