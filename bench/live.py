"""Cost of the live receive path, beside python-can with cantools and bare loops: `make bench-live`.

Without CAN in this kernel the frames are struct can_frame in datagrams over loopback UDP; each path
runs its own code on that socket: ours is the product's SocketCanPort, Receiver, ControlLoop and
Intake, the others use python-can's SocketcanBus and Notifier. In the guest (`make socketcan` prints
it) the socket is a real one. Burst: all frames wait before the first is read. Paced: a second
process spaces the frames evenly, as a bus does, and wake-ups are the cost; ours is looked at as in
the agent, ten times a second at what a status rests on, once a second at all values. It checks and
counts each frame and decodes the newest of a message when looked at; the others decode each frame.
Figures are processor time of the receiver for each frame of the bus; a frame that was lost counts
as not received.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

from bench.live_traffic import SHARE, traffic
from bench.live_ways import (
    BARE,
    BARE_STAMPED,
    FILTERED,
    THEIRS,
    UNFILTERED,
    Ours,
    Way,
    driver,
    inbox,
    let_through,
    paths,
)
from bench.table import show
from bms_can.frame import Frame

ROUNDS, PACED_ROUNDS = 5, 5
COMPARED = FILTERED, UNFILTERED, THEIRS, BARE, BARE_STAMPED
BUS_RATES = {"500 kbit/s": 4504.5, "1 Mbit/s": 9009.0}  # standard frames of 8 bytes, no stuff bits
GET_READY_S, LAST_S = 0.3, 0.1


class Found(NamedTuple):
    """What a way costs, microseconds a frame or share of a core, and how many frames it lost."""

    cost: float
    lost: int


Costs = dict[str, list[list[Found]]]  # of each way: rounds of a burst, then of each rate


def awaited(way: Way, sent: Sequence[bytes]) -> int:
    """Return how many frames the kernel lets through."""
    if way.wanted is None:
        return len(sent)
    return sum(int.from_bytes(frame[:4], sys.byteorder) in way.wanted for frame in sent)


def burst_us(way: Way, sent: Sequence[bytes]) -> Found:
    """Return the processor time of one frame of the bus [us].

    The best of some rounds, as noise only adds. What was lost is not paid for: the time is that of
    a frame that came, for all that should have come.
    """
    found, lost, wanted = [], 0, awaited(way, sent)
    for _ in range(ROUNDS):
        with inbox(stamped=way.stamped) as wire:
            if way.wanted:
                let_through(wire, way.wanted)
            reading = way.open(wire)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outbox:
                outbox.connect(wire.getsockname())
                for frame in sent:
                    outbox.send(frame)
            began_s = time.process_time()
            count = reading.burst(wanted)
            used_s = time.process_time() - began_s
            reading.close()
        found.append(used_s / count * wanted / len(sent) * 1e6)
        lost += wanted - count
    return Found(min(found), lost)


def send_paced(
    address: tuple[str, int], frames: Sequence[bytes], rate: float, seconds: float
) -> None:
    """Send frames evenly spaced; to be a process of its own."""
    with suppress(OSError):
        os.sched_setaffinity(0, {0})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outbox:
        outbox.connect(address)
        time.sleep(GET_READY_S)
        began_s = time.perf_counter()
        for number in range(int(seconds * rate)):
            while time.perf_counter() < began_s + number / rate:
                pass
            outbox.send(frames[number % len(frames)])


@contextmanager
def sender(
    wire: socket.socket, frames: Sequence[bytes], rate: float, seconds: float
) -> Iterator[None]:
    """Let a second process send; wait until all that it sent has come."""
    arguments = (wire.getsockname(), frames, rate, seconds)
    process = multiprocessing.get_context("fork").Process(target=send_paced, args=arguments)
    process.start()
    yield
    process.join()
    time.sleep(LAST_S)


def share_pct(way: Way, sent: Sequence[bytes], rate: float, seconds: float) -> Found:
    """Return how much of a core one path takes while frames come at a rate [%]."""
    stop = threading.Event()
    with inbox(stamped=way.stamped) as wire, ThreadPoolExecutor(1) as pool:
        if way.wanted:
            let_through(wire, way.wanted)
        reading = way.open(wire)
        with sender(wire, sent, rate, seconds):
            count = pool.submit(reading.paced, stop)
            time.sleep(GET_READY_S)
            began_s, used_s = time.monotonic(), time.process_time()
            time.sleep(seconds - 0.2)
            used_s, took_s = time.process_time() - used_s, time.monotonic() - began_s
        stop.set()
        all_sent = [sent[number % len(sent)] for number in range(int(seconds * rate))]
        lost = awaited(way, all_sent) - count.result()
        reading.close()
    return Found(100 * used_s / took_s, lost)


def idle_pct(seconds: float) -> float:
    """Return the share of a core that our receive thread takes on a silent bus [%]."""
    stop = threading.Event()
    with inbox(stamped=True) as wire, ThreadPoolExecutor(1) as pool:
        pool.submit(Ours(driver, wire).paced, stop)
        time.sleep(GET_READY_S)
        used_s = time.process_time()
        time.sleep(seconds)
        used_s = time.process_time() - used_s
        stop.set()
    return 100 * used_s / seconds


def delays_ms(sent: Sequence[bytes], rate: float, seconds: float) -> list[float]:
    """Return how long each frame took from the kernel to the table on a busy bus [ms]."""
    found: list[float] = []
    stop, path = threading.Event(), driver()

    def timed(frames: Sequence[Frame]) -> None:
        path.take(frames)
        now_s = time.monotonic()
        found.extend((now_s - frame.at_s) * 1000 for frame in frames)

    with inbox(stamped=True) as wire, ThreadPoolExecutor(1) as pool:
        reading = Ours(lambda: path._replace(take=timed), wire)
        with sender(wire, sent, rate, seconds):
            pool.submit(reading.paced, stop)
        stop.set()
    return sorted(found)


def measure(ways: Sequence[Way], sent: Sequence[bytes], seconds: float) -> Costs:
    """Return what each way costs: in a burst, then at each rate.

    The ways take turns, so that what else the machine does meets all of them.
    """
    found: Costs = {way.name: [[burst_us(way, sent)]] for way in ways}
    for rate in BUS_RATES.values():
        for way in ways:
            found[way.name].append([])
        for _ in range(PACED_ROUNDS):
            for way in ways:
                found[way.name][-1].append(share_pct(way, sent, rate, seconds))
    return found


def middle(rounds: Sequence[Found]) -> float:
    """Return the cost of the middle round."""
    return statistics.median(each.cost for each in rounds)


def times_as_much(theirs: Sequence[Found], ours: Sequence[Found]) -> str:
    """Return how much more they take, round against round: the middle, least and most."""
    pairs = zip(theirs, ours, strict=True)
    ratios = sorted(their.cost / our.cost for their, our in pairs)
    return f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"


def verdict(found: Costs, ours: str) -> None:
    """Print how one of our ways stands against the goals."""
    burst, *paced = found[ours]
    theirs, *their_paced = found[THEIRS]
    bare, stamped = (middle(found[name][0]) for name in (BARE, BARE_STAMPED))
    print(f"{ours}:")
    print(
        f"  burst: python-can + cantools takes {middle(theirs) / middle(burst):.1f} times (goal 4)"
    )
    print(f"  burst: {middle(burst) / bare:.2f} times bare (goal 2),", end=" ")
    print(f"{middle(burst) / stamped:.2f} with stamps")
    for name, our, their in zip(BUS_RATES, paced, their_paced, strict=True):
        print(f"  paced, {name}: they take {times_as_much(their, our)} times (goal 6)")


def table(title: str, found: Costs) -> None:
    """Print what was found."""
    rows = []
    for name, (burst, *paced) in found.items():
        lost = sum(each.lost for rounds in (burst, *paced) for each in rounds)
        shares = [f"{middle(each):.2f} %" for each in paced]
        rows.append([name, f"{middle(burst):.2f}", *shares, lost])
    head = ["path", "burst us/frame", *(f"core at {name}" for name in BUS_RATES), "lost"]
    show(title, head, rows)
    if any(row[-1] for row in rows):
        print("frames were lost: the machine was busy with other work; measure again")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each paced round")
    seconds = parser.parse_args().seconds
    sent, database = traffic()
    with suppress(OSError):
        os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, loopback UDP, {len(sent)} frames a round,")
    print(
        f"{SHARE:.0%} of them used by the profile, the DBC knows all; {PACED_ROUNDS} rounds, middle"
    )
    ways = paths(database)
    found = measure(ways, sent, seconds)
    table("Live receive path, the battery rests", found)
    for ours in (FILTERED, UNFILTERED):
        verdict(found, ours)
    working = traffic(working=True).frames
    found = measure([way for way in ways if way.name in COMPARED], working, seconds)
    table("The battery works: its current is another one in each frame, 20 to 60 A", found)
    for ours in (FILTERED, UNFILTERED):
        verdict(found, ours)
    print(f"idle bus: {idle_pct(5.0):.2f} % of a core (goal 1)")
    delays = delays_ms(sent, BUS_RATES["500 kbit/s"], 3 * seconds)
    tail = statistics.quantiles(delays, n=1000)
    print(
        f"frame to table, ms: median {statistics.median(delays):.1f}, p99 {tail[989]:.1f},", end=" "
    )
    print(f"p99.9 {tail[998]:.1f}, longest {delays[-1]:.1f} (goal 20)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
