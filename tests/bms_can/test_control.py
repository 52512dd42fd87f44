"""The one way of a control frame to the bus, on a real virtual bus and on a hostile one."""

import errno
from collections.abc import Iterator

import can
import pytest

from bms_can.bus import BusSettings, Port, open_port
from bms_can.control import ControlPort
from bms_can.errors import FrameRefused, SendFailed
from bms_can.frame import Frame
from bms_can.guard import Guard, Heard
from tests.bms_can.build import guard_entry
from tests.hostile import HostileBus

CLOSE = Frame(0.0, 0x200, extended=False, data=b"\x01\x00")
OPEN = Frame(0.0, 0x200, extended=False, data=b"\x02\x00")


def gate() -> Guard:
    """Return a guard with a close, and an open that passes the latch."""
    return Guard((guard_entry(per_minute=3), guard_entry("open", "0200", when_latched=True)))


@pytest.fixture
def bus() -> HostileBus:
    """Return a bus under the test's control."""
    return HostileBus()


@pytest.fixture
def control(bus: HostileBus) -> ControlPort:
    """Return a control port on it."""
    port = Port(bus, lambda: 0.0)
    return ControlPort(gate(), lambda: port)


def sent(bus: HostileBus) -> list[bytes]:
    """Return what the bus took."""
    return [bytes(message.data) for message in bus.sent]


def test_a_listed_frame_goes_out(control: ControlPort, bus: HostileBus) -> None:
    """What is on the list is sent, and its echo is awaited."""
    assert control.echoed(CLOSE)
    control.send(CLOSE, 0.0)
    assert sent(bus) == [CLOSE.data]
    assert not control.echoed(CLOSE)
    assert control.hear(CLOSE) is Heard.ECHO
    assert control.echoed(CLOSE)
    assert control.foreign == ""


def test_an_unlisted_frame_stays_here(control: ControlPort, bus: HostileBus) -> None:
    """What is not on the list never reaches the driver."""
    with pytest.raises(FrameRefused, match="unlisted"):
        control.send(CLOSE._replace(data=b"\x03\x00"), 0.0)
    assert sent(bus) == []


def test_read_only_refuses_everything(bus: HostileBus) -> None:
    """A listening device sends nothing, not even an open, whatever the list says."""
    port = Port(bus, lambda: 0.0)
    control = ControlPort(gate(), lambda: port, read_only=True)
    for frame in (CLOSE, OPEN):
        with pytest.raises(FrameRefused, match="read-only"):
            control.send(frame, 0.0)
    assert sent(bus) == []


def test_no_open_bus_is_a_failed_send() -> None:
    """While the bus is down nothing is sent, counted or awaited."""
    control = ControlPort(Guard((guard_entry(per_minute=1),)), lambda: None)
    for _ in range(3):
        with pytest.raises(SendFailed, match="down"):
            control.send(CLOSE, 0.0)
    assert control.echoed(CLOSE)


def test_a_frame_not_taken_is_not_awaited(control: ControlPort, bus: HostileBus) -> None:
    """After a full queue the same bytes from the bus come from another master."""
    bus.send_error = can.CanOperationError("Transmit buffer full", errno.ENOBUFS)
    with pytest.raises(SendFailed):
        control.send(CLOSE, 0.0)
    assert control.echoed(CLOSE)
    assert control.hear(CLOSE) is Heard.FOREIGN
    assert control.foreign == "200#0100"


def test_without_a_bus_no_queue_was_seen_empty() -> None:
    """`drained_s` is the open port's, and nothing while there is none."""
    port = Port(HostileBus(), lambda: 5.0)
    ports: list[Port | None] = [port, None]
    control = ControlPort(gate(), lambda: ports[0])
    assert control.drained_s == float("-inf")
    port.receive(0.0)
    assert control.drained_s == 5.0
    ports.reverse()
    assert control.drained_s == float("-inf")


def test_a_lost_frame_stops_all_but_an_open(control: ControlPort, bus: HostileBus) -> None:
    """With a frame of ours lost on the way, a close is refused and an open goes out."""
    control.unsafe = "no echo within 50 ms"
    with pytest.raises(FrameRefused, match="no echo within 50 ms") as caught:
        control.send(CLOSE, 0.0)
    assert caught.value.rule == "tx-unsafe"
    control.send(OPEN, 0.0)
    assert sent(bus) == [OPEN.data]


def test_a_close_refused_as_unsafe_hides_no_other_master(control: ControlPort) -> None:
    """The refused frame was never sent, so its bytes on the bus are foreign."""
    control.unsafe = "no echo within 50 ms"
    with pytest.raises(FrameRefused):
        control.send(CLOSE, 0.0)
    assert control.hear(CLOSE) is Heard.FOREIGN


def test_another_master_stops_all_but_an_open(control: ControlPort, bus: HostileBus) -> None:
    """After a foreign control frame only an open goes out, until a person clears it."""
    control.hear(CLOSE)
    with pytest.raises(FrameRefused, match="foreign-master"):
        control.send(CLOSE, 0.0)
    control.send(OPEN, 0.0)
    control.unsafe = "lost"
    control.clear()
    assert (control.foreign, control.unsafe) == ("", "")
    control.send(CLOSE, 0.0)
    assert sent(bus) == [OPEN.data, CLOSE.data]


@pytest.mark.parametrize(
    ("unsafe", "foreign", "rule"),
    [("lost", "", "tx-unsafe"), ("", "200#0100", "foreign-master"), ("", "", "")],
)
def test_latches_of_an_earlier_process(
    control: ControlPort, bus: HostileBus, unsafe: str, foreign: str, rule: str
) -> None:
    """What stopped us before a restart stops us after it, until a person clears it."""
    control.restore(unsafe, foreign)
    assert (control.unsafe, control.foreign) == (unsafe, foreign)
    control.send(OPEN, 0.0)
    if rule:
        with pytest.raises(FrameRefused, match=rule):
            control.send(CLOSE, 0.0)
        control.clear()
    control.send(CLOSE, 0.0)
    assert sent(bus) == [OPEN.data, CLOSE.data]


def test_restoring_loses_no_latch(control: ControlPort) -> None:
    """A foreign frame heard before the old latches were read stays heard."""
    control.hear(CLOSE)
    control.unsafe = "lost"
    control.restore("", "")
    assert (control.unsafe, control.foreign) == ("lost", "200#0100")


def test_after_clearing_a_lost_frame_the_next_one_has_its_echo(control: ControlPort) -> None:
    """A battery without counter sends the same bytes again: the lost echo is not awaited twice."""
    control.send(CLOSE, 0.0)
    control.unsafe = "no echo"
    control.clear()
    control.send(CLOSE, 1.0)
    assert control.hear(CLOSE) is Heard.ECHO
    assert control.echoed(CLOSE)


@pytest.fixture
def port(channel: str) -> Iterator[Port]:
    """Return a port on a real virtual bus."""
    port = open_port(BusSettings("virtual", channel), lambda: 0.0)
    yield port
    port.close()


def test_over_a_real_virtual_bus(port: Port, channel: str) -> None:
    """Our frame comes back as an echo; the same frame from another node is foreign."""
    control = ControlPort(gate(), lambda: port)
    control.send(CLOSE, 0.0)
    echo = port.receive(1.0)
    assert echo is not None
    assert control.hear(echo) is Heard.ECHO
    with can.Bus(interface="virtual", channel=channel) as other:
        other.send(can.Message(arbitration_id=0x200, is_extended_id=False, data=b"\x01\x00"))
        foreign = port.receive(1.0)
    assert foreign is not None
    assert control.hear(foreign) is Heard.FOREIGN


def test_an_echo_from_before_the_bus_was_opened_anew(bus: HostileBus) -> None:
    """A new socket does not know the old one's frames as its own; they are no other master's."""
    ports = [Port(bus, lambda: 0.0)]
    control = ControlPort(gate(), lambda: ports[-1])
    control.send(CLOSE, 0.0)
    assert control.hear(CLOSE._replace(own=False)) is Heard.FOREIGN
    control.clear()
    control.send(CLOSE, 0.0)
    ports.append(Port(bus, lambda: 0.0))
    assert control.hear(CLOSE._replace(own=False)) is Heard.ECHO
    assert control.foreign == ""
