"""The status over a log, frame by frame and on columns: `python -m bench.timeline`.

First the proof: on N random streams both give the same changes and counts, exit code 1 if not. Then
the speed on a bus with many identifiers of which few are the battery's: frames in memory, a second
being one of the processor.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from bms_can.columnar.chunk import Chunk, frames
from bms_can.columnar.coverage import ColumnCoverage
from bms_can.columnar.timeline import ColumnTimeline
from bms_can.coverage import Coverage
from bms_can.frame import Frame
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path, shipped_names
from bms_can.simulator import Simulator
from bms_can.timeline import Timeline
from tests.bms_can.columnar.streams import Loaded, batteries, case, chunk_of, chunks

SHARE = 250
PERIOD_S = 80.0  # every counter of the simulated battery is where it was after so long
LOUD_IDS = 40
STEP_S = 0.05
LOAD_STEPS = 100
LIVE_FRAMES = 300_000


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=6_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    different = proof(asked.streams, asked.jobs) if asked.streams else []
    for load in (0.95, 0.5, 0.0):
        speed(asked.frames, load)
    return 1 if different else 0


def proof(streams: int, jobs: int) -> list[int]:
    """Compare both on random streams; return the numbers of those that differ."""
    began_s = time.perf_counter()
    shares = [range(first, min(first + SHARE, streams)) for first in range(0, streams, SHARE)]
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(compare, shares))
    different = [number for numbers, _, _ in found for number in numbers]
    count, changes = sum(each[1] for each in found), sum(each[2] for each in found)
    took_s = time.perf_counter() - began_s
    print(f"{streams} random streams, {count} frames, {changes} changes in {took_s:.0f} s:"
          f" {len(different)} differ {different[:5]}")  # fmt: skip
    return different


def compare(numbers: Sequence[int]) -> tuple[list[int], int, int]:
    """Compare both on some streams; return those that differ, frames and changes."""
    different, count, changes = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        loaded = batteries(Path(folder), shipped_names())
    for number in numbers:
        battery, stream, sizes = case(number, loaded)
        expected = list(Timeline(*battery).run(stream))
        same = list(ColumnTimeline(*battery).run(chunks(stream, sizes))) == expected
        if not same or not counts_alike(battery, stream, sizes):
            different.append(number)
        count, changes = count + len(stream), changes + len(expected)
    return different, count, changes


def counts_alike(battery: Loaded, stream: Sequence[Frame], sizes: Sequence[int]) -> bool:
    """Tell whether both lanes count alike what the DBC explains of a stream."""
    profile, database = battery
    one, other = Coverage(database, profile.channel), Coverage(database, profile.channel)
    columns = ColumnCoverage(database, profile.channel, other)
    for frame in stream:
        one.take(frame)
    for chunk in chunks(stream, sizes):
        columns.take(chunk)
    counts = ("frames", "other_channel", "known", "decoded", "unknown", "messages")
    return all(getattr(one, name) == getattr(other, name) for name in counts)


def speed(count: int, foreign: float) -> None:
    """Print the speed of both on a bus where this share of the frames is not the battery's."""
    battery = load_profile(profile_path("ess_bau"))
    period = list(bus(battery, foreign))
    pattern = [chunk_of(period[at : at + 50_000]) for at in range(0, len(period), 50_000)]
    columns, live = ColumnTimeline(*battery), Timeline(*battery)
    ours = timed(repeated(pattern, count), lambda chunk: len(list(columns.take(chunk))))
    theirs = timed(
        repeated(pattern, min(count, LIVE_FRAMES)),
        lambda chunk: sum(len(list(live.take(frame))) for frame in frames(chunk)),
    )
    print(
        f"{foreign:4.0%} foreign: columns {ours.rate / 1e6:6.2f} M frames/s, frame by frame"
        f" {theirs.rate / 1e6:5.3f} M frames/s, {ours.rate / theirs.rate:5.1f} x;"
        f" {ours.frames} frames, {ours.changes} changes"
    )


class Timed(NamedTuple):
    """What a run over a log brought."""

    frames: int
    changes: int
    rate: float


def timed(log: Iterator[Chunk], take: Callable[[Chunk], int]) -> Timed:
    """Take a log; only the taking is timed."""
    changes, taken, took_s = 0, 0, 0.0
    for chunk in log:
        began_s = time.process_time()
        changes += take(chunk)
        took_s += time.process_time() - began_s
        taken += len(chunk)
    return Timed(taken, changes, taken / took_s)


def repeated(pattern: Sequence[Chunk], count: int) -> Iterator[Chunk]:
    """Yield the pattern again and again, later each time."""
    taken, shift_s = 0, 0.0
    while True:
        for chunk in pattern:
            if taken >= count:
                return
            yield replace(chunk, at_s=chunk.at_s + shift_s)
            taken += len(chunk)
        shift_s += PERIOD_S


def bus(battery: Loaded, foreign: float) -> Iterator[Frame]:
    """Yield a period of a simulated battery among other nodes; now and then its load changes."""
    random = Random(1)  # noqa: S311 - a measurement
    simulator = Simulator(*battery, now_s=0.0)
    simulator.pack.command(CommandCode.CLOSE_CONTACTOR, 0.0)
    waiting = 0.0
    for step in range(round(PERIOD_S / STEP_S)):
        now_s = (step + 0.5) * STEP_S
        if not step % LOAD_STEPS:
            simulator.pack.request_current(random.choice((0.0, 40.0, -40.0)))
        for frame in simulator.due_frames(now_s):
            yield frame._replace(at_s=1_780_000_000.0 + now_s)
            waiting += foreign / (1 - foreign) if foreign < 1 else 0.0
            while waiting >= 1:
                waiting -= 1
                can_id = 0x100 + random.randrange(LOUD_IDS)
                yield Frame(
                    1_780_000_000.0 + now_s, can_id, extended=False, data=random.randbytes(8)
                )


if __name__ == "__main__":
    sys.exit(main())
