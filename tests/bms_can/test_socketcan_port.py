"""The port on SocketCAN where this machine has no CAN: loopback datagrams in place of frames."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import can
import pytest

from bms_can import netlink
from bms_can.busoff import FIRST_WAIT_S, LISTEN_S, Act, BusOff, Phase
from bms_can.can_frame import ERROR
from bms_can.link import LinkState
from bms_can.socketcan import Outside, SocketCanPort
from tests.bms_can.test_rawcan import Pipe

HOST = "127.0.0.1"  # what getsockname() says in place of the interface's name
UP = LinkState(HOST, 1, kind="can", up=True, carrier=True, state="ERROR-ACTIVE")
BUS_OFF, RESTARTED, PASSIVE = (0x40, bytes(8)), (0x100, bytes(8)), (0x04, b"\0\x10" + bytes(6))


class Bench:
    """A port, its kernel as a value, and its clock."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.socket = self.pipe.inbox
        self.socket.connect(self.pipe.outbox.getsockname())
        self.now_s = 100.0
        self.link = UP
        self.recovery = BusOff()
        outside = Outside(sleep=lambda _: None, ask=lambda _: self.link, set_up=self.set_up)
        bus = cast("can.BusABC", self)  # of which only the socket is used
        self.port = SocketCanPort(bus, lambda: self.now_s, channel=HOST, outside=outside)

    def set_up(self, channel: str, *, up: bool) -> None:
        """Set the interface up or down, as asked."""
        assert channel == HOST
        self.link = replace(self.link, up=up, state="ERROR-ACTIVE" if up else "STOPPED")

    def hear(self, *errors: tuple[int, bytes]) -> str:
        """Let error frames come; return the port's doubt after it."""
        for can_id, data in errors:
            self.pipe.send(struct.pack("=IB3x8s", ERROR | can_id, 8, data))
        self.now_s += 0.1
        self.port.receive_many(0.0)
        self.port.tend(self.recovery)
        return self.port.doubt


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a bench on a healthy bus."""
    made = Bench()
    assert made.hear() == ""
    yield made
    made.pipe.close()


@pytest.mark.parametrize("errors", [[BUS_OFF], [BUS_OFF, RESTARTED], [RESTARTED]])
def test_a_bus_off_that_the_kernel_ended_is_followed_by_listening(
    bench: Bench, errors: list[tuple[int, bytes]]
) -> None:
    """With `restart-ms` it may be over before anybody looks: 3 s of quiet all the same."""
    assert "listening" in bench.hear(*errors)
    bench.now_s += LISTEN_S
    assert bench.hear() == ""
    assert bench.recovery.phase is Phase.FINE


def test_what_tells_no_bus_off_needs_no_listening(bench: Bench) -> None:
    """Error-passive is a doubt while it lasts, and no longer."""
    bench.link = replace(UP, state="ERROR-PASSIVE")
    assert bench.hear(PASSIVE) == "error-passive"
    bench.link = UP
    bench.now_s += 1.0
    assert bench.hear() == ""


def test_a_bus_off_that_goes_on_is_recovered_from(bench: Bench) -> None:
    """It rests; a restart that is told but has not come about changes nothing."""
    bench.link = replace(UP, state="BUS-OFF")
    assert "to be restarted" in bench.hear(BUS_OFF)
    assert "to be restarted" in bench.hear(RESTARTED)
    bench.now_s += FIRST_WAIT_S
    assert "listening" in bench.hear()
    assert bench.link.up
    assert bench.recovery.recoveries == 1


def test_over_means_nothing_where_we_keep_it_down() -> None:
    """Only who believes that all is well, or listens already, listens anew."""
    recovery = BusOff()
    recovery.done(Act.DOWN, 0.0)
    recovery.over(0.5)
    assert recovery.phase is Phase.DOWN


def test_a_kernel_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock on all interfaces can be held for seconds; a close must not wait for that."""
    ours, kernels = socket.socketpair()
    with ours, kernels:
        monkeypatch.setattr("bms_can.netlink.socket.socket", lambda *_: ours)
        began_s = time.monotonic()
        assert netlink.read_link("can0") is None
        assert time.monotonic() - began_s < 0.5
