"""The port on SocketCAN, on a datagram socket and a kernel of the test's own."""

import errno
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bms_can.busoff import BusOff
from bms_can.can_frame import ERROR, Form, frame_bytes
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from bms_can.link import LinkState
from bms_can.port import Port
from bms_can.rawcan import BATCH
from bms_can.receiver import Receiver
from bms_can.socketcan import LOOK_S, PACE_S, Outside, SocketCanPort
from tests.hostile import HostileBus

UP = LinkState("can0", 7, "can", up=True, echo=True, carrier=True, state="ERROR-ACTIVE")
FRAME = Frame(0.0, 0x123, extended=False, data=b"12345678")


class Bench:
    """A port, what is behind it, and what it did.

    Attributes:
        link: what the kernel says about the interface.
        acts: what the port did to it; `refusal`: why that is not allowed.
        slept_s: the pauses of the port.
    """

    def __init__(self) -> None:
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inbox.bind(("127.0.0.1", 0))
        self.inbox.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.outbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outbox.connect(self.inbox.getsockname())
        self.inbox.connect(self.outbox.getsockname())
        self.outbox.setblocking(False)  # noqa: FBT003 - socket's own argument
        self.link: LinkState | None = UP
        self.acts: list[bool] = []
        self.refusal = ""
        self.slept_s: list[float] = []
        self.later_s = 0.0
        bus = HostileBus()
        bus.socket = self.inbox  # type: ignore[attr-defined]  # as SocketcanBus has one
        outside = Outside(
            wall_s=lambda: time.clock_gettime(time.CLOCK_REALTIME) + self.later_s,
            sleep=self.slept_s.append,
            ask=lambda _: self.link,
            set_up=self._set_up,
        )
        self.port = SocketCanPort(bus, self.clock_s, channel="127.0.0.1", outside=outside)

    def clock_s(self) -> float:
        """Return the time [s]."""
        return time.monotonic() + self.later_s

    def _set_up(self, channel: str, *, up: bool) -> None:  # noqa: ARG002 - as netlink.set_up
        if self.refusal:
            raise BusDown(self.refusal)
        self.acts.append(up)
        self.link = replace(UP, up=up)

    def arrive(self, *frames: bytes) -> None:
        """Let messages arrive."""
        for frame in frames:
            self.outbox.send(frame)

    def tend(self, recovery: BusOff, after_s: float = LOOK_S) -> None:
        """Let time pass and the port look after its interface."""
        self.later_s += after_s
        self.port.tend(recovery)

    def went_out(self) -> list[bytes]:
        """Return what the port sent."""
        found = []
        try:
            while True:
                found.append(self.outbox.recv(100))
        except BlockingIOError:
            return found


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a bench."""
    made = Bench()
    yield made
    made.port.close()
    made.inbox.close()
    made.outbox.close()


def test_many_frames_at_once(bench: Bench) -> None:
    """What does not fit into one call of the kernel comes with the next, without a pause."""
    wanted = [FRAME._replace(can_id=number) for number in range(BATCH + 10)]
    before_s = bench.port.drained_s
    bench.arrive(*map(frame_bytes, wanted))
    found = [*bench.port.receive_many(0.5)]
    assert len(found) == BATCH
    found += bench.port.receive_many(0.5)
    assert bench.slept_s == []
    assert bench.port.drained_s == before_s  # not all was handed on yet
    assert [each.can_id for each in found] == list(range(BATCH + 10))
    times_s = [each.at_s for each in found]
    assert times_s == sorted(times_s)
    assert bench.port.receive_many(0.0) == []


def test_frames_one_by_one(bench: Bench) -> None:
    """For tools: the same frames, one for each call, then silence."""
    bench.arrive(*[frame_bytes(FRAME)] * 3)
    found = [bench.port.receive(0.01) for _ in range(4)]
    assert [each is not None for each in found] == [True, True, True, False]


def test_it_pauses_after_frames_and_not_on_a_quiet_bus(bench: Bench) -> None:
    """A wake-up costs more than a frame; a silent bus needs no pause."""
    bench.port.receive_many(0.01)
    assert bench.slept_s == []
    bench.arrive(frame_bytes(FRAME))
    bench.port.receive_many(0.5)
    bench.arrive(frame_bytes(FRAME))
    bench.port.receive_many(0.5)
    assert len(bench.slept_s) == 1
    assert 0 < bench.slept_s[0] <= PACE_S


def test_the_queue_counts_as_empty_when_its_frames_were_handed_on(bench: Bench) -> None:
    """Not when they were read: whoever waits for an echo must not be told too early."""
    assert bench.port.drained_s > -math.inf
    before_s = bench.port.drained_s
    bench.arrive(frame_bytes(FRAME))
    sent_s = bench.clock_s()
    assert bench.port.receive_many(0.5)
    assert before_s <= bench.port.drained_s <= sent_s
    bench.port.receive_many(0.0)
    assert bench.port.drained_s > sent_s


def test_error_frames_say_what_state_the_controller_is_in(bench: Bench) -> None:
    """Passive: nothing that may come late should be sent. They are counted, and are no silence."""
    passive = struct.pack("=IB3x8s", ERROR | 0x204, 8, bytes.fromhex("0020000000008000"))
    active = struct.pack("=IB3x8s", ERROR | 0x204, 8, bytes.fromhex("0040000000000000"))
    bench.arrive(passive, frame_bytes(FRAME))
    assert len(bench.port.receive_many(0.5)) == 1
    assert bench.port.doubt == "error-passive"
    assert bench.port.trouble == ""
    bench.arrive(active)
    assert bench.port.receive_many(0.05) == []
    assert bench.port.doubt == ""
    assert bench.port.counts.errors == {"controller/passive": 1, "controller/active": 1}
    assert bench.port.dropped == {"error": 2}


def test_what_the_kernel_says_counts_more_than_an_old_error_frame(bench: Bench) -> None:
    """Twice a second the interface is looked at."""
    bench.link = replace(UP, state="ERROR-PASSIVE")
    bench.tend(BusOff())
    assert bench.port.doubt == "error-passive"
    bench.link = replace(UP, up=False)
    bench.port.tend(BusOff())
    assert bench.port.doubt == "error-passive"
    bench.tend(BusOff())
    assert (bench.port.trouble, bench.port.doubt) == ("the interface is down",) * 2
    bench.link = None
    bench.tend(BusOff())
    assert bench.port.trouble == ""
    assert bench.port.link is None


@pytest.mark.parametrize(
    ("link", "true_echo"),
    [
        (UP, True),
        (replace(UP, kind="slcan", echo=False), False),
        (replace(UP, kind="vcan", echo=False), True),
        (None, False),
    ],
)
def test_an_echo_proves_what_the_driver_can_know(
    bench: Bench,
    link: LinkState | None,
    true_echo: bool,  # noqa: FBT001 - a case
) -> None:
    """One made when a frame was queued proves nothing; nor does one of which nobody can tell."""
    bench.link = link
    bench.tend(BusOff())
    assert bench.port.true_echo is true_echo


def test_bus_off_is_mended_by_setting_the_interface_down_and_up(bench: Bench) -> None:
    """After a rest, down and up at once, so that nothing that waits goes out; then it listens."""
    recovery = BusOff()
    bench.link = replace(UP, state="BUS-OFF", carrier=False)
    bench.tend(recovery)
    assert bench.port.doubt == "bus-off: to be restarted in 1 s"
    bench.tend(recovery)
    assert bench.acts == []
    bench.tend(recovery)
    assert bench.acts == [False, True]
    assert "listening" in bench.port.doubt
    assert bench.port.trouble == ""
    bench.tend(recovery, 3.0)
    assert bench.port.doubt == ""


def test_what_a_person_has_set_down_in_bus_off_stays_down(bench: Bench) -> None:
    """It is told, not overruled; once it is up again it is listened to before any send."""
    recovery = BusOff()
    bench.link = replace(UP, state="BUS-OFF", carrier=False)
    bench.tend(recovery)
    bench.link = replace(UP, state="STOPPED", up=False)
    for _ in range(10):
        bench.tend(recovery, 10.0)
    assert bench.acts == []
    assert "not by us: it stays down" in bench.port.doubt
    assert bench.port.trouble == "the interface is down"
    bench.link = UP
    bench.tend(recovery)
    assert "listening" in bench.port.doubt


def test_bus_off_without_the_right_to_mend_it(bench: Bench) -> None:
    """It says who must: the reason is in the doubt that keeps closes in."""
    recovery = BusOff()
    bench.refusal = "can0: Operation not permitted (needs CAP_NET_ADMIN)"
    bench.link = replace(UP, state="BUS-OFF", carrier=False)
    bench.tend(recovery)
    bench.tend(recovery, 1.0)
    assert bench.port.doubt == f"bus-off; not restarted: {bench.refusal}"
    assert bench.port.trouble == "bus-off"


def test_a_frame_that_would_be_late_is_not_sent(bench: Bench) -> None:
    """While somebody changes an interface the kernel answers nobody: then nothing goes out."""
    ask = bench.port._outside.ask

    def slow(channel: str) -> LinkState | None:
        bench.later_s += 0.11
        return ask(channel)

    bench.port._outside = replace(bench.port._outside, ask=slow)
    with pytest.raises(SendFailed, match="not sent late"):
        bench.port.send(Frame(0.0, 0x100, extended=False, data=b"\1"))
    assert bench.went_out() == []


def test_an_interface_that_was_removed(bench: Bench) -> None:
    """The socket is no longer bound to the interface of that name: another one is needed."""
    bench.port._channel = "can0"
    with pytest.raises(BusDown, match="the interface was removed"):
        bench.tend(BusOff())


def test_a_frame_is_sent(bench: Bench) -> None:
    """As the kernel wants it, classical and FD."""
    long = FRAME._replace(data=bytes(12), extended=True)
    for frame in (FRAME, long):
        bench.port.send(frame)
    assert bench.went_out() == [frame_bytes(FRAME), frame_bytes(long)]
    bench.port.forms = {(FRAME.can_id, FRAME.extended): Form(fd=True, switch=True)}
    bench.port.send(FRAME)
    (sent,) = bench.went_out()
    assert (len(sent), sent[5]) == (72, 0x05)  # CANFD_FDF, CANFD_BRS of linux/can.h


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"up": False}, "the interface is down"),
        ({"state": "BUS-OFF"}, "bus-off"),
        ({"carrier": False}, "no carrier"),
        ({"state": "STOPPED"}, "the controller is stopped"),
        ({"modes": ("LISTEN-ONLY",)}, "only listens"),
    ],
)
def test_where_the_kernel_would_throw_a_frame_away_it_is_not_sent(
    bench: Bench, change: dict[str, object], why: str
) -> None:
    """The link is asked at that moment, not remembered from the last look."""
    bench.link = replace(UP, **change)  # type: ignore[arg-type]  # a field and its value
    with pytest.raises(SendFailed, match=why):
        bench.port.send(FRAME)
    assert bench.went_out() == []


def test_a_closed_socket_is_bus_down(bench: Bench) -> None:
    """On both ways."""
    bench.inbox.close()
    with pytest.raises(BusDown):
        bench.port.receive_many(0.01)
    with pytest.raises(SendFailed):
        bench.port.send(FRAME)


def test_a_link_that_was_down_is_told_once_and_the_socket_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENETDOWN on receive: what waits behind it is read; on send: the frame is sent after all."""
    errors = [OSError(errno.ENETDOWN, "Network is down")]
    read = bench.port._reader.read

    def once(moment: object) -> object:
        if errors:
            raise errors.pop()
        return read(moment)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(bench.port._reader, "read", once)
    bench.arrive(frame_bytes(FRAME))
    assert len(bench.port.receive_many(0.5)) == 1
    assert errors == []


def test_the_receiver_looks_after_the_link(bench: Bench) -> None:
    """A link that is down is told, is no silence that needs another socket, and is over with it."""
    told: list[str] = []
    receiver = Receiver(lambda: bench.port, lambda _: None, 0.2, told.append)
    bench.link = replace(UP, up=False)
    thread = threading.Thread(target=receiver.run)
    thread.start()
    time.sleep(0.4)
    assert (receiver.opened, told, receiver.doubt) == (1, ["the interface is down"], told[0])
    bench.link = UP
    bench.later_s += LOOK_S
    time.sleep(0.1)
    bench.arrive(frame_bytes(FRAME))
    time.sleep(0.1)
    receiver.stop()
    thread.join()
    assert told == ["the interface is down", ""]
    assert receiver.facts()["frames"] == 1


def test_a_port_of_another_interface_has_no_link() -> None:
    """There is nobody to ask, so nothing is in doubt."""
    port = Port(HostileBus(), lambda: 1.0)
    assert (port.trouble, port.doubt, port.link, port.now_s()) == ("", "", None, 1.0)
    port.tend(BusOff())
    port.close()
