"""What a babbling node costs: `python -m bench.babble`. One identifier, as fast as no bus allows.

The battery speaks on; beside it a second process sends one identifier at a rate. Receive path,
flight recorder, guard, driver, control loop, journal and queue are the product's, in this process,
whose processor time is measured. The frames come over loopback UDP (see bench/live.py). The status
at the end must be that of the battery.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import cast

from agent.clock import FakeClock, SystemClock
from agent.control_loop import ControlLoop
from agent.frame_ring import FrameRing
from bench.live import sender
from bench.live_ways import SILENCE_S, inbox, our_port
from bench.table import show
from bms_can.can_frame import frame_bytes
from bms_can.frame import Frame
from bms_can.receiver import Receiver
from bms_can.simulator import Simulator
from bms_can.status import BmsStatus
from tests.box import battery, box

RATES = (8_000.0, 20_000.0)  # rule 36; more than twice what fits on 1 Mbit/s
SETTLE_S = 1.0
GOAL_PCT = 50.0
Made = Callable[[int, float], Frame]


def _random(can_id: int) -> Made:
    random = Random(1)  # noqa: S311 - a bench
    return lambda _number, _at_s: Frame(0.0, can_id, True, random.randbytes(8))  # noqa: FBT003 - a field


def _anybody() -> Made:
    random = Random(2)  # noqa: S311 - a bench
    return lambda _n, _s: Frame(0.0, random.randrange(1 << 29), True, random.randbytes(8))  # noqa: FBT003 - a field


def _twin(*names: str, seconds: float = 0.3) -> Made:
    """Return the battery's own frames of these messages, over and over."""
    profile, database = battery()
    simulator, ids = Simulator(profile, database), {database.messages[n].frame_id for n in names}
    due = [frame for at in range(int(seconds * 1000)) for frame in simulator.due_frames(at / 1000)]
    own = [frame for frame in due if frame.can_id in ids]
    return lambda number, _at_s: own[number % len(own)]


# What babbles -> how to make its frames, by number and time.
CASES: dict[str, Callable[[], Made]] = {
    "an identifier of nobody": lambda: _random(0x123),
    "every identifier there is": _anybody,
    "a message nobody needs fast": lambda: _random(0x1804E5F4),
    "pages of cell voltages": lambda: _random(0x180CE5F4),
    "the status message, nonsense": lambda: _random(0x1801E5F4),
    "the status message, as it was": lambda: _twin("BAU_State"),
    "alarms, a new set each time": lambda: _random(0x1808E5F4),
    "our control identifier": lambda: _random(0x1811F4E5),
}


def bus(make: Made, rate: float, seconds: float) -> list[bytes]:
    """Return all frames in order: the battery's at their times, all others the babbler's."""
    simulator = Simulator(*battery(), now_s=0.0)
    frames: list[bytes] = []
    while (at_s := len(frames) / rate) < seconds:
        frames += map(frame_bytes, simulator.due_frames(at_s))
        frames.append(frame_bytes(make(len(frames), at_s)))
    return frames


@contextmanager
def agent(receiver: Receiver, loop: ControlLoop) -> Iterator[None]:
    """Let the two threads of a device run."""
    threads = [threading.Thread(target=each) for each in (receiver.run, loop.run)]
    for thread in threads:
        thread.start()
    yield
    receiver.stop()
    loop.stop()
    for thread in threads:
        thread.join()


def row(name: str, rate: float, seconds: float) -> list[object]:
    """Return what one babbler at one rate costs."""
    clock, frames = SystemClock(), bus(CASES[name](), rate, seconds)
    told = cast("FakeClock", clock)  # the box only asks it for the time
    with (
        TemporaryDirectory() as folder,
        inbox(stamped=True) as wire,
        box(Path(folder), told) as made,
    ):
        record = FrameRing(60.0).take_many
        loop = ControlLoop(made.device, made.observer, made.executor, clock, lambda _: None, record)
        receiver = Receiver(lambda: our_port(wire), loop.take_many, silence_s=SILENCE_S)
        with agent(receiver, loop), sender(wire, frames, rate, seconds):
            time.sleep(SETTLE_S)
            began_s, used_s = time.monotonic(), time.process_time()
            time.sleep(seconds - 2 * SETTLE_S)
            used_s, took_s = time.process_time() - used_s, time.monotonic() - began_s
            status, kept = made.observer.status, made.outbox.backlog().rows
            said = receiver.babble.text or "not named"
        share = f"{100 * used_s / took_s:.1f}"
        return [name, f"{rate:.0f}", share, receiver.counts.lost, kept, _word(status), said]


def _word(status: BmsStatus | None) -> str:
    if status is None or status.operating is None:
        return "unknown"
    return status.operating.name.lower()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--case", choices=CASES, action="append")
    asked = parser.parse_args()
    rows = [row(name, rate, asked.seconds) for name in asked.case or CASES for rate in RATES]
    head = ["babbles", "frames/s", "% of a core", "lost", "changes kept", "status", "named"]
    show("A babbling node", head, rows)
    return int(any(float(str(each[2])) > GOAL_PCT for each in rows if each[1] == f"{RATES[0]:.0f}"))


if __name__ == "__main__":
    sys.exit(main())
