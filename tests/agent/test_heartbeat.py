"""The heartbeat of a device: only while all is well, one frame on its way, never for ever."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import can
import pytest

from agent.clock import FakeClock, SystemClock
from agent.config import load
from agent.device import Device
from agent.errors import BadConfig, JournalFailed
from agent.gate import Gate
from agent.heartbeat import LOST, HeartbeatSender, allowed
from agent.wiring import build
from bms_can.bus import Port
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard, Heard
from bms_can.heartbeat import LEASE_S
from bms_can.intake import Intake
from bms_can.profile import CommandCode, Profile
from tests.agent.rig import Wire
from tests.bms_can import tiny

BEAT_ID = 0x201
HEARTBEAT = {"message": "Wide", "values": {"wish": 0, "counter": 0}, "period_ms": 100}
ENTRY = {"name": "heartbeat", "frame": "201#0000000000000000", "per_minute": 700}
CHANGES = (("heartbeat", HEARTBEAT), ("guard[3]", ENTRY))


class Bench:
    """A device with a heartbeat on a bus in this process, on a clock that moves when told."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        profile, database = tiny.read(folder, *CHANGES)
        self.clock = FakeClock()
        self.wire = Wire(self.clock)
        self.lockout, self.doubt = "", ""
        self.port_is_open = True
        port = cast("Port", self.wire)
        self.control = ControlPort(
            Guard(allowed(profile, heartbeat=True)),
            lambda: port if self.port_is_open else None,
            read_only=read_only,
        )
        self.device = Device(
            uid="BAT",
            profile=profile,
            intake=Intake(profile, database),
            control=self.control,
            read_only=read_only,
            echo=True,
            listening_since_s=0.0,
            bus_doubt=lambda: self.doubt,
        )
        assert profile.heartbeat is not None
        self.beat = HeartbeatSender(self.device, profile.heartbeat, self.clock, self.look)

    @property
    def now_s(self) -> float:
        """The time of the bench [s]."""
        return self.clock.monotonic_s()

    def look(self) -> str:
        """Return the lock-out, or fail."""
        if self.lockout == "disk":
            raise JournalFailed("disk full")
        return self.lockout

    def run(self, seconds: float, *, loop: bool = True) -> int:
        """Let time pass; `loop`: the control loop runs. Return how many frames were taken."""
        before = len(self.wire.taken)
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)
            if loop:
                self.beat.renew()
            self.beat.step()
            for frame in self.wire.carry(self.clock.monotonic_s()):
                if self.wire.echo:
                    self.control.hear(frame)
        return len(self.wire.taken) - before


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give a bench."""
    return Bench(tmp_path)


def test_one_frame_a_period(bench: Bench) -> None:
    """Ten a second, all of the same bytes, and all known as ours when they come back."""
    assert 98 <= bench.run(10.0) <= 101
    assert {(frame.can_id, frame.data) for frame in bench.wire.taken} == {(BEAT_ID, b"\0" * 8)}
    assert bench.control.foreign == ""
    assert bench.beat.facts()["why_not"] == ""


def test_a_control_loop_that_hangs_ends_it(bench: Bench) -> None:
    """Without its renewal no frame goes out after a second."""
    bench.run(1.0)
    hung_s = bench.clock.monotonic_s()
    bench.run(5.0, loop=False)
    assert bench.wire.taken[-1].at_s - hung_s <= LEASE_S
    assert bench.run(1.0) >= 9


def set_lockout(bench: Bench) -> None:
    """Somebody works on the battery."""
    bench.lockout = "cell change"


def fail_disk(bench: Bench) -> None:
    """Nobody knows whether there is a lock-out."""
    bench.lockout = "disk"


def latch_lost_frame(bench: Bench) -> None:
    """A control frame did not come back."""
    bench.control.unsafe = "no echo"


def hear_stranger(bench: Bench) -> None:
    """Another master sends our control frame."""
    assert bench.control.hear(Frame(0.0, 0x200, extended=False, data=b"\1" * 8)) is Heard.FOREIGN


def doubt_bus(bench: Bench) -> None:
    """The controller is passive."""
    bench.doubt = "error-passive"


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (set_lockout, "local lock-out: cell change"),
        (fail_disk, "the journal cannot be read: disk full"),
        (latch_lost_frame, "latched: no echo"),
        (hear_stranger, "latched: 200#"),
        (doubt_bus, "error-passive"),
    ],
)
def test_each_reason_ends_it(bench: Bench, harm: Callable[[Bench], None], why: str) -> None:
    """Within the time between two renewals, and it says why."""
    bench.run(1.0)
    harm(bench)
    bench.run(0.3)
    assert bench.run(5.0) == 0
    assert str(bench.beat.facts()["why_not"]).startswith(why)


def test_it_goes_on_when_the_reason_is_over(bench: Bench) -> None:
    """A lock-out that was cleared."""
    bench.lockout = "cell change"
    assert bench.run(2.0) == 0
    bench.lockout = ""
    assert bench.run(1.0) >= 7


def test_read_only_sends_nothing(tmp_path: Path) -> None:
    """Whatever else says yes."""
    assert Bench(tmp_path, read_only=True).run(3.0) == 0


def test_at_most_one_frame_waits(bench: Bench) -> None:
    """Nobody acknowledges: one frame waits, then tries 1, 2, 4 s apart; it latches nothing."""
    bench.wire.held = True
    assert bench.run(0.9) == 1
    assert bench.run(7.0) == 3
    assert bench.beat.facts()["why_not"] == LOST
    assert bench.control.unsafe == ""
    bench.wire.held = False
    bench.run(0.2)
    assert bench.run(1.0) >= 9
    assert bench.control.foreign == ""


def test_a_frame_that_never_comes_back_does_not_end_it_for_good(bench: Bench) -> None:
    """The interface was reopened in between: the lost frame stays lost, the next ones count."""
    bench.run(1.0)
    bench.wire.echo = False
    bench.run(0.5)
    bench.wire.echo = True
    bench.run(2.0)
    assert bench.run(1.0) >= 9


def test_a_bus_that_is_down(bench: Bench) -> None:
    """Refused by the port: said, tried again with the next period, nothing piles up."""
    bench.port_is_open = False
    bench.run(1.0)
    assert bench.wire.taken == []
    assert bench.beat.facts()["why_not"] == "the bus is down"
    bench.port_is_open = True
    assert bench.run(1.0) >= 9


def test_without_it_the_frame_is_anybody_s(tmp_path: Path) -> None:
    """Beside an inverter that sends this frame, a box that only watches sees no other master."""
    profile: Profile = tiny.read(tmp_path, *CHANGES)[0]
    guard = Guard(allowed(profile, heartbeat=False))
    assert guard.hear(Frame(0.0, BEAT_ID, extended=False, data=b"\0" * 8)) is Heard.OTHER
    guard = Guard(allowed(profile, heartbeat=True))
    assert guard.hear(Frame(0.0, BEAT_ID, extended=False, data=b"\0" * 8)) is Heard.FOREIGN


CONFIG = """\
[platform]
url = "http://127.0.0.1:9/wad/ems/v1/api"
key_file = "key"
[agent]
state_dir = "state"
[[device]]
uid = "BAT"
profile = "tiny.toml"
{words}
[device.can]
interface = "virtual"
channel = "heartbeat-1"
"""


def configured(folder: Path, words: str) -> Path:
    """Write agent.toml for the tiny battery."""
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_text("secret-secret", encoding="ascii")
    (folder / "agent.toml").write_text(CONFIG.format(words=words), encoding="utf-8")
    return folder / "agent.toml"


def test_a_person_must_switch_it_on(tmp_path: Path) -> None:
    """By default there is none; read_only and heartbeat contradict each other."""
    tiny.write(tmp_path, tiny.changed(*CHANGES))
    for words, there in (
        ("read_only = false", False),
        ("read_only = false\nheartbeat = true", True),
    ):
        system = build(load(configured(tmp_path, words), {}), FakeClock())
        assert (system.links[0].heartbeat is not None) is there
        names = [worker.name for worker in system.supervisor.workers]
        assert ("heartbeat BAT" in names) is there
        system.journal.close()
        system.outbox.close()
    with pytest.raises(BadConfig, match="needs read_only = false"):
        load(configured(tmp_path, "heartbeat = true"), {})


def test_a_battery_that_wants_none(tmp_path: Path) -> None:
    """Switched on for a profile without one: refused at the start."""
    tiny.write(tmp_path, tiny.PROFILE)
    words = "read_only = false\nheartbeat = true"
    with pytest.raises(BadConfig, match="profile tiny has none"):
        build(load(configured(tmp_path, words), {}), FakeClock())


@pytest.mark.slow
def test_the_whole_agent_sends_it_and_a_hung_loop_ends_it(tmp_path: Path) -> None:
    """On a virtual bus and the real clock: frames come; a control loop that blocks ends them."""
    tiny.write(tmp_path, tiny.changed(*CHANGES))
    words = "read_only = false\nheartbeat = true"
    system = build(load(configured(tmp_path, words), {}), SystemClock())
    hang, hung_s = threading.Event(), 0.0
    loop = system.links[0].loop
    each_pass = loop.each_pass

    def pass_or_hang() -> None:
        each_pass()
        if hang.is_set():
            ended.wait(10)

    ended = threading.Event()
    loop.each_pass = pass_or_hang
    thread = threading.Thread(target=system.run)
    with can.Bus("heartbeat-1", "virtual") as listener:
        thread.start()
        try:
            heard = [listener.recv(5) for _ in range(10)]
            assert all(each is not None and each.arbitration_id == BEAT_ID for each in heard)
            hang.set()
            hung_s = last_s = time.monotonic()
            while listener.recv(0.4) is not None:
                last_s = time.monotonic()
            assert last_s - hung_s < LEASE_S + 0.5
        finally:
            ended.set()
            system.supervisor.stop()
            thread.join(10)


def test_hours_without_an_answer_fill_no_queue(bench: Bench) -> None:
    """However many were lost: one a minute is tried, and each is still awaited."""
    bench.wire.held = True
    beat = Frame(0.0, BEAT_ID, extended=False, data=b"\0" * 8)
    for _ in range(100):
        bench.control.send(beat, bench.clock.monotonic_s())
    bench.run(200.0)
    assert bench.run(120.0) <= 2


def test_no_close_goes_out_behind_a_lost_heartbeat(bench: Bench) -> None:
    """The way to the bus is known not to work: a close would come out late. It ends by itself."""
    gate = Gate(bench.device, str)
    bench.run(1.0)
    bench.wire.held = True
    bench.run(0.3)
    assert bench.control.stuck == ""  # can-rx may lag behind: its queue was not seen empty
    bench.run(0.5)
    (bus,) = (
        check
        for check in gate.checks(CommandCode.CLOSE_CONTACTOR, gate.situation(bench.now_s))
        if check.rule == "bus"
    )
    assert (bus.passed, bus.value) == (False, f"heartbeat: {LOST}")
    assert gate.stops(CommandCode.CLOSE_CONTACTOR)
    assert not gate.stops(CommandCode.OPEN_CONTACTOR)
    bench.wire.held = False
    bench.run(3.0)
    assert bench.control.stuck == ""
    assert not gate.stops(CommandCode.CLOSE_CONTACTOR)


def test_a_heartbeat_is_lost_at_once_when_the_queue_was_seen_empty(bench: Bench) -> None:
    """What can-rx knows for sure needs no half second."""
    bench.run(1.0)
    bench.wire.held = True
    bench.run(0.15)
    bench.wire.drained_s = bench.now_s
    bench.run(0.05)
    assert bench.control.stuck
    bench.control.clear()
    assert not bench.control.stuck
