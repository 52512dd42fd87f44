"""The hostile bus itself, and rows T24, T27 to T29: what it does reaches the real receive path."""

import logging
from collections.abc import Iterable
from functools import cache
from random import Random

import can
import pytest

from agent.clock import FakeClock
from bms_can.bus import Port
from bms_can.database import Database
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator
from bms_can.status import derive_status
from bms_can.telemetry import read_telemetry
from tests.hostile import (
    QUEUE,
    SOCKET_FRAMES,
    HostileBus,
    Link,
    data_message,
    error_message,
    remote_message,
    resized,
    twin,
)
from tests.simulation.witness import ELECTRICAL, LIMIT_S, STATE, crc8

PERIOD_S = 0.1


@cache
def ess_bau() -> tuple[Profile, Database]:
    """Return our default battery, read once."""
    return load_profile(profile_path("ess_bau"))


def sending(frame: Frame) -> can.Message:
    """Return a frame as it arrives."""
    return data_message(frame.can_id, frame.data, extended=frame.extended)


class Bench:
    """A battery, a hostile link and the real way of a frame to the table, in fake time."""

    def __init__(self) -> None:
        profile, database = ess_bau()
        self.clock = FakeClock(monotonic_s=0.0)
        self.link = Link(self.clock.monotonic_s, lambda _ready, s: self.clock.advance(s))
        self.bus = HostileBus(link=self.link)
        self.port = Port(self.bus, self.clock.monotonic_s)
        self.intake = Intake(profile, database)
        self.profile = profile
        self.battery = Simulator(profile, database)

    def hear(self, messages: Iterable[can.Message]) -> int:
        """Let frames arrive and be read; return how many were taken in."""
        taken = self.intake.decoded
        for message in messages:
            self.link.deliver(message)
            frame = self.port.receive(0.0)
            if frame is not None:
                self.intake.take(frame)
        return self.intake.decoded - taken

    def due(self) -> list[can.Message]:
        """Return the battery's next frames, a tenth of a second later."""
        self.clock.advance(PERIOD_S)
        return [sending(frame) for frame in self.battery.due_frames(self.clock.monotonic_s())]

    def run(self, seconds: float) -> None:
        """Let the battery be heard."""
        for _ in range(round(seconds / PERIOD_S)):
            self.hear(self.due())

    @property
    def disconnected(self) -> bool:
        """Whether the battery counts as silent."""
        signals, now_s = self.intake.table.snapshot(), self.clock.monotonic_s()
        return derive_status(signals, self.profile, now_s).disconnected


@pytest.fixture
def bench() -> Bench:
    """Give a bench on which the battery was heard for a second."""
    found = Bench()
    found.run(1.0)
    assert not found.disconnected
    return found


# --- the bus itself


def test_frames_without_acknowledge_outlive_the_socket() -> None:
    """They wait in the interface, not in the socket, and go out when somebody is there (trap 4)."""
    link = Link()
    link.acknowledged = False
    bus = link.open()
    bus.send(data_message(0x123))
    bus.shutdown()
    assert link.on_wire == []
    link.acknowledged = True
    link.flush()
    assert [message.arbitration_id for _, message in link.on_wire] == [0x123]


def test_a_full_queue_refuses() -> None:
    """The eleventh frame gets ENOBUFS (trap 5), and the driver's error is ours."""
    link = Link()
    link.acknowledged = False
    port = Port(link.open(), lambda: 0.0)
    for _ in range(QUEUE):
        port.send(Frame(0.0, 0x1, extended=False, data=b""))
    with pytest.raises(SendFailed, match="No buffer space"):
        port.send(Frame(0.0, 0x1, extended=False, data=b""))


def test_bus_off_swallows() -> None:
    """In bus-off `send` succeeds and the frame is gone, also afterwards (trap 4)."""
    link = Link()
    bus = link.open()
    link.dropping = True
    bus.send(data_message())
    link.dropping = False
    link.flush()
    assert (len(link.handed), link.on_wire, bus.recv(0)) == (1, [], None)


@pytest.mark.parametrize("delay_s", [0.0, 0.2])
def test_echo_comes_back_in_its_time(delay_s: float) -> None:
    """Own frames come back after the delay, or not at all."""
    clock = FakeClock(monotonic_s=0.0)
    link = Link(clock.monotonic_s, lambda _ready, seconds: clock.advance(seconds))
    link.echo_delay_s = delay_s
    bus = link.open()
    bus.send(data_message())
    assert bus.recv(1.0) is not None
    assert clock.monotonic_s() == pytest.approx(delay_s)
    link.echo = False
    bus.send(data_message())
    assert bus.recv(1.0) is None


def test_unplugged_is_one_error_and_silence() -> None:
    """ENODEV once, then None for ever; send fails, opening too (trap 3)."""
    link = Link()
    bus = link.open()
    port = Port(bus, lambda: 0.0)
    link.unplug()
    with pytest.raises(BusDown, match="No such device"):
        port.receive(0.0)
    assert port.receive(0.0) is None
    with pytest.raises(SendFailed):
        port.send(Frame(0.0, 0x1, extended=False, data=b""))
    with pytest.raises(OSError, match="No such device"):
        link.open()


def test_a_socket_that_nobody_reads_overruns() -> None:
    """What is more than the buffer holds is lost without a word (trap 8)."""
    link = Link()
    bus = link.open()
    link.deliver(*[data_message()] * (SOCKET_FRAMES + 5))
    assert (len(bus.script), bus.overrun) == (SOCKET_FRAMES, 5)


# --- T24: error frames, bus-off


def test_t24_a_storm_of_error_frames(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """100,000 error frames in a second: counted, nothing logged, a frame between them is heard."""
    caplog.set_level(logging.DEBUG)
    count = 100_000
    for _ in range(count // 100):
        bench.link.deliver(*[error_message()] * 100)
        bench.clock.advance(0.001)
        while bench.bus.script:
            assert bench.port.receive(0.0) is None
    assert bench.port.dropped["error"] == count
    assert caplog.records == []
    assert bench.disconnected
    bench.run(0.5)
    assert not bench.disconnected


# --- T27: counters and checksums


@pytest.mark.parametrize("percent", [1, 10, 50, 100])
def test_t27_a_wrong_checksum_changes_nothing(bench: Bench, percent: int) -> None:
    """A frame with a wrong checksum is refused at once, its neighbours are not."""
    random, wrong = Random(percent), 0  # noqa: S311 - a test, no secret
    sealed = set(LIMIT_S)
    before = bench.intake.bad["checksum"]
    for _ in range(300):
        messages = bench.due()
        for place, message in enumerate(messages):
            if message.arbitration_id in sealed and random.random() < percent / 100:
                data = bytes(message.data)
                messages[place] = data_message(
                    message.arbitration_id, data[:7] + bytes([data[7] ^ 0x5A]), extended=True
                )
                wrong += 1
        bench.hear(messages)
    assert bench.intake.bad["checksum"] - before == wrong > 0
    assert bench.disconnected == (percent == 100)


def test_t27_five_wrong_counters_and_five_right_ones(bench: Bench) -> None:
    """A counter that jumps is believed four times, refused from the fifth, trusted after five."""

    def state(counter: int) -> can.Message:
        data = bytes([2, 0, 1, 0, 0, 0, counter % 16])
        return data_message(STATE, data + bytes([crc8(data)]), extended=True)

    counter = 0
    bench.hear([state(counter := counter + 1) for _ in range(20)])  # sure of it now
    jumps = [bench.hear([state(counter := counter + 3)]) for _ in range(7)]
    assert jumps == [1, 1, 1, 1, 0, 0, 0]
    steps = [bench.hear([state(counter := counter + 1)]) for _ in range(7)]
    assert steps == [0, 0, 0, 0, 1, 1, 1]


# --- T28, T29: wrong lengths, kinds and values


@pytest.mark.parametrize("size", [*range(8), 12, 16, 48, 64])
def test_t28_a_frame_of_another_length(bench: Bench, size: int) -> None:
    """0 to 64 bytes instead of 8: counted as a wrong length, nothing decoded."""
    before = bench.intake.table.snapshot()
    messages = [resized(message, size) for message in bench.due()]
    assert bench.hear(messages) == 0
    assert bench.intake.bad["length"] == len(messages)
    assert bench.intake.table.snapshot() == before


def test_t28_remote_frames_and_twins(bench: Bench) -> None:
    """A remote frame, and the same number as the other kind of identifier, are something else."""
    before = bench.intake.table.snapshot()
    messages = bench.due()
    remote = [remote_message(each.arbitration_id, extended=True) for each in messages]
    assert bench.hear([*remote, *(twin(each) for each in messages)]) == 0
    assert bench.port.dropped["remote"] == len(remote)
    assert bench.intake.unknown.total() == len(messages)
    assert bench.intake.table.snapshot() == before


@pytest.mark.parametrize(
    ("can_id", "payload", "signal"),
    [
        (STATE, "000001000000", "BAU_State.contactor_status"),  # 0 is no choice
        (ELECTRICAL, "ffff00000000", "BAU_Electrical.total_voltage"),  # "not available"
        (ELECTRICAL, "0000ff7f0000", "BAU_Electrical.total_current"),
        (ELECTRICAL, "ffff01800000", "BAU_Electrical.total_voltage"),
    ],
)
def test_t29_a_value_that_cannot_be(bench: Bench, can_id: int, payload: str, signal: str) -> None:
    """Out of range or "not available": heard, unknown, and in no telemetry."""
    for counter in range(16):
        data = bytes.fromhex(payload) + bytes([counter])
        bench.hear([data_message(can_id, data + bytes([crc8(data)]), extended=True)])
    signals, now_s = bench.intake.table.snapshot(), bench.clock.monotonic_s()
    sample = signals.samples.get(signal)
    assert sample is not None
    assert sample.value is None
    field = signal.split(".")[1]
    assert read_telemetry(signals, bench.profile, now_s).get(field) is None


def test_t29_a_page_that_does_not_exist(bench: Bench) -> None:
    """A multiplexer value without a page in the DBC: counted, nothing decoded."""
    cells = next(m for m in bench.battery._senders if m.message.name == "BAU_CellVoltages")
    message = data_message(cells.message.frame_id, b"\xff" * 8, extended=True)
    assert bench.hear([message]) == 0
    assert bench.intake.bad["mux"] == 1
