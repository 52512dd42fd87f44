"""A day of the box on a fake clock: `python -m bench.soak --hours 24`. Prints memory by the hour.

Battery, driver, control loop, executor, journal and queue are the product's, in one thread; time
passes in steps of 50 ms. Every hour a close and an open are carried out, and the battery falls
silent for ten seconds, so that there is something to remember.
"""

import argparse
import gc
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.clock import FakeClock
from bench.table import show
from bms_can.misbehaviour import misbehaviour
from bms_can.profile import CommandCode
from tests.box import STEP_S, Box, box

HOUR_S, SILENT_S = 3600.0, 10.0
PAGE_KB = 4


def rss_mb() -> float:
    """Return the memory of this process [MB]."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * PAGE_KB / 1024


def hour(made: Box) -> list[str]:
    """Let an hour pass; return how its commands ended."""
    ends = []
    for code in (CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR):
        command = made.offer(code)
        made.run(60.0)
        ends.append(made.state_of(command))
    made.pack.misbehave(misbehaviour(["silent"]))
    made.run(SILENT_S)
    made.pack.misbehave(misbehaviour([]))
    made.run(HOUR_S - 120.0 - SILENT_S)
    return ends


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    hours = parser.parse_args().hours
    rows, sizes, bad = [], [], 0
    with TemporaryDirectory(dir="/dev/shm") as folder, box(Path(folder), FakeClock()) as made:
        made.run(10.0)
        began_s = time.perf_counter()
        for number in range(1, hours + 1):
            ends = hour(made)
            bad += ends != ["held", "held"]
            gc.collect()
            sizes.append(rss_mb())
            rows.append([number, f"{sizes[-1]:.2f}", ", ".join(ends), made.device.intake.frames])
    show("Soak on a fake clock", ["hour", "RSS MB", "close, open", "frames"], rows)
    half = sizes[len(sizes) // 2 :]
    slope = (half[-1] - half[0]) / max(1, len(half) - 1) * 24
    took_s = time.perf_counter() - began_s
    print(f"{hours} h in {took_s:.0f} s, steps of {STEP_S * 1000:.0f} ms")
    print(f"second half: {slope:+.2f} MB a day (goal 1)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
