"""Cost of a frame on a real CAN socket: ours, python-can with cantools, a bare loop. Printed."""

import socket
import time
from collections.abc import Callable, Iterator

import can
import cantools
import pytest

from bms_can.block import Block
from bms_can.bus import BusSettings, open_port
from bms_can.can_frame import frame_bytes
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.socketcan.nodes import PROFILE, clock_s, sh
from tests.socketcan.stage import TABLE, Row

FRAMES, ROUNDS = 5_000, 3


@pytest.fixture(scope="module")
def bus() -> Iterator[str]:
    """Return an interface that nobody else is on."""
    sh("ip link add dev vcan9 type vcan && ip link set vcan9 up")
    yield "vcan9"
    sh("ip link del vcan9")


def frames() -> list[Frame]:
    """Return what our battery says, faster than it does."""
    battery, found, at_s = Simulator(*load_profile(PROFILE), now_s=0.0), list[Frame](), 0.0
    while len(found) < FRAMES:
        at_s += 0.01
        found += battery.due_frames(at_s)
    return found[:FRAMES]


def cost_us(channel: str, reader: Callable[[], Callable[[], int]]) -> float:
    """Return the processor time of one frame in a queue that is full [us]."""
    costs = []
    for _ in range(ROUNDS):
        read = reader()
        with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as sender:
            sender.bind((channel,))
            for frame in frames():
                sender.send(frame_bytes(frame))
        began_s, count = time.thread_time(), 0
        while count < FRAMES:
            got = read()
            assert got, f"{count} of {FRAMES} frames"
            count += got
        costs.append((time.thread_time() - began_s) / FRAMES * 1e6)
    return min(costs)


def ours(channel: str) -> Callable[[], int]:
    """Return our port and driver."""
    port = open_port(BusSettings("socketcan", channel), clock_s)
    intake = Intake(*load_profile(PROFILE))

    def read() -> int:
        found = port.receive_many(0.5)
        assert isinstance(found, Block)  # the stamps and flags of a real socket allow it
        intake.take_many(found)
        return len(found)

    return read


def theirs(channel: str) -> Callable[[], int]:
    """Return python-can's recv with cantools."""
    bus = can.Bus(interface="socketcan", channel=channel)
    bus.socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # type: ignore[attr-defined]  # SO_RCVBUFFORCE
    database = cantools.database.can.Database()
    database.add_dbc_file(str(PROFILE.with_suffix(".dbc")))

    def read() -> int:
        message = bus.recv(0.5)
        if message is None:
            return 0
        database.decode_message(message.arbitration_id, message.data)  # type: ignore[arg-type]  # a bytearray
        return 1

    return read


def bare(channel: str) -> Callable[[], int]:
    """Return a loop that reads into one buffer."""
    wire = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    wire.bind((channel,))
    wire.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    buffer = bytearray(16)
    return lambda: wire.recv_into(buffer) and 1


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_cost_of_a_frame(bus: str) -> None:
    """Printed for the record; that it is far cheaper than python-can with cantools must hold."""
    us = {each.__name__: cost_us(bus, lambda each=each: each(bus)) for each in (ours, theirs, bare)}  # type: ignore[misc]  # bound now
    words = (
        f"ours {us['ours']:.1f}, python-can + cantools {us['theirs']:.1f}, bare {us['bare']:.1f}"
    )
    TABLE.append(Row("(burst, us a frame)", None, None, 0, words))
    assert us["ours"] <= us["theirs"] / 2
