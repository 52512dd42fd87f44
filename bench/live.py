"""Cost of the live receive path, beside python-can with cantools and bare loops: `make bench-live`.

Without CAN in this kernel the frames are struct can_frame in datagrams over loopback UDP; each path
runs its own code on that socket: ours is the product's SocketCanPort, Receiver and Intake, the
others use python-can's SocketcanBus and Notifier. In the guest (`make socketcan` prints it) the
socket is a real one. Burst: the queue is never empty. Paced: a second process spaces the frames
evenly, as a bus does, and wake-ups are the cost. Figures are processor time of the receiver.
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
from contextlib import contextmanager, suppress

from bench.live_traffic import SHARE, traffic
from bench.live_ways import (
    Way,
    driver,
    inbox,
    let_through,
    our_paced,
    paths,
)
from bench.table import show
from bms_can.frame import Frame

ROUNDS = 5
BUS_RATES = {"500 kbit/s": 4504.5, "1 Mbit/s": 9009.0}  # standard frames of 8 bytes, no stuff bits
GET_READY_S = 0.3


def burst_us(way: Way, sent: Sequence[bytes]) -> float:
    """Return the processor time of one frame [us]: the best of some rounds, as noise only adds."""
    found = []
    for _ in range(ROUNDS):
        with inbox() as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outbox:
            if way.wanted:
                let_through(wire, way.wanted)
            outbox.connect(wire.getsockname())
            for frame in sent:
                outbox.send(frame)
            began_s = time.process_time()
            count = way.burst(wire)
            found.append((time.process_time() - began_s) / count * 1e6)
    return min(found)


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
    """Let a second process send."""
    arguments = (wire.getsockname(), frames, rate, seconds)
    process = multiprocessing.get_context("fork").Process(target=send_paced, args=arguments)
    process.start()
    yield
    process.join()


def share_pct(way: Way, sent: Sequence[bytes], rate: float, seconds: float) -> float:
    """Return how much of a core one path takes while frames come at a rate [%]."""
    with inbox() as wire:
        if way.wanted:
            let_through(wire, way.wanted)
        stop = threading.Event()
        with sender(wire, sent, rate, seconds):
            thread = threading.Thread(target=way.paced, args=(wire, stop))
            thread.start()
            time.sleep(GET_READY_S)
            began_s, used_s = time.monotonic(), time.process_time()
            time.sleep(seconds - 0.2)
            used_s, took_s = time.process_time() - used_s, time.monotonic() - began_s
            stop.set()
            thread.join()
    return 100 * used_s / took_s


def idle_pct(seconds: float) -> float:
    """Return the share of a core that our receive thread takes on a silent bus [%]."""
    with inbox() as wire:
        stop = threading.Event()
        thread = threading.Thread(target=our_paced(driver), args=(wire, stop))
        thread.start()
        time.sleep(GET_READY_S)
        used_s = time.process_time()
        time.sleep(seconds)
        used_s = time.process_time() - used_s
        stop.set()
        thread.join()
    return 100 * used_s / seconds


def delays_ms(sent: Sequence[bytes], rate: float, seconds: float) -> list[float]:
    """Return how long each frame took from the kernel to the table on a busy bus [ms]."""
    found: list[float] = []
    with inbox() as wire:
        take = driver()

        def timed(frame: Frame) -> None:
            take(frame)
            found.append((time.monotonic() - frame.at_s) * 1000)

        stop = threading.Event()
        with sender(wire, sent, rate, seconds):
            thread = threading.Thread(target=our_paced(lambda: timed), args=(wire, stop))
            thread.start()
            time.sleep(GET_READY_S + seconds)
            stop.set()
            thread.join()
    return sorted(found)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each paced run")
    seconds = parser.parse_args().seconds
    sent, database = traffic()
    with suppress(OSError):
        os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, loopback UDP, {len(sent)} frames a round")
    print(f"{SHARE:.0%} of the frames are used by the profile, the DBC knows all, each one changes")
    ways, rows, used = paths(sent, database), [], {}
    for way in ways:
        us = burst_us(way, sent)
        shares = [share_pct(way, sent, rate, seconds) for rate in BUS_RATES.values()]
        used[way.name] = (us, *shares)
        rows.append([way.name, f"{us:.2f}", *(f"{share:.1f} %" for share in shares)])
    show(
        "Live receive path",
        ["path", "burst us/frame", *(f"core at {name}" for name in BUS_RATES)],
        rows,
    )
    ours, theirs = used[ways[0].name], used[ways[3].name]
    print(
        f"burst: python-can + cantools takes {theirs[0] / ours[0]:.1f} times ours (goal 4);",
        end=" ",
    )
    print(f"ours is {ours[0] / used[ways[5].name][0]:.1f} times bare, ", end="")
    print(f"{ours[0] / used[ways[6].name][0]:.1f} times bare with stamps (goal 2)")
    ratios = [f"{their / our:.1f}" for our, their in zip(ours[1:], theirs[1:], strict=True)]
    print(f"paced: python-can + cantools takes {', '.join(ratios)} times ours (goal 6)")
    print(f"idle bus: {idle_pct(5.0):.2f} % of a core (goal 1)")
    delays = delays_ms(sent, BUS_RATES["500 kbit/s"], seconds)
    tail = statistics.quantiles(delays, n=1000)
    print(
        f"frame to table, ms: median {statistics.median(delays):.1f}, p99 {tail[989]:.1f},", end=" "
    )
    print(f"p99.9 {tail[998]:.1f}, longest {delays[-1]:.1f} (goal 20)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
