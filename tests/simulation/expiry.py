"""Expiry, case by case: does any control frame leave the box after the end of its command's life?

Each case is one command on the real way: an answer of the platform as bytes, the real client's
reading and second question, poller, executor, gate, journal on a file. Nothing but expiry keeps a
frame back: the battery always looks as the command wants it. Time is fake; the truth is kept here.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from agent.answer import Answer
from agent.cloud import Cloud
from agent.device import Device
from agent.errors import CloudError, CloudUnreachable
from agent.executor import Executor
from agent.gate import Gate
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.keys import Secret
from agent.poll import Poller
from bms_can.bus import Port
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile import InterlockRules, Profile
from bms_can.shipped import profile_path
from bms_can.signals import Heard, Sample, Signals
from bms_can.table import SignalTable
from tests.hostile import HostileBus, Link
from tests.simulation.box import loaded
from tests.simulation.clocks import BoxClock
from tests.simulation.disk import Disk

UID = "A"
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
YEARS_S = 40 * 365.25 * DAY_S
CASES_A_JOURNAL = 400
LONGEST_STALL_S = 130.0
AFTER_S = 200.0  # longer than any life, window and rate window: the next case is alone
PASSES = 8
LIVES_MS = {1: (30_000, 60_000), 2: (10_000, 30_000), 3: (60_000, 600_000)}  # default, cap

# How the battery looks to the box: raw values that pass every interlock of a command.
_REST = {
    "BAU_State.contactor_status": 2,
    "BAU_State.system_control_high_voltage": 0,
    "BAU_State.control_mode": 1,
    "BAU_State.emergency_stop": 0,
    "BAU_Electrical.total_current": 0,
    "BAU_Faults.reset_required": 0,
}
LOOKS = {
    1: _REST | {"BAU_Faults.reset_required": 1, "BAU_Faults.machine_fault": 1},
    2: _REST,
    3: _REST | {"BAU_State.contactor_status": 1},
}


class AlwaysFresh(SignalTable):
    """A battery that was heard this very moment, whenever somebody looks."""

    def __init__(self, deadlines_s: Mapping[str, float], now_s: Callable[[], float]) -> None:
        super().__init__(deadlines_s)
        self._now_s = now_s
        self._zeros: dict[str, int] = {}
        self.looks: Mapping[str, int] = _REST
        self._shown: tuple[float, Mapping[str, int], Signals] | None = None

    def knows(self, signals: Iterable[str]) -> None:
        """Name the signals of the battery; all are 0 unless `looks` says otherwise."""
        self._zeros = dict.fromkeys(signals, 0)

    def snapshot(self) -> Signals:
        """See SignalTable."""
        now_s = self._now_s()
        if self._shown is None or self._shown[:2] != (now_s, self.looks):
            raws = self._zeros | dict(self.looks)
            samples = {name: Sample(raw, raw, now_s) for name, raw in raws.items()}
            heard = dict.fromkeys(self._deadlines_s, Heard(now_s, now_s - 60.0, 100))
            self._shown = now_s, self.looks, Signals(samples, heard)
        return self._shown[2]


class Case(NamedTuple):
    """One command and what happens to it. Times in seconds.

    Attributes:
        held_s: the platform had the question for so long before the command was given.
        answer_s: from the command being given to the answer leaving; `transit_s`: its way.
        second: how the second question of a held poll goes: its way, None: it is lost.
        offer_s: until the control thread looks.
        stalls_s: what each write to the journal takes.
        pauses_s: between two looks of the control thread.
        reboot_at: the machine starts anew before this write to the journal, -1: never.
        walls_s: steps of the wall clock, one before each write.
    """

    code: int
    life_ms: int
    held_s: float
    answer_s: float
    transit_s: float
    second: float | None
    offer_s: float
    stalls_s: tuple[float, ...]
    pauses_s: tuple[float, ...]
    reboot_at: int
    walls_s: tuple[float, ...]


def draw(random: Random) -> Case:
    """Return a case; most have one long delay, at a place where it may matter."""
    code = random.choice((1, 2, 2, 2, 3))
    life_ms = random.choice((*LIVES_MS[code], random.randint(200, LIVES_MS[code][1])))
    quick = [0.001 * random.random() for _ in range(4 + PASSES)]
    quick += [0.12 * random.random() for _ in range(PASSES)]
    for _ in range(random.choice((0, 1, 1, 2))):
        place = random.randrange(len(quick))
        near_s = life_ms / 1000 * random.choice((random.uniform(0.5, 1.5), random.gauss(1, 0.003)))
        far_s = 10 ** random.uniform(-3, 5.8)
        quick[place] = near_s if random.random() < 0.5 else min(far_s, WEEK_S)
    answer_s, transit_s, offer_s, second_s, *rest = quick
    held = random.random() < 0.5
    return Case(
        code=code,
        life_ms=life_ms,
        held_s=random.uniform(0, 25) if held else 0.0,
        answer_s=answer_s,
        transit_s=transit_s,
        second=None if random.random() < 0.2 else second_s,
        offer_s=offer_s,
        stalls_s=tuple(min(each, LONGEST_STALL_S) for each in rest[:PASSES]),
        pauses_s=tuple(rest[PASSES:]),
        reboot_at=random.randrange(PASSES) if random.random() < 0.15 else -1,
        walls_s=tuple(random.uniform(-YEARS_S, YEARS_S) for _ in range(3)),
    )


@dataclass(slots=True)
class Outcome:
    """What all cases did. `late`: frames after the end of a life, with the case."""

    cases: int = 0
    frames: int = 0
    in_time: int = 0
    closest_s: float = float("inf")
    ends: Counter[str] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Count another one in."""
        self.cases += other.cases
        self.frames += other.frames
        self.in_time += other.in_time
        self.closest_s = min(self.closest_s, other.closest_s)
        self.ends.update(other.ends)
        self.late += other.late


class _Rebooted(BaseException):
    """The machine starts anew here."""


class _CaseCloud(Cloud):
    """The real client; its answers come from a case."""

    def __init__(self, chamber: "Chamber") -> None:
        super().__init__("http://127.0.0.1:1", Secret("not-a-key"), chamber.clock)
        self._chamber = chamber

    def _call(self, *_: object, **__: object) -> Answer:
        return self._chamber.answer()


class Chamber:
    """The command path of one box, and one case after the other in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.true_s = 0.0
        self.clock = BoxClock(lambda: self.true_s, self._wait)
        profile, self._database = loaded(profile_path("ess_bau"))
        rules: InterlockRules = replace(
            profile.interlocks, close_max=10**6, close_interval_s=0.0, reset_max=10**6
        )
        self._profile = replace(profile, interlocks=rules, channel=None)
        self._case: Case | None = None
        self._asked = 0
        self._number = 0
        self._writes = 0
        self._end_s = 0.0
        self.outcome = Outcome()
        self._start()

    # --- the box

    def _wait(self, _ready: object, timeout_s: float) -> None:
        self.true_s += timeout_s

    def _start(self) -> None:
        """Start the process on the journal that is there."""
        self.journal = Journal(self._folder / "journal.db", Stamp.of(self.clock))
        Disk(self._on_write, lambda _: None).attach(self.journal._file, "journal")
        self._link = Link(lambda: self.true_s)
        self._link.listeners.append(lambda _: self._sent())
        port = Port(HostileBus(link=self._link), self.clock.monotonic_s)
        self._port = port
        control = ControlPort(Guard(self._profile.guard), lambda: port)
        intake = Intake(self._profile, self._database)
        table = AlwaysFresh(self._profile.deadlines_s, self.clock.monotonic_s)
        table.knows(_deciding(self._profile))
        intake.table = self._table = table
        now_s = self.clock.monotonic_s()
        device = Device(
            UID, self._profile, intake, control, read_only=False, echo=True, listening_since_s=now_s
        )
        self._device = device
        gate = Gate(device, str)
        self.executor = Executor(device, self.journal, self.clock, gate, lambda: None)
        cloud = _CaseCloud(self)
        self._poller = Poller(
            ask=partial(cloud.get_pending, UID, 25),
            device_uid=UID,
            clock=self.clock,
            offer=self.executor.offer,
            wake_sync=lambda: None,
            chance=lambda: 0.5,
        )

    def _on_write(self, name: str) -> None:
        case = self._case
        if case is None or not name.startswith("before"):
            return
        place, self._writes = self._writes, self._writes + 1
        if place < len(case.walls_s):
            self.clock.wall_off_s = case.walls_s[place]
        if place < len(case.stalls_s):
            self.true_s += case.stalls_s[place]
        if place == case.reboot_at:
            raise _Rebooted

    def _sent(self) -> None:
        self.outcome.frames += 1
        left_s = self._end_s - self.true_s
        self.outcome.in_time += left_s >= 0
        if left_s < 0:
            self.outcome.late.append(f"{-left_s:.6f} s late: {self._case}")
        self.outcome.closest_s = min(self.outcome.closest_s, abs(left_s))

    # --- one case

    def run(self, case: Case) -> None:
        """Let a command live its life; count what became of it."""
        self._number += 1
        self._writes, self._asked = 0, 0
        self._table.looks = LOOKS[case.code]
        self._case = case
        self._end_s = self.true_s + case.held_s + case.life_ms / 1000
        try:
            self._take(case)
            self._look(case)
        except _Rebooted:
            self._reboot()
        self._case = None
        self.true_s += AFTER_S
        for _ in range(3):
            self._pass()
            self.true_s += AFTER_S
        self.outcome.cases += 1
        entry = self.journal.entry(f"case-{self._number}")
        self.outcome.ends["never arrived" if entry is None else entry.state.value] += 1

    def answer(self) -> Answer:
        """Answer a question of the client as the case says, and let its time pass."""
        case = self._case
        assert case is not None
        first, self._asked = self._asked == 0, self._asked + 1
        if not first and case.second is None:
            self.true_s += 15.0
            raise CloudUnreachable("lost")
        self.true_s += case.held_s + case.answer_s if first else 0.0
        left_ms = max(0, int((self._end_s - self.true_s) * 1000))
        item = {"id": f"case-{self._number}", "command": case.code, "expires_in_ms": left_ms}
        item |= {"issued_by": "x", "version": 1, "cancel_requested": False}
        data = {"poll_after_ms": 0, "sync_requested": False, "commands": [item]}
        self.true_s += case.transit_s if first else case.second or 0.0
        body = json.dumps({"code": 0, "message": "ok", "data": data}).encode()
        return Answer(200, "application/json", body)

    def _take(self, case: Case) -> None:
        try:
            pending = self._poller._ask()
        except CloudError:
            return
        self._poller._hand_on(pending)
        self.true_s += case.offer_s

    def _look(self, case: Case) -> None:
        for pause_s in case.pauses_s:
            self._pass()
            self.true_s += pause_s
            self._hear()

    def _pass(self) -> None:
        self.executor.step()
        self.true_s += 0.005
        self._hear()

    def _hear(self) -> None:
        while (frame := self._port.receive(0.0)) is not None:
            self._device.control.hear(Frame(*frame))

    def close(self) -> None:
        """End the process."""
        self._port.close()
        self.journal.close()

    def _reboot(self) -> None:
        self.close()
        self._case = None
        self.true_s += 12.0
        self.clock.reboot(10.0)
        self._start()


def _deciding(profile: Profile) -> list[str]:
    """Return the signals that alarms and interlocks look at."""
    alarms = [alarm.signal for alarm in profile.alarms]
    return [*alarms, *(name for look in LOOKS.values() for name in look)]


def prove(cases: int, seed: int) -> Outcome:
    """Run so many random cases; every few hundred in a box of their own."""
    random = Random(seed)  # noqa: S311 - a simulation, no secret
    memory = Path("/dev/shm")  # noqa: S108 - durability itself is not what is tested here
    total = Outcome()
    while total.cases < cases:
        folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        try:
            chamber = Chamber(folder)
            for _ in range(min(CASES_A_JOURNAL, cases - total.cases)):
                chamber.run(draw(random))
            chamber.close()
        finally:
            shutil.rmtree(folder)
        total.add(chamber.outcome)
    return total
