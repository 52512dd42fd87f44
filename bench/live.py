"""Cost of the live receive path, beside python-can with cantools and bare loops: `make bench-live`.

Without CAN in this kernel the frames are struct can_frame in datagrams over loopback UDP; each path
runs its own code on that socket: ours is the product's SocketCanPort, Receiver and Intake, the
others use python-can's SocketcanBus and Notifier. In the guest (`make socketcan` prints it) the
socket is a real one. Burst: the queue is never empty. Paced: a second process spaces the frames
evenly, as a bus does, and wake-ups are the cost. Figures are processor time of the receiver.
"""

import argparse
import ctypes
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import can
import cantools
from can.interfaces.socketcan.socketcan import SocketcanBus

from agent.frame_ring import FrameRing
from bench.table import show
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.rawcan import EXTENDED, frame_bytes
from bms_can.receiver import Receiver
from bms_can.simulator import Simulator
from bms_can.socketcan import Outside, SocketCanPort

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "dbc" / "ess_bau.toml"
STAMPS = 35  # SO_TIMESTAMPNS
BATCH, ROUNDS = 20_000, 5
BUS_RATES = {"500 kbit/s": 4504.5, "1 Mbit/s": 9009.0}  # standard frames of 8 bytes, no stuff bits
SHARE = 0.41  # of the frames the profile uses so many; the DBC knows all of them
OTHERS = 12
GET_READY_S = 0.3
SILENCE_S = 60.0  # a sender that is kept waiting by others is no silent bus
LONGEST_S = 4.0  # of a burst; frames were lost if it takes longer
Take = Callable[[Frame], None]


class Traffic(NamedTuple):
    """Frames to be sent, and the DBC that has all of their identifiers."""

    frames: Sequence[bytes]
    database: cantools.database.can.Database


def traffic(count: int = BATCH) -> Traffic:
    """Return a bus on which a battery of ours and other nodes speak; every payload changes."""
    battery, random = Simulator(*load_profile(PROFILE), now_s=0.0), Random(1)  # noqa: S311 - a bench
    ours: list[bytes] = []
    at_s = 0.0
    while len(ours) < count:
        at_s += 0.01
        ours += [frame_bytes(frame) for frame in battery.due_frames(at_s)]
    text = PROFILE.with_suffix(".dbc").read_text(encoding="utf-8")
    text += "".join(_other_message(number) for number in range(OTHERS))
    database = cantools.database.can.Database(strict=False)
    database.add_dbc_string(text)
    found, source = [], iter(ours)
    for _ in range(count):
        other = Frame(
            0.0, 0x300 + random.randrange(OTHERS), extended=False, data=random.randbytes(8)
        )
        found.append(next(source) if random.random() < SHARE else frame_bytes(other))
    return Traffic(found, database)


def _other_message(number: int) -> str:
    """Return a message of another node: eight signals of a byte each."""
    signals = (f' SG_ s{i} : {8 * i}|8@1+ (0.5,-10) [0|0] "" Vector__XXX\n' for i in range(8))
    return f"\nBO_ {0x300 + number} Other_{number}: 8 Vector__XXX\n" + "".join(signals)


def inbox() -> socket.socket:
    """Return a socket on which frames arrive, with the kernel's time stamps."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    enlarge(made)
    return made


def enlarge(wire: socket.socket) -> None:
    """Let a whole round fit into the receive queue; needs the right for SO_RCVBUFFORCE."""
    with suppress(PermissionError):
        wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)


def python_can_bus(wire: socket.socket) -> can.BusABC:
    """Return python-can's bus on our socket."""
    wire.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
    bus = SocketcanBus.__new__(SocketcanBus)
    bus.socket, bus.channel, bus._bcm_sockets = wire, "bench", {}  # noqa: SLF001 - its own __init__ wants AF_CAN
    bus._is_filtered, bus._filters, bus._is_shutdown = True, None, False  # noqa: SLF001 - same
    bus._periodic_tasks = []  # noqa: SLF001 - same
    return bus


class Way(NamedTuple):
    """One way to receive.

    Attributes:
        name: for the table.
        burst: reads all that waits; returns the number of frames that were on the bus.
        paced: receives in this process until told to stop.
        wanted: identifiers that the kernel lets through, None: all.
    """

    name: str
    burst: Callable[[socket.socket], int]
    paced: Callable[[socket.socket, threading.Event], None]
    wanted: frozenset[int] | None = None


def let_through(wire: socket.socket, wanted: frozenset[int]) -> None:
    """Let the kernel throw other identifiers away, as its CAN filter does on a real bus.

    Classic BPF (linux/filter.h) on the identifier, which follows eight bytes of UDP header.
    """
    words = sorted(int.from_bytes(word.to_bytes(4, sys.byteorder), "big") for word in wanted)
    program = [(0x20, 0, 0, 8)]
    program += [(0x15, len(words) - at, 0, word) for at, word in enumerate(words)]
    program += [(0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF)]
    rows = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in program))
    head = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(rows))
    wire.setsockopt(socket.SOL_SOCKET, 26, head)  # SO_ATTACH_FILTER


def bare_burst(wire: socket.socket) -> int:
    """Read each datagram into one buffer, nothing more."""
    buffer, count = bytearray(16), 0
    with suppress(BlockingIOError):
        while True:
            wire.recv_into(buffer, 16, socket.MSG_DONTWAIT)
            count += 1
    return count


def bare_paced(wire: socket.socket, stop: threading.Event) -> None:
    """One blocking read for each frame."""
    wire.settimeout(0.1)
    buffer = bytearray(16)
    while not stop.is_set():
        with suppress(TimeoutError):
            wire.recv_into(buffer, 16)


def stamped_burst(wire: socket.socket) -> int:
    """Read each datagram with its time stamp."""
    wire.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
    count = 0
    with suppress(BlockingIOError):
        while True:
            wire.recvmsg(16, 64, socket.MSG_DONTWAIT)
            count += 1
    return count


def stamped_paced(wire: socket.socket, stop: threading.Event) -> None:
    """One blocking read for each frame, with its time stamp."""
    wire.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
    wire.settimeout(0.1)
    while not stop.is_set():
        with suppress(TimeoutError):
            wire.recvmsg(16, 64)


def cantools_burst(database: cantools.database.can.Database) -> Callable[[socket.socket], int]:
    """Return python-can's recv and cantools' decode_message."""

    def burst(wire: socket.socket) -> int:
        bus, count = python_can_bus(wire), 0
        while (message := bus.recv(0)) is not None:
            database.decode_message(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
            count += 1
        return count

    return burst


def cantools_paced(
    database: cantools.database.can.Database,
) -> Callable[[socket.socket, threading.Event], None]:
    """Return the same, waiting for each frame."""

    def paced(wire: socket.socket, stop: threading.Event) -> None:
        bus = python_can_bus(wire)
        while not stop.is_set():
            message = bus.recv(0.1)
            if message is not None:
                database.decode_message(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray

    return paced


def notifier_paced(
    database: cantools.database.can.Database,
) -> Callable[[socket.socket, threading.Event], None]:
    """Return python-can's Notifier with a listener that decodes."""

    def paced(wire: socket.socket, stop: threading.Event) -> None:
        def listen(message: can.Message) -> None:
            database.decode_message(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray

        notifier = can.Notifier(python_can_bus(wire), [listen], timeout=0.1)
        stop.wait()
        notifier.stop()

    return paced


def notifier_burst(database: cantools.database.can.Database) -> Callable[[socket.socket], int]:
    """Return the same on a queue that is full."""

    def burst(wire: socket.socket) -> int:
        seen: list[int] = []

        def listen(message: can.Message) -> None:
            database.decode_message(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
            seen.append(1)

        notifier = can.Notifier(python_can_bus(wire), [listen], timeout=0.05)
        end_s = time.monotonic() + LONGEST_S
        while len(seen) < BATCH and time.monotonic() < end_s:
            time.sleep(0.01)
        notifier.stop()
        return len(seen)

    return burst


def our_port(wire: socket.socket) -> SocketCanPort:
    """Return the product's port on our socket."""
    wire.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
    outside = Outside(ask=lambda _: None)
    bus = python_can_bus(wire)
    port = SocketCanPort(bus, time.monotonic, channel="127.0.0.1", outside=outside)
    enlarge(wire)
    return port


def driver() -> Take:
    """Return what the driver does with a frame: check, keep, decode when looked at."""
    take = Intake(*load_profile(PROFILE)).take

    def each(frame: Frame) -> None:
        take(frame)

    return each


def whole_path() -> Take:
    """Return what the agent does with a frame: flight recorder, guard, driver."""
    profile, database = load_profile(PROFILE)
    record, control = FrameRing(60.0).take, ControlPort(Guard(profile.guard), lambda: None)
    take, ids = Intake(profile, database).take, control.ids

    def each(frame: Frame) -> None:
        record(frame)
        if frame[1:3] not in ids:
            take(frame)
        else:
            control.hear(frame)

    return each


def our_burst(made: Callable[[], Take], awaited: int = BATCH) -> Callable[[socket.socket], int]:
    """Return our path on a queue that is full; `awaited`: frames that are in it."""
    take = made()

    def burst(wire: socket.socket) -> int:
        receiver = Receiver(lambda: our_port(wire), take, silence_s=SILENCE_S)

        def watch() -> None:
            end_s = time.monotonic() + LONGEST_S
            while receiver.frames < awaited and time.monotonic() < end_s:
                time.sleep(0.005)
            receiver.stop()

        thread = threading.Thread(target=watch)
        thread.start()
        receiver.run()
        thread.join()
        return BATCH

    return burst


def our_paced(made: Callable[[], Take]) -> Callable[[socket.socket, threading.Event], None]:
    """Return our receive thread as the agent runs it."""

    def paced(wire: socket.socket, stop: threading.Event) -> None:
        receiver = Receiver(lambda: our_port(wire), made(), silence_s=SILENCE_S)
        thread = threading.Thread(target=receiver.run)
        thread.start()
        stop.wait()
        receiver.stop()
        thread.join()
        if receiver.counts.lost:
            print(f"lost: {receiver.counts.lost}")

    return paced


def paths(sent: Sequence[bytes], database: cantools.database.can.Database) -> list[Way]:
    """Return the ways to receive that are compared; ours first."""
    messages = load_profile(PROFILE)[1].by_id
    wanted = frozenset(can_id | EXTENDED for can_id, _ in messages)
    awaited = sum(int.from_bytes(frame[:4], sys.byteorder) in wanted for frame in sent)
    burst, paced = our_burst(whole_path, awaited), our_paced(whole_path)
    return [
        Way("ours, in the agent, kernel filter", burst, paced, wanted),
        Way("ours, driver alone, no filter", our_burst(driver), our_paced(driver)),
        Way("ours, in the agent, no filter", our_burst(whole_path), our_paced(whole_path)),
        Way("python-can recv + cantools", cantools_burst(database), cantools_paced(database)),
        Way("Notifier + cantools", notifier_burst(database), notifier_paced(database)),
        Way("bare recv_into", bare_burst, bare_paced),
        Way("bare recvmsg with stamps", stamped_burst, stamped_paced),
    ]


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
