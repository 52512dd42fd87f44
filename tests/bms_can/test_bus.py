"""The border to python-can: what is a frame, and which error means what."""

import errno
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import can
import pytest

from bms_can.bus import HINTS, BusSettings, Port, open_port
from bms_can.can_frame import Form
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from tests.hostile import Event, HostileBus, data_message, error_message, remote_message

FRAME = Frame(0.0, 0x123, extended=False, data=b"\x01\x02")


class Clock:
    """A clock that goes `step_s` further at each look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.step_s = step_s

    def __call__(self) -> float:
        """Return the time [s]."""
        self.now_s += self.step_s
        return self.now_s


def port_of(*script: Event, clock: Clock | None = None) -> tuple[Port, HostileBus]:
    """Return a port on a bus with a script."""
    bus = HostileBus(script)
    return Port(bus, clock or Clock(), "string 1"), bus


def test_a_frame_carries_our_time_and_name() -> None:
    """Time is that of our clock, not the adapter's."""
    message = data_message(0x7FF, b"\x09\x08")
    message.timestamp = 1.7e9
    port, _ = port_of(message)
    assert port.receive(0.2) == Frame(
        100.0, 0x7FF, extended=False, data=b"\x09\x08", channel="string 1"
    )


@pytest.mark.parametrize("extended", [True, False])
def test_the_kind_of_identifier_is_kept(*, extended: bool) -> None:
    """0x100 standard and 0x100 extended arrive, and leave, as what they are (trap 16)."""
    port, bus = port_of(data_message(0x100, extended=extended))
    frame = port.receive(0.2)
    assert frame is not None
    assert (frame.can_id, frame.extended) == (0x100, extended)
    port.send(frame)
    assert (bus.sent[0].arbitration_id, bus.sent[0].is_extended_id) == (0x100, extended)


@pytest.mark.parametrize("size", [0, 1, 8])
def test_payloads_of_any_length(size: int) -> None:
    """Bytes are handed on as they are, none and eight included."""
    port, bus = port_of(data_message(data=bytes(range(size))))
    frame = port.receive(0.2)
    assert frame is not None
    assert frame.data == bytes(range(size))
    port.send(frame)
    assert bytes(bus.sent[0].data) == bytes(range(size))
    assert not bus.sent[0].is_fd


def test_a_long_payload_goes_as_can_fd() -> None:
    """More than eight bytes make a CAN FD frame."""
    port, bus = port_of()
    port.send(FRAME._replace(data=bytes(12)))
    assert bus.sent[0].is_fd


@pytest.mark.parametrize("switch", [True, False])
def test_a_short_frame_of_an_fd_message(switch: bool) -> None:  # noqa: FBT001 - a case
    """The DBC says that it is CAN FD: a controller that wants FD may ignore a classical frame."""
    port, bus = port_of()
    port.forms = {(FRAME.can_id, False): Form(fd=True, switch=switch)}
    port.send(FRAME)
    port.send(FRAME._replace(extended=True))  # another message
    assert [(each.is_fd, each.bitrate_switch) for each in bus.sent] == [
        (True, switch),
        (False, False),
    ]


def test_error_and_remote_frames_are_counted_and_dropped() -> None:
    """What is no data frame never becomes one, and does not hide the data frame behind it."""
    port, _ = port_of(
        error_message(), remote_message(), error_message(), data_message(data=b"\x07")
    )
    frame = port.receive(0.2)
    assert frame is not None
    assert frame.data == b"\x07"
    assert port.dropped == {"error": 2, "remote": 1}


def test_a_burst_of_error_frames_does_not_shorten_the_time_out() -> None:
    """The time-out is used up by time, not by error frames."""
    clock = Clock(step_s=0.05)
    port, bus = port_of(*[error_message()] * 100, clock=clock)
    assert port.receive(0.2) is None
    assert clock.now_s == pytest.approx(100.3)
    assert port.dropped["error"] == 5
    assert bus.timeouts_s[0] == 0  # what is there is taken without waiting


def test_what_is_left_of_the_time_out_is_waited() -> None:
    """After an error frame the port waits for the rest of the time, not for all of it again."""
    port, bus = port_of(error_message(), None, clock=Clock(step_s=0.05))
    assert port.receive(0.2) is None
    assert bus.timeouts_s == [0, 0, pytest.approx(0.15)]


def test_when_the_queue_was_last_empty() -> None:
    """A look that finds nothing says so, as of before the look; a frame that waited does not."""
    clock = Clock()
    port, _ = port_of(data_message(), None, clock=clock)
    assert port.drained_s == -math.inf
    port.receive(0.2)
    assert port.drained_s == -math.inf
    clock.now_s = 107.0
    port.receive(0.2)
    assert port.drained_s == 107.0


def test_silence_is_none() -> None:
    """Nothing within the time-out is None."""
    assert port_of(None)[0].receive(0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(can.CanOperationError("Network is down", 100), id="link-down"),
        pytest.param(OSError(errno.ENODEV, "No such device"), id="adapter-pulled"),
        pytest.param(can.CanOperationError("No such device", errno.ENODEV), id="adapter-gone"),
        pytest.param(ValueError("file descriptor cannot be a negative integer (-1)"), id="closed"),
    ],
)
def test_a_failed_receive_is_bus_down(error: Exception) -> None:
    """Whatever python-can raises on receive means: reopen."""
    port, _ = port_of(error)
    with pytest.raises(BusDown, match=str(error)[-8:].replace("(", r"\(").replace(")", r"\)")):
        port.receive(0.2)


def test_an_error_behind_an_error_frame_is_bus_down() -> None:
    """The bus may fail while we wait past a frame that does not count."""
    port, _ = port_of(error_message(), OSError(errno.ENODEV, "gone"))
    with pytest.raises(BusDown):
        port.receive(0.2)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(can.CanOperationError("Transmit buffer full", errno.ENOBUFS), id="queue-full"),
        pytest.param(OSError(errno.ENOBUFS, "No buffer space available"), id="queue-full-os"),
        pytest.param(can.CanOperationError("Failed to transmit", errno.ENXIO), id="adapter-gone"),
        pytest.param(can.CanOperationError("Network is down", 100), id="link-down"),
        pytest.param(ValueError("file descriptor cannot be a negative integer (-1)"), id="closed"),
    ],
)
def test_a_failed_send_is_send_failed(error: Exception) -> None:
    """Whatever python-can raises on send means: not taken; it ends no thread."""
    port, bus = port_of()
    bus.send_error = error
    with pytest.raises(SendFailed):
        port.send(FRAME)
    assert bus.sent == []


def test_a_bug_in_a_driver_is_not_hidden() -> None:
    """An error of no known kind goes up unchanged."""
    port, bus = port_of(KeyError("bug"))
    with pytest.raises(KeyError):
        port.receive(0.2)
    bus.send_error = KeyError("bug")
    with pytest.raises(KeyError):
        port.send(FRAME)


def test_an_impossible_frame_is_a_mistake_of_ours() -> None:
    """A standard identifier above 7FF never reaches the driver."""
    port, bus = port_of()
    with pytest.raises(ValueError, match="arbitration"):
        port.send(FRAME._replace(can_id=0x800))
    assert bus.sent == []


@pytest.mark.parametrize(
    "error", [None, can.CanOperationError("gone"), OSError(errno.EBADF, "Bad file descriptor")]
)
def test_closing_an_adapter_that_is_gone(error: Exception | None) -> None:
    """Closing never fails, or a pulled adapter would end the receiving thread."""
    port, bus = port_of()
    bus.shutdown_error = error
    port.close()
    assert bus.closed


@pytest.fixture
def other(channel: str) -> Iterator[can.BusABC]:
    """Another node on the virtual bus of the test."""
    with can.Bus(interface="virtual", channel=channel) as bus:
        yield bus


def test_over_a_real_virtual_bus(channel: str, other: can.BusABC) -> None:
    """Frames go both ways, and our own come back: they are the proof of transmission."""
    port = open_port(BusSettings("virtual", channel, name="a"), Clock())
    try:
        other.send(data_message(0x1ABCDEF0, b"\x05", extended=True))
        received = port.receive(1.0)
        assert received is not None
        assert (received.can_id, received.extended, received.channel) == (0x1ABCDEF0, True, "a")
        port.send(FRAME)
        message = other.recv(1.0)
        assert message is not None
        assert (message.arbitration_id, bytes(message.data)) == (0x123, b"\x01\x02")
        echo = port.receive(1.0)
        assert echo is not None
        assert (echo.can_id, echo.data) == (0x123, b"\x01\x02")
    finally:
        port.close()
    with pytest.raises(SendFailed):
        port.send(FRAME)
    with pytest.raises(BusDown):
        port.receive(0.0)


def test_own_frames_only_if_wanted(channel: str) -> None:
    """A bus opened without them gives no own frames back."""
    port = open_port(BusSettings("virtual", channel), Clock(), own_frames=False)
    port.send(FRAME)
    assert port.receive(0.0) is None
    port.close()


def test_an_interface_that_needs_a_lock_gets_one(channel: str) -> None:
    """An interface not known as thread-safe is opened behind python-can's lock."""
    settings = BusSettings("virtual", channel)
    free = open_port(settings, Clock())
    assert not isinstance(free._bus, can.ThreadSafeBus)
    free.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bms_can.bus.THREAD_SAFE", frozenset())
        locked = open_port(settings, Clock())
    assert isinstance(locked._bus, can.ThreadSafeBus)
    locked.close()


def test_close_ends_a_waiting_receive(channel: str) -> None:
    """A thread that waits in receive is back within its time-out, with None or BusDown."""
    port = open_port(BusSettings("virtual", channel), Clock())
    ended: list[str] = []

    def wait() -> None:
        try:
            port.receive(0.1)
            port.receive(0.1)
        except BusDown:
            ended.append("down")

    thread = threading.Thread(target=wait)
    thread.start()
    port.close()
    thread.join(5)
    assert ended == ["down"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(BusSettings("no-such-driver", "x"), id="unknown-interface"),
        pytest.param(BusSettings("socketcan", "no-such-link"), id="no-such-link"),
        pytest.param(BusSettings("virtual", "x", options={"receive_own_messages": 1}), id="twice"),
        pytest.param(BusSettings("slcan", "/dev/none"), id="driver-or-port-missing"),
    ],
)
def test_what_cannot_be_opened_is_bus_down(settings: BusSettings) -> None:
    """Every way in which opening fails is one error, with the name of the bus in it."""
    with pytest.raises(BusDown, match=f"{settings.interface} {settings.channel}: "):
        open_port(settings, Clock())


def test_a_known_trouble_comes_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where we know what helps, the error says it."""
    settings = BusSettings("no-such-driver", "x")
    with pytest.raises(BusDown) as plain:
        open_port(settings, Clock())
    monkeypatch.setitem(HINTS, str(plain.value.__cause__), "do this")
    with pytest.raises(BusDown) as caught:
        open_port(settings, Clock())
    assert str(caught.value) == f"{plain.value}; do this"


def test_a_bus_between_processes_stays_on_this_machine() -> None:
    """Multicast leaves the machine only if a person asks for it."""
    settings = BusSettings("udp_multicast", "239.1.2.3")
    assert settings.arguments()["hop_limit"] == 0
    wider = BusSettings("udp_multicast", "239.1.2.3", options={"hop_limit": 1})
    assert wider.arguments()["hop_limit"] == 1


def test_arguments_for_python_can() -> None:
    """Only what was set is passed on; further options come last and win."""
    assert BusSettings("socketcan", "can0").arguments() == {
        "interface": "socketcan",
        "channel": "can0",
    }
    assert BusSettings("pcan", "USB1", 500_000).arguments()["bitrate"] == 500_000
    full = BusSettings("pcan", "USB1", 500_000, fd=True, options={"bitrate": 250_000, "x": 1})
    assert full.arguments() == {
        "interface": "pcan", "channel": "USB1", "bitrate": 250_000, "fd": True, "x": 1,
    }  # fmt: skip


def test_two_multicast_groups_are_two_buses() -> None:
    """A frame on one channel is not heard on another, also where both use python-can's port."""
    one, other = (
        open_port(BusSettings("udp_multicast", group), time.monotonic)
        for group in ("239.74.163.81", "239.74.163.82")
    )
    with closing(one), closing(other):
        one.send(FRAME)
        assert other.receive(0.2) is None
        heard = one.receive(1.0)
    assert heard is not None
    assert heard[1:4] == FRAME[1:4]
