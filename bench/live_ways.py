"""The ways to receive that `make bench-live` compares, and the frames that they get."""

import ctypes
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import can
import cantools
from can.interfaces.socketcan.socketcan import SocketcanBus

from agent.frame_ring import FrameRing
from bench.live_traffic import BATCH, PROFILE
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.rawcan import EXTENDED
from bms_can.receiver import Receiver
from bms_can.socketcan import Outside, SocketCanPort

STAMPS = 35  # SO_TIMESTAMPNS
SILENCE_S = 60.0  # a sender that is kept waiting by others is no silent bus
LONGEST_S = 4.0  # of a burst; frames were lost if it takes longer
Take = Callable[[Frame], None]


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
