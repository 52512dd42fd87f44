"""A bench for the control path: all real but bus and time, stepped in one thread.

Profile, codec, intake, table, guard, gate, executor, journal, outbox and simulated battery are the
shipped ones. The bus is a queue in this process, the clock moves when the bench says so: nothing
sleeps, and the same calls give the same life to the microsecond.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import cast

from agent.clock import FakeClock
from agent.control_loop import LEAST_GAP_S, ControlLoop
from agent.device import Device
from agent.executor import Executor, Offer
from agent.gate import Gate, sent_before
from agent.journal import Journal
from agent.journal_rows import Entry, Event, Stamp
from agent.latches import Latches
from agent.observer import Observer
from agent.outbox import Outbox
from bms_can.bus import Port
from bms_can.commands import FINAL, Command, CommandState, Reason, deadline_s
from bms_can.control import ControlPort
from bms_can.database import Database
from bms_can.errors import SendFailed
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.misbehaviour import misbehaviour
from bms_can.pack import Pack
from bms_can.profile import CommandCode, Profile
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator, settings_of
from bms_can.status import BmsStatus

ROOT = Path(__file__).parents[2]
UID = "BAT-1"
CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)
LIFE_S = {CLOSE: 10.0, RESET: 30.0, OPEN: 60.0}  # as the platform gives them
CONTROL_ID = 0x1811F4E5
WARM_UP_S = 3.5  # longer than `steady_s` of the shipped profile
HELD_S = 12.0  # a healthy command of the shipped profile is held by then
BOOT_S = 10.0  # from the start of the machine to that of the agent
QUICK_S = 0.3  # precharge of a battery for tests of many lives
LATENCY_S = 0.001  # a frame of ours is on the bus so long after it was handed over
LEAST_STEP_S = 1e-4


@cache
def ess_bau() -> tuple[Profile, Database]:
    """Return our default battery, read once."""
    return load_profile(ROOT / "dbc" / "ess_bau.toml")


def new_battery(now_s: float, pack: Pack | None = None, *, telemetry: bool = False) -> Simulator:
    """Return our default battery; with the messages that commands and status depend on only."""
    profile, database = ess_bau()
    kept = {*profile.required, "BAU_Ack"}
    wanted = {name: signals for name, signals in profile.wanted.items() if name in kept}
    sending = profile if telemetry else replace(profile, wanted=wanted)
    return Simulator(sending, database, pack, now_s=now_s)


def rebased(pack: Pack, now_s: float, *, telemetry: bool = False) -> Simulator:
    """Return a battery whose own time goes on, on the clock of another start of the machine."""
    shift_s = now_s - pack._now_s
    pack._now_s, pack._since_s = now_s, pack._since_s + shift_s
    pack._due_s = None if pack._due_s is None else pack._due_s + shift_s
    return new_battery(now_s, pack, telemetry=telemetry)


def kind_of(frame: Frame) -> CommandCode | None:
    """Return the command that a control frame carries, read from its bytes by hand."""
    named = {b"\x01\x00": CLOSE, b"\x02\x00": OPEN, b"\x00\x01": RESET}
    return named.get(frame.data[:2]) if frame.can_id == CONTROL_ID else None


class Wire:
    """The bus: takes frames of the agent, carries them to the battery and back as echoes.

    Attributes:
        taken: every frame taken from the agent, with the time of taking.
        error: what `send` raises, None while it takes frames.
        echo: own frames come back to the agent.
        held: frames wait in a queue, as with no node to acknowledge them.
        deaf: frames reach the echo, but not the battery.
        on_take: called with each frame before it is taken.
        drained_s: see Port.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._queue: list[Frame] = []
        self.taken: list[Frame] = []
        self.error: SendFailed | None = None
        self.echo = True
        self.held = False
        self.deaf = False
        self.drained_s = float("-inf")
        self.on_take: Callable[[Frame], None] = lambda _: None

    def send(self, frame: Frame) -> None:
        """See Port."""
        if self.error is not None:
            raise self.error
        stamped = frame._replace(at_s=self._clock.monotonic_s())
        self.on_take(stamped)
        self.taken.append(stamped)
        self._queue.append(stamped)

    def carry(self, now_s: float) -> list[Frame]:
        """Return the frames that are on the bus now."""
        if self.held:
            return []
        ready = [each for each in self._queue if each.at_s + LATENCY_S <= now_s]
        self._queue = self._queue[len(ready) :]
        return [frame._replace(at_s=now_s) for frame in ready]

    def next_s(self) -> float:
        """Return when the next frame is on the bus [s], infinite if there is none."""
        waiting = self._queue and not self.held
        return self._queue[0].at_s + LATENCY_S if waiting else float("inf")


class HookedJournal(Journal):
    """The real journal; a test may let time pass, act or fail round each step that is written.

    Attributes:
        before, after: called with the state that is written, or the kind of a note, before and
            after the real commit.
    """

    before: Callable[[str], None] = staticmethod(lambda _: None)
    after: Callable[[str], None] = staticmethod(lambda _: None)

    def accept(self, command: Command, stamp: Stamp) -> Entry:
        """See Journal."""
        known = self.entry(command.id) is not None
        if known:
            return super().accept(command, stamp)
        self.before(CommandState.ACCEPTED)
        entry = super().accept(command, stamp)
        self.after(CommandState.ACCEPTED)
        return entry

    def note(
        self, kind: str, stamp: Stamp, body: Mapping[str, object], uid: str = "", about: str = ""
    ) -> int:
        """See Journal."""
        self.before(kind)
        return super().note(kind, stamp, body, uid, about)

    def advance(
        self,
        command_id: str,
        state: CommandState,
        stamp: Stamp,
        *,
        reason: Reason | None = None,
        detail: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> Entry:
        """See Journal."""
        self.before(state)
        entry = super().advance(
            command_id, state, stamp, reason=reason, detail=detail, evidence=evidence
        )
        self.after(state)
        return entry


class Rig:
    """One box with one battery.

    Args:
        folder: for journal and outbox.
        profile: instead of our default battery.
        echo: what the box believes of its bus; the wire itself is told apart.
        read_only: the device listens only.
        telemetry: the battery also sends what no command depends on; costs half of the speed.
        clock, simulator: time and battery that are there already.

    Attributes:
        clock, wire, simulator, journal, outbox, device, gate, executor, observer, loop: the parts.
        held_s: a healthy command is held so long after it was offered [s].
        offered: every command that was ever offered, by id.
        events: how often the executor said that there is news; `changes`: the observer.
        foreign: frames of another master that were announced.
        watchers: called with each frame that reaches the agent.
        on_box_read: called when the agent reads the lock-out, which may wait for the disk.
        lagging: the receive thread gets no time; what arrives is read later.
    """

    def __init__(
        self,
        folder: Path,
        profile: Profile | None = None,
        *,
        echo: bool = True,
        read_only: bool = False,
        telemetry: bool = False,
        clock: FakeClock | None = None,
        simulator: Simulator | None = None,
    ) -> None:
        shipped, self.database = ess_bau()
        self.profile = profile or shipped
        self.folder = folder
        self.clock = clock or FakeClock()
        self.wire = Wire(self.clock)
        now_s = self.clock.monotonic_s()
        self._telemetry = telemetry
        self.simulator = simulator or new_battery(now_s, telemetry=telemetry)
        holds_s = [plan.confirmed.hold_s for plan in self.profile.commands.values()]
        self.held_s = self.pack.settings.precharge_s + max(holds_s) + 1.0
        self.offered: dict[str, Offer] = {}
        self.events = self.changes = 0
        self.foreign: list[Frame] = []
        self.watchers: list[Callable[[Frame], None]] = []
        self.on_box_read: Callable[[], None] = lambda: None
        self.lagging = False
        self._unread: list[Frame] = []
        self._echo, self._read_only = echo, read_only
        self._numbers = count(1)
        self.start()

    # --- the box

    def start(self) -> None:
        """Start the agent's parts on what is in the folder."""
        clock, stamp = self.clock, Stamp.of(self.clock)
        self.journal = HookedJournal(self.folder / "journal.db", stamp)
        reserve = partial(self.journal.reserve, "report")
        self.outbox = Outbox(self.folder / "queue.db", reserve, stamp.wall)
        port = cast("Port", self.wire)
        self.port_is_open = True
        control = ControlPort(
            Guard(self.profile.guard),
            lambda: port if self.port_is_open else None,
            read_only=self._read_only,
        )
        self.device = Device(
            uid=UID,
            profile=self.profile,
            intake=Intake(self.profile, self.database),
            control=control,
            read_only=self._read_only,
            echo=self._echo,
            listening_since_s=clock.monotonic_s(),
        )
        sent = sent_before(self.journal, UID, clock)
        self.gate = Gate(self.device, self._lockout, self._doubt, sent)
        self.executor = Executor(self.device, self.journal, clock, self.gate, self._count_event)
        self.observer = Observer(self.device, self.outbox, clock, dict, self._count_change)
        self.loop = ControlLoop(
            self.device, self.observer, self.executor, clock, self.foreign.append
        )
        self.loop.each_pass = Latches(self.device, self.journal, clock).step
        self._stepped_s = self._look_s = float("-inf")

    def stop(self) -> None:
        """End the agent as a kill does: nothing is said to anybody."""
        self.journal.close()
        self.outbox.close()

    def restart(self, *, down_s: float = 0.5, boot_id: str = "") -> None:
        """Kill the agent and start it again `down_s` [s] later; `boot_id`: the machine too."""
        self.stop()
        self.battery_alone(down_s)
        if boot_id:
            self.battery_alone(BOOT_S)
            self.clock.reboot(boot_id, BOOT_S)
            now_s = self.clock.monotonic_s()
            self.simulator = rebased(self.simulator.pack, now_s, telemetry=self._telemetry)
        self.start()

    def battery_alone(self, seconds: float) -> None:
        """Let time pass for the battery only."""
        end_s = self.clock.monotonic_s() + seconds
        while (left_s := end_s - self.clock.monotonic_s()) > LEAST_STEP_S:
            self.clock.advance(min(left_s, 0.05))
            now_s = self.clock.monotonic_s()
            self.simulator.due_frames(now_s)
            for frame in self.wire.carry(now_s):
                self.simulator.hear(frame, now_s)

    def _lockout(self) -> str:
        self.on_box_read()
        lockout = self.journal.lockout()
        return "" if lockout is None else lockout.reason

    def _doubt(self) -> str:
        lost = self.journal.forgetful(self.clock.monotonic_s(), self.clock.boot_id())
        return "the journal was lost" if lost else ""

    def _count_event(self) -> None:
        self.events += 1

    def _count_change(self) -> None:
        self.changes += 1

    # --- time

    def run(self, seconds: float) -> None:
        """Let time pass for everything."""
        for _ in self.steps(seconds):
            pass

    def run_until(self, done: Callable[[], object], at_most_s: float = 60.0) -> None:
        """Let time pass until something is so.

        Raises:
            AssertionError: it never was.
        """
        for _ in self.steps(at_most_s):
            if done():
                return
        raise AssertionError(f"not within {at_most_s:g} s")

    def steps(self, seconds: float) -> Iterator[float]:
        """Let time pass from event to event; yield the time after each."""
        end_s = self.clock.monotonic_s() + seconds
        self.pump()
        while (now_s := self.clock.monotonic_s()) < end_s - LEAST_STEP_S / 2:
            yield now_s
            self.clock.advance(max(LEAST_STEP_S, min(self._next_s(), end_s) - now_s))
            self.pump()
        yield now_s

    def pump(self) -> None:
        """Carry what is on the bus now, then step the control loop if it is due."""
        self.carry()
        now_s = self.clock.monotonic_s()
        if now_s >= self._loop_s() - LEAST_STEP_S / 2:
            self.loop._wake.clear()
            self._stepped_s = now_s
            self._look_s = now_s + self.loop.step()

    def carry(self) -> None:
        """Carry what is on the bus now, as the receive thread does."""
        now_s = self.clock.monotonic_s()
        for frame in self.wire.carry(now_s):
            if self.wire.echo:
                self._unread.append(frame)
            if not self.wire.deaf:
                self.simulator.hear(frame, now_s)
        self._unread += self.simulator.due_frames(now_s)
        if self.lagging:
            return
        arrived, self._unread = self._unread, []
        for frame in arrived:
            self.hear(frame)
        self.wire.drained_s = now_s

    def bus_goes_on(self, seconds: float) -> None:
        """Let time pass while the control thread waits for the disk: for use inside a hook."""
        end_s = self.clock.monotonic_s() + seconds
        while (left_s := end_s - self.clock.monotonic_s()) > 0:
            self.clock.advance(min(left_s, 0.05))
            self.carry()

    def hear(self, frame: Frame) -> None:
        """Let a frame reach the agent."""
        for watcher in self.watchers:
            watcher(frame)
        self.loop.take(frame)

    def _loop_s(self) -> float:
        """Return when the control loop steps next, as ControlLoop.run does [s]."""
        woken = self.loop._wake.is_set()
        return self._stepped_s + LEAST_GAP_S if woken else self._look_s

    def _next_s(self) -> float:
        return min(self._loop_s(), self.wire.next_s(), self.simulator.next_due_s)

    # --- the battery

    @property
    def pack(self) -> Pack:
        """The battery."""
        return self.simulator.pack

    def misbehave(self, *names: str) -> None:
        """Let the battery do these things wrong; without names everything is repaired."""
        self.pack.misbehave(misbehaviour(names))

    def close_by_hand(self) -> None:
        """Close the contactor without the agent and wait until it is seen."""
        self.pack.command(CLOSE, self.clock.monotonic_s())
        self.run_until(lambda: self.status.operating == 2)

    def give_work(self, code: CommandCode) -> None:
        """Bring the battery where a command of this kind has an effect."""
        if code is OPEN:
            self.close_by_hand()
        elif code is RESET:
            self.pack.raise_alarm("machine_fault", 3, latched=True)
            self.pack.clear_alarm("machine_fault")
            self.run(1.0)

    def lock_out(self, reason: str = "work on the busbar") -> None:
        """Set the local lock-out."""
        self.journal.set_lockout(reason, "electrician", Stamp.of(self.clock))

    def master_elsewhere(self) -> None:
        """Let another node send our close."""
        frame = self.profile.commands[CLOSE].frames[7]
        self.hear(frame._replace(at_s=self.clock.monotonic_s()))

    @property
    def status(self) -> BmsStatus:
        """The newest status."""
        assert self.observer.status is not None
        return self.observer.status

    # --- the platform

    def offer(
        self,
        code: CommandCode,
        identity: str = "",
        *,
        life_s: float | None = None,
        cancelled: bool = False,
    ) -> str:
        """Offer a command as a poll that starts now does; return its id."""
        identity = identity or f"{code.name.split('_')[0].lower()}-{next(self._numbers)}"
        end_s = deadline_s(
            code, LIFE_S[code] if life_s is None else life_s, self.clock.monotonic_s()
        )
        boot_id = self.clock.boot_id()
        command = Command(identity, code, UID, "operator", 1, end_s, boot_id)
        self.offered.setdefault(identity, Offer(command))
        self.executor.offer(Offer(command, cancelled))
        self.loop.wake()
        return identity

    def offer_again(self, identities: Sequence[str] = (), life_s: float = 5.0) -> None:
        """Offer known commands again, all by default, as each poll does with unfinished ones."""
        for identity in identities or list(self.offered):
            self.offer(self.offered[identity].command.code, identity, life_s=life_s)

    def do(self, code: CommandCode, seconds: float | None = None) -> str:
        """Offer a command and let time pass, by default until it is held; return its id."""
        identity = self.offer(code)
        self.run(self.held_s if seconds is None else seconds)
        return identity

    # --- what came of it

    def entry(self, identity: str) -> Entry:
        """Return where a command stands."""
        entry = self.journal.entry(identity)
        assert entry is not None, f"{identity} is not in the journal"
        return entry

    def state(self, identity: str) -> CommandState:
        """Return the state of a command."""
        return self.entry(identity).state

    def outcome(self, identity: str) -> tuple[CommandState, Reason | None]:
        """Return state and reason of a command."""
        return self.entry(identity).state, self.entry(identity).reason

    def life(self, identity: str) -> list[CommandState]:
        """Return the states of a command in order."""
        states = (event.state for event in self.journal.events(identity))
        return [state for state in states if state is not None]

    def event(self, identity: str, state: CommandState) -> Event:
        """Return the row of one step."""
        (found,) = (each for each in self.journal.events(identity) if each.state is state)
        return found

    def frames(self, code: CommandCode | None = None) -> list[Frame]:
        """Return the frames on the wire so far, of one command only if it is given."""
        return [each for each in self.wire.taken if code is None or kind_of(each) is code]

    def unfinished(self) -> list[str]:
        """Return the ids that have no final state."""
        known = [identity for identity in self.offered if self.journal.entry(identity)]
        return [each for each in known if self.state(each) not in FINAL]


def warm_rig(
    folder: Path, profile: Profile | None = None, *, echo: bool = True, read_only: bool = False
) -> Rig:
    """Return a bench whose battery has been heard for long enough to be closed."""
    rig = Rig(folder, profile, echo=echo, read_only=read_only)
    rig.run(rig.profile.interlocks.steady_s + 0.5)
    return rig


def quick_rig(folder: Path, profile: Profile | None = None) -> Rig:
    """Return the same with short waits, for tests of many lives; see `quick_profile`."""
    clock = FakeClock()
    rig = Rig(
        folder,
        profile or quick_profile(),
        clock=clock,
        simulator=new_battery(clock.monotonic_s(), quick_pack(clock.monotonic_s())),
    )
    rig.run(rig.profile.interlocks.steady_s + 0.3)
    return rig


def quick_pack(now_s: float) -> Pack:
    """Return our default battery with a short precharge."""
    settings = replace(settings_of(ess_bau()[0]), precharge_s=QUICK_S)
    return Pack(settings, now_s=now_s)


def with_rules(profile: Profile | None = None, **changes: object) -> Profile:
    """Return our default battery, or another one, with other interlock settings."""
    profile = profile or ess_bau()[0]
    rules = replace(profile.interlocks, **changes)  # type: ignore[arg-type]  # names of its fields
    return replace(profile, interlocks=rules)


def quick_profile(window_s: float = 5.0, hold_s: float = 1.0) -> Profile:
    """Return our default battery with short waits: only numbers differ from the shipped one."""
    profile = with_rules(steady_s=0.3)
    plans = {
        code: replace(plan, confirmed=replace(plan.confirmed, window_s=window_s, hold_s=hold_s))
        for code, plan in profile.commands.items()
    }
    return replace(profile, commands=plans)


def with_plan(code: CommandCode, **changes: object) -> Profile:
    """Return our default battery, with short waits, and another plan for one command."""
    profile = quick_profile()
    plan = replace(profile.commands[code], **changes)  # type: ignore[arg-type]  # names of its fields
    return replace(profile, commands={**profile.commands, code: plan})
