"""The ways to receive that `make bench-live` compares. Each is opened before frames come."""

import ctypes
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import can
import cantools
from can.interfaces.socketcan.socketcan import SocketcanBus

from agent.clock import SystemClock
from agent.control_loop import ControlLoop
from agent.device import Device
from agent.frame_ring import FrameRing
from bench.live_traffic import PROFILE
from bms_can.can_frame import EXTENDED
from bms_can.control import ControlPort
from bms_can.errors import BusDown
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.receiver import Receiver
from bms_can.socketcan import Outside, SocketCanPort

STAMPS = 35  # SO_TIMESTAMPNS
STAMPS_BEGIN_S = 0.02
LOOK_S = 0.1  # the control thread's pause while nothing is news
LOOKS_A_REPORT = 10
SILENCE_S = 3.0  # a sender that is kept waiting by others is no silent bus
Take = Callable[[Sequence[Frame]], object]
Database = cantools.database.can.Database


def inbox(*, stamped: bool) -> socket.socket:
    """Return a socket on which frames arrive, with the kernel's time stamps if wanted.

    A CAN socket is stamped from its first frame on; here the kernel begins a moment after the first
    socket asks.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    enlarge(made)
    if stamped:
        made.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
        time.sleep(STAMPS_BEGIN_S)
    return made


def enlarge(wire: socket.socket) -> None:
    """Let a whole round fit into the receive queue; needs the right for SO_RCVBUFFORCE."""
    with suppress(PermissionError):
        wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)


class Reading(Protocol):
    """One way to receive, on an open socket."""

    def burst(self, awaited: int) -> int:
        """Read all that waits; return how many frames that were, `awaited` unless some are lost."""

    def paced(self, stop: threading.Event) -> int:
        """Receive until told to stop; return how many frames that were."""

    def close(self) -> None:
        """Close the socket."""


class Way(NamedTuple):
    """What is compared.

    Attributes:
        name: for the table.
        open: makes the reading of a socket.
        stamped: the kernel stamps the frames.
        wanted: identifiers that the kernel lets through, None: all.
    """

    name: str
    open: Callable[[socket.socket], Reading]
    stamped: bool = True
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


class Bare:
    """Each datagram into one buffer, nothing more."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._buffer = bytearray(16)

    def _one(self) -> object:
        return self._wire.recv_into(self._buffer, 16)

    def burst(self, awaited: int) -> int:  # noqa: ARG002 - see Reading
        """See Reading. The loop is spelled out: a call would cost as much as what it calls."""
        wire, buffer, count = self._wire, self._buffer, 0
        with suppress(BlockingIOError):
            while True:
                wire.recv_into(buffer, 16, socket.MSG_DONTWAIT)
                count += 1
        return count

    def paced(self, stop: threading.Event) -> int:
        """See Reading. One blocking read for each frame."""
        self._wire.settimeout(0.1)
        count = 0
        while not stop.is_set():
            with suppress(TimeoutError):
                self._one()
                count += 1
        return count

    def close(self) -> None:
        """See Reading."""
        self._wire.close()


class BareStamped(Bare):
    """Each datagram with its time stamp."""

    def _one(self) -> object:
        return self._wire.recvmsg(16, 64)

    def burst(self, awaited: int) -> int:  # noqa: ARG002 - see Reading
        """See Reading."""
        wire, count = self._wire, 0
        with suppress(BlockingIOError):
            while True:
                wire.recvmsg(16, 64, socket.MSG_DONTWAIT)
                count += 1
        return count


def python_can_bus(wire: socket.socket) -> can.BusABC:
    """Return python-can's bus on our socket."""
    bus = SocketcanBus.__new__(SocketcanBus)
    bus.socket, bus.channel, bus._bcm_sockets = wire, "bench", {}  # noqa: SLF001 - its own __init__ wants AF_CAN
    bus._is_filtered, bus._filters, bus._is_shutdown = True, None, False  # noqa: SLF001 - same
    bus._periodic_tasks = []  # noqa: SLF001 - same
    return bus


class PythonCan:
    """python-can's recv and cantools' decode_message."""

    def __init__(self, database: Database, wire: socket.socket) -> None:
        self._bus = python_can_bus(wire)
        self._decode = database.decode_message

    def burst(self, awaited: int) -> int:  # noqa: ARG002 - see Reading
        """See Reading."""
        count = 0
        while (message := self._bus.recv(0)) is not None:
            self._decode(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
            count += 1
        return count

    def paced(self, stop: threading.Event) -> int:
        """See Reading."""
        count = 0
        while not stop.is_set():
            message = self._bus.recv(0.1)
            if message is not None:
                self._decode(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
                count += 1
        return count

    def close(self) -> None:
        """See Reading."""
        self._bus.shutdown()


class Notified(PythonCan):
    """python-can's Notifier with a listener that decodes."""

    def burst(self, awaited: int) -> int:
        """See Reading."""
        return self._listen(awaited, threading.Event())

    def paced(self, stop: threading.Event) -> int:
        """See Reading."""
        return self._listen(None, stop)

    def _listen(self, awaited: int | None, stop: threading.Event) -> int:
        seen: list[int] = []

        def listen(message: can.Message) -> None:
            self._decode(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
            seen.append(1)
            if len(seen) == awaited:
                stop.set()

        notifier = can.Notifier(self._bus, [listen], timeout=0.1)
        stop.wait(SILENCE_S * 4)
        notifier.stop()
        return len(seen)


class Path(NamedTuple):
    """What stands behind our receiver.

    Attributes:
        take: takes frames.
        look: what the control thread does to see the status.
        report: what a report does to see all values.
    """

    take: Take
    look: Callable[[], object]
    report: Callable[[], object]


class Ours:
    """The product's port and receiver, before what takes the frames."""

    def __init__(self, made: Callable[[], Path], wire: socket.socket) -> None:
        self._take, self._look, self._report = made()
        self._port = our_port(wire)

    def burst(self, awaited: int) -> int:
        """See Reading."""
        take, ports = self._take, [self._port]

        def reopen() -> SocketCanPort:
            if ports:
                return ports.pop()
            receiver.stop()  # frames were lost
            raise BusDown("silence")

        def each(frames: Sequence[Frame]) -> None:
            take(frames)
            if receiver.frames >= awaited:
                receiver.stop()

        receiver = Receiver(reopen, each, silence_s=SILENCE_S)
        receiver.run()
        self._report()
        return receiver.frames

    def paced(self, stop: threading.Event) -> int:
        """See Reading. As in the agent, which reports every few seconds: here every second."""
        receiver = Receiver(lambda: self._port, self._take, silence_s=SILENCE_S * 20)
        thread = threading.Thread(target=receiver.run)
        thread.start()
        looks = 0
        while not stop.wait(LOOK_S):
            looks += 1
            (self._look if looks % LOOKS_A_REPORT else self._report)()
        receiver.stop()
        thread.join()
        return receiver.frames

    def close(self) -> None:
        """See Reading. The receiver closes the port."""


def our_port(wire: socket.socket) -> SocketCanPort:
    """Return the product's port on our socket."""
    wire.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
    outside = Outside(ask=lambda _: None)
    bus = python_can_bus(wire)
    port = SocketCanPort(bus, time.monotonic, channel="127.0.0.1", outside=outside)
    enlarge(wire)
    return port


def driver() -> Path:
    """Return what the driver does with frames: check, keep, decode when looked at."""
    intake = Intake(*load_profile(PROFILE))
    return Path(intake.take_many, intake.stated, intake.table.snapshot)


def whole_path() -> Path:
    """Return what the agent does with frames: flight recorder, guard, driver, wake-up."""
    profile, database = load_profile(PROFILE)
    control, intake = ControlPort(Guard(profile.guard), lambda: None), Intake(profile, database)
    device = Device("bench", profile, intake, control, True, True, 0.0)  # noqa: FBT003 - fields in order
    nobody = cast("Any", None)  # observer and executor belong to another thread
    record = FrameRing(60.0).take_many
    loop = ControlLoop(device, nobody, nobody, SystemClock(), lambda _: None, record)
    return Path(loop.take_many, intake.stated, intake.table.snapshot)


FILTERED, UNFILTERED = "ours, in the agent, kernel filter", "ours, in the agent, no filter"
THEIRS, BARE, BARE_STAMPED = "python-can recv + cantools", "bare recv_into", "bare recvmsg + stamps"


def paths(database: Database) -> list[Way]:
    """Return the ways to receive that are compared."""
    messages = load_profile(PROFILE)[1].by_id
    wanted = frozenset(can_id | EXTENDED for can_id, _ in messages)
    return [
        Way(FILTERED, partial(Ours, whole_path), wanted=wanted),
        Way(UNFILTERED, partial(Ours, whole_path)),
        Way("ours, driver alone, no filter", partial(Ours, driver)),
        Way(THEIRS, partial(PythonCan, database)),
        Way("Notifier + cantools", partial(Notified, database)),
        Way(BARE, Bare, stamped=False),
        Way(BARE_STAMPED, BareStamped),
    ]
