"""The box in one thread: battery, bus, control loop, journal and queue, on a clock of the test's.

Everything is the product's own, wired as agent/wiring.py does it; there is no platform. Time passes
in steps of 50 ms.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import can

from agent.clock import FakeClock
from agent.control_loop import ControlLoop
from agent.device import Device
from agent.executor import Executor, Offer
from agent.facts import doubt_text, lockout_text
from agent.gate import Gate, sent_before
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.observer import Observer
from agent.outbox import Outbox
from agent.sqlite_file import STORAGE, Storage
from bms_can.bus import Port
from bms_can.commands import Command
from bms_can.control import ControlPort
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.pack import Pack
from bms_can.profile import CommandCode, Profile
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.hostile import HostileBus

UID = "BAT"
STEP_S = 0.05
STEADY_S = 0.2
TAPE_STEPS = 320  # 16 s: every rolling counter is where it began
_numbers = itertools.count(1)
PROFILE = Path(__file__).parents[1] / "dbc" / "ess_bau.toml"


@cache
def battery() -> tuple[Profile, Database]:
    """Return our default battery, which counts as steady after `STEADY_S`."""
    profile, database = load_profile(PROFILE)
    return replace(profile, interlocks=replace(profile.interlocks, steady_s=STEADY_S)), database


class Battery(Protocol):
    """What is on the other end of the bus."""

    def due_frames(self, now_s: float) -> list[Frame]:
        """Return the frames that are due [s]."""

    def hear(self, frame: Frame, now_s: float) -> object:
        """Take a frame from the bus."""


class Tape:
    """A healthy battery, open and without alarms, that hears nothing. Cheap: it was recorded."""

    def __init__(self) -> None:
        self._at = 0

    def due_frames(self, now_s: float) -> list[Frame]:
        """Return the frames of the next step, as of now [s]."""
        self._at += 1
        return [frame._replace(at_s=now_s) for frame in _recorded()[self._at % len(_recorded())]]

    def hear(self, frame: Frame, now_s: float) -> None:
        """Take no notice."""


@cache
def _recorded() -> list[list[Frame]]:
    """Return the frames of each step, recorded from the simulated battery."""
    simulator = Simulator(*battery())
    return [simulator.due_frames(step * STEP_S) for step in range(TAPE_STEPS)]


class _Wire(HostileBus):
    """The bus: tells of each frame before it takes it."""

    def __init__(self, tell: Callable[[can.Message], None]) -> None:
        super().__init__()
        self.tell = tell

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Take a message."""
        self.tell(msg)
        super().send(msg, timeout)


class Box:
    """One box with one battery.

    Args:
        folder: the state directory.
        clock: time.
        storage: the way to the disk.
        on_frame: called before each control frame goes out.
        simulator: the battery; without one a simulated one is made.

    Attributes:
        sent: control frames that went out.
    """

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        storage: Storage = STORAGE,
        on_frame: Callable[[], None] = lambda: None,
        simulator: Battery | None = None,
    ) -> None:
        profile, database = battery()
        self.clock = clock
        self._battery = simulator or Simulator(profile, database, now_s=clock.monotonic_s())
        self.journal = Journal(folder / "journal.db", Stamp.of(clock), storage=storage)
        self.journal.note("start", Stamp.of(clock), {"version": "test"})
        reserve = partial(self.journal.reserve, "report")
        self.outbox = Outbox(folder / "queue.db", reserve, clock.wall(), storage=storage)
        self._wire = _Wire(lambda _message: on_frame())
        port = Port(self._wire, clock.monotonic_s)
        control = ControlPort(Guard(profile.guard), lambda: port)
        intake = Intake(profile, database)
        self.device = Device(UID, profile, intake, control, False, True, clock.monotonic_s())  # noqa: FBT003 - fields in order
        sent = sent_before(self.journal, UID, clock)
        doubt = partial(doubt_text, self.journal, clock)
        self.gate = Gate(self.device, partial(lockout_text, self.journal), doubt, sent)
        self.executor = Executor(self.device, self.journal, clock, self.gate, lambda: None)
        self.observer = Observer(self.device, self.outbox, clock, dict, lambda: None)
        self._loop = ControlLoop(
            self.device, self.observer, self.executor, clock, lambda _: None, lambda _: None
        )
        self._seen = 0

    @property
    def pack(self) -> Pack:
        """Return the simulated battery."""
        assert isinstance(self._battery, Simulator)
        return self._battery.pack

    @property
    def sent(self) -> list[can.Message]:
        """Return the control frames that went out so far."""
        return self._wire.sent

    def close(self) -> None:
        """Close the files."""
        self.outbox.close()
        self.journal.close()
        self._wire.shutdown()

    def run(self, seconds: float) -> None:
        """Let time pass [s]."""
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def step(self) -> None:
        """Let one step of time pass."""
        self.clock.advance(STEP_S)
        now_s = self.clock.monotonic_s()
        for frame in self._battery.due_frames(now_s):
            self._loop.take(frame)
        self._loop.step()
        self._deliver(now_s)

    def run_until(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until something holds; fail after so many seconds."""
        for _ in range(round(seconds / STEP_S)):
            if what():
                return
            self.step()
        raise AssertionError(f"not within {seconds} s")

    def offer(self, code: CommandCode, identity: str = "", life_s: float = 10.0) -> Command:
        """Hand in a command as the poller does; return it."""
        identity = identity or f"c{next(_numbers)}"
        end_s, boot_id = self.clock.monotonic_s() + life_s, self.clock.boot_id()
        command = Command(identity, code, UID, "op", 1, end_s, boot_id)
        self.executor.offer(Offer(command))
        return command

    def state_of(self, command: Command) -> str:
        """Return the journalled state of a command, "" if it is unknown."""
        entry = self.journal.entry(command.id)
        return "" if entry is None else entry.state.value

    def _deliver(self, now_s: float) -> None:
        """Bring sent frames to the battery, and back as the bus does."""
        for message in self.sent[self._seen :]:
            data = bytes(message.data)
            frame = Frame(now_s, message.arbitration_id, message.is_extended_id, data)
            self._battery.hear(frame, now_s)
            self._loop.take(frame)
        self._seen = len(self.sent)


@contextmanager
def box(
    folder: Path,
    clock: FakeClock,
    storage: Storage = STORAGE,
    on_frame: Callable[[], None] = lambda: None,
    simulator: Battery | None = None,
) -> Iterator[Box]:
    """Build a box and close it."""
    made = Box(folder, clock, storage, on_frame, simulator)
    try:
        yield made
    finally:
        made.close()
