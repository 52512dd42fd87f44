"""The bench of rig.py with a battery that has a held request: foxBMS 2, its sender, its clock."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import cast

from agent.clock import FakeClock
from agent.control_loop import ControlLoop
from agent.device import Device
from agent.executor import Executor
from agent.gate import Gate, sent_before
from agent.held import RequestSender
from agent.held_session import HeldSession
from agent.journal_rows import Event, Stamp
from agent.latches import Latches
from agent.observer import Observer
from agent.outbox import Outbox
from bms_can.bus import Port
from bms_can.control import ControlPort
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.pack import Pack, Phase
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator, settings_of
from bms_can.simulator_request import RequestEar, State
from tests.agent.rig import CLOSE, ROOT, UID, HookedJournal, Rig

REQUEST_ID = 0x210
WORDS = {0: "rest", 1: "closed", 4: "reset"}
FOREIGN = Frame(0.0, REQUEST_ID, extended=False, data=b"\2" + b"\0" * 7)


@cache
def foxbms2() -> tuple[Profile, Database]:
    """Return the shipped profile, with short waits: only numbers differ."""
    profile, database = load_profile(ROOT / "dbc" / "foxbms2.toml")
    plans = {
        code: replace(plan, confirmed=replace(plan.confirmed, window_s=4.0, hold_s=1.0))
        for code, plan in profile.commands.items()
    }
    rules = replace(profile.interlocks, steady_s=0.3, close_interval_s=2.0, close_max=100)
    return replace(profile, commands=plans, interlocks=rules), database


def kind_of(frame: Frame) -> str:
    """Return what a frame of the request asks for, read by hand; "" for any other frame."""
    if (frame.can_id, frame.extended, len(frame.data)) != (REQUEST_ID, False, 8):
        return ""
    return WORDS.get(frame.data[0], "unlisted") if not any(frame.data[1:]) else "unlisted"


class HeldRig(Rig):
    """One box with one foxBMS 2.

    Attributes:
        sender: what sends the request.
        hung: the control loop does not step.
        doubt: what the bus says of itself.
        true_echo: a frame comes back when it was sent, not when it was queued.
        boots: starts of the agent, with their times [s].
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        profile, database = foxbms2()
        self.hung, self.doubt = False, ""
        self.true_echo = True
        self.boots: list[float] = []
        clock = FakeClock()
        kept = {name: profile.wanted[name] for name in profile.required}
        battery = replace(profile, wanted=kept)
        pack = Pack(replace(settings_of(profile), precharge_s=0.3), now_s=clock.monotonic_s())
        simulator = Simulator(battery, database, pack, now_s=clock.monotonic_s())
        self._parts = profile, database
        super().__init__(folder, profile, clock=clock, simulator=simulator, read_only=read_only)

    def start(self) -> None:
        """See Rig."""
        profile, self.database = self._parts
        clock, stamp = self.clock, Stamp.of(self.clock)
        self.boots.append(clock.monotonic_s())
        self.journal = HookedJournal(self.folder / "journal.db", stamp)
        reserve = partial(self.journal.reserve, "report")
        self.outbox = Outbox(self.folder / "queue.db", reserve, stamp.wall)
        port = cast("Port", self.wire)
        self.port_is_open, self.hung = True, False
        control = ControlPort(
            Guard(profile.guard),
            lambda: port if self.port_is_open else None,
            read_only=self._read_only,
        )
        self.device = Device(
            uid=UID,
            profile=profile,
            intake=Intake(profile, self.database),
            control=control,
            read_only=self._read_only,
            echo=True,
            listening_since_s=clock.monotonic_s(),
            bus_doubt=lambda: self.doubt,
            true_echo=lambda: self.true_echo,
        )
        sent = sent_before(self.journal, UID, clock)
        self.gate = Gate(self.device, self._lockout, self._doubt, sent)
        assert profile.held is not None
        self.sender = RequestSender(self.device, profile.held, clock, self.gate, self.journal)
        session = HeldSession(self.device, self.gate.stops, clock, self.sender)
        self.executor = Executor(
            self.device, self.journal, clock, self.gate, self._count_event, session
        )
        self.observer = Observer(self.device, self.outbox, clock, dict, self._count_change)
        self.loop = ControlLoop(
            self.device, self.observer, self.executor, clock, self.foreign.append
        )
        latches = Latches(self.device, self.journal, clock)

        def each_pass() -> None:
            latches.step()
            self.sender.renew()

        self.loop.each_pass = each_pass
        self._stepped_s = self._look_s = float("-inf")
        self._send_s = clock.monotonic_s()

    def carry(self) -> None:
        """See Rig: the thread that sends has its turn as well."""
        super().carry()
        now_s = self.clock.monotonic_s()
        if now_s >= self._send_s - 1e-9:
            self._send_s = now_s + max(self.sender.step(), 1e-3)

    def bus_goes_on(self, seconds: float) -> None:
        """See Rig: in the sender's time."""
        end_s = self.clock.monotonic_s() + seconds
        while (left_s := end_s - self.clock.monotonic_s()) > 1e-9:
            self.clock.advance(min(left_s, max(self._send_s - self.clock.monotonic_s(), 1e-3)))
            self.carry()

    def pump(self) -> None:
        """See Rig: a control loop that hangs does nothing."""
        if self.hung:
            self.carry()
        else:
            super().pump()

    def _next_s(self) -> float:
        if self.hung:
            return min(self.wire.next_s(), self.simulator.next_due_s, self._send_s)
        return min(super()._next_s(), self._send_s)

    def freeze(self, seconds: float) -> None:
        """Stop the whole process for a while; the bus goes on, and what arrives waits."""
        end_s = self.clock.monotonic_s() + seconds
        while (left_s := end_s - self.clock.monotonic_s()) > 1e-9:
            self.clock.advance(min(left_s, 0.02))
            now_s = self.clock.monotonic_s()
            for frame in self.wire.carry(now_s):
                if self.wire.echo:
                    self._unread.append(frame)
                if not self.wire.deaf:
                    self.simulator.hear(frame, now_s)
            self._unread += self.simulator.due_frames(now_s)
        # python-can stamps a frame when it is read: after a freeze all of them look new
        self._unread = [each._replace(at_s=self.clock.monotonic_s()) for each in self._unread]

    def requests(self, after_s: float = float("-inf")) -> list[tuple[float, str]]:
        """Return the frames that the bus took: time [s] and what they ask for."""
        return [(each.at_s, kind_of(each)) for each in self.wire.taken if each.at_s > after_s]

    def kinds(self, after_s: float = float("-inf")) -> set[str]:
        """Return what was asked for since then."""
        return {kind for _, kind in self.requests(after_s)}

    def ready(self) -> None:
        """Let time pass until the battery is in standby and rest goes out."""
        self.run_until(lambda: self.ear.state is State.READY and not self.pack.alarms)
        self.run(1.5)

    @property
    def phase(self) -> str:
        """What the contactors do."""
        return self.pack.phase.value

    @property
    def ear(self) -> RequestEar:
        """What hears the request in the battery."""
        assert self.simulator.request is not None
        return self.simulator.request

    def hold(self) -> str:
        """Close, and wait until the command is held; return its id."""
        self.ready()
        identity = self.offer(CLOSE)
        self.run_until(lambda: self.entry(identity).state in ("held", "failed", "rejected"))
        assert self.entry(identity).state == "held", self.entry(identity)
        assert self.pack.phase is Phase.CLOSED
        return identity

    def stamp(self) -> Stamp:
        """Return what a row of the journal is stamped with now."""
        return Stamp.of(self.clock)

    def ends(self) -> list[Event]:
        """Return the journalled ends of holds."""
        return [event for event in self.journal.log() if event.kind == "hold-ended"]
