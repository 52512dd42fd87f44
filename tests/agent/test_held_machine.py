"""Any order of commands, faults, kills, freezes and hangs: what the wire shows of a held request.

The judge looks at frames, at the journal's rows, and at what this test did itself; never at the
parts under test.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bms_can.commands import FINAL
from bms_can.errors import SendFailed
from bms_can.frame import Frame
from bms_can.pack import Phase
from bms_can.profile import CommandCode
from tests.agent.held_rig import FOREIGN, HeldRig, kind_of
from tests.agent.rig import CLOSE, OPEN, RESET

CODES = st.sampled_from([CLOSE, CLOSE, CLOSE, OPEN, RESET])
LIVES_S = st.sampled_from([10.0, 10.0, 10.0, 0.15, 0.05, 0.0])
WAITS_S = st.sampled_from([0.02, 0.15, 0.5, 1.0, 3.0, 7.0])
ROWS = st.sampled_from(["accepted", "gated", "sending", "sent", "succeeded", "held"])
SETTLE_S = 25.0
RENEWED_S = 0.15  # the loop looks every 0.1 s, and judges at most every 0.05 s
GAP_S = 0.301
LEASE_S = 1.0
SEEN_S = 0.12  # the battery's state message comes every 0.1 s

EVENTS: Mapping[str, Callable[[HeldRig], object]] = {
    "alarm": lambda rig: rig.pack.raise_alarm("alert_error", 3),
    "fault": lambda rig: rig.pack.raise_alarm("main_fuse_error", 3, latched=True),
    "warning": lambda rig: rig.pack.raise_alarm("general_warning", 1),
    "opens": lambda rig: rig.pack.switch(OPEN),
    "load": lambda rig: rig.pack.request_current(-60.0),
    "ignores": lambda rig: rig.misbehave("ignore_close"),
    "silent": lambda rig: rig.misbehave("silent"),
    "half silent": lambda rig: rig.misbehave("silent=BMS_Pack"),
    "precharge": lambda rig: rig.misbehave("precharge_fails"),
}
TROUBLES: Mapping[str, Callable[[HeldRig], object]] = {
    "no echo": lambda rig: setattr(rig.wire, "echo", False),
    "held": lambda rig: setattr(rig.wire, "held", True),
    "deaf": lambda rig: setattr(rig.wire, "deaf", True),
    "full": lambda rig: setattr(rig.wire, "error", SendFailed("Transmit buffer full")),
    "down": lambda rig: setattr(rig, "port_is_open", False),
    "doubt": lambda rig: setattr(rig, "doubt", "error-passive"),
    "locked": lambda rig: rig.lock_out(),
    "hung": lambda rig: setattr(rig, "hung", True),
}


class Killed(Exception):
    """The process is gone."""


class Judge:
    """Looks at each frame as the bus takes it.

    Attributes:
        since: since when a reason against closed is there [s], by its name.
        hung_s: when the control loop stopped [s].
        process: rows before this number are of an earlier process.
    """

    def __init__(self, rig: HeldRig) -> None:
        self.rig = rig
        self.since: dict[str, float] = {}
        self.hung_s: float | None = None
        self.process = 0
        self.closed_by: str = ""
        self.over: set[str] = set()
        self.last_s = float("-inf")
        self.foreign = False
        self.listens_from_s = 0.0
        rig.wire.on_take = self.look
        self.booted()

    def booted(self) -> None:
        """A new process: whatever was held before is over."""
        self.over |= set(self.rig.offered)
        head = self.rig.journal.head().seq
        self.process, self.closed_by = head, ""
        self.listens_from_s = self.rig.clock.monotonic_s()
        self.last_s = float("-inf")
        self.foreign = bool(self.rig.device.control.foreign)
        self.since.pop("hung", None)

    def look(self, frame: Frame) -> None:
        """A frame is taken by the bus."""
        kind, now_s = kind_of(frame), frame.at_s
        assert kind in {"rest", "closed", "reset"}, frame
        opening = self.command() is OPEN
        assert now_s - self.listens_from_s > 0.9 or opening, "it did not listen first"
        assert not self.foreign or opening, "a frame beside another master"
        if kind == "closed":
            self.closed(now_s)
        elif self.closed_by:
            self.over.add(self.closed_by)
            self.closed_by = ""
        if kind == "reset":
            assert self.command() is RESET
        self.last_s = now_s

    def command(self) -> CommandCode | None:
        """Return what is in flight by the journal: the newest command that is being sent."""
        for event in reversed(self.rig.journal.log(self.process)):
            if event.state is not None and event.state in {"sending", "sent", "acknowledged"}:
                entry = self.rig.journal.entry(event.command_id or "")
                if entry is not None and entry.state == event.state:
                    return entry.command.code
        return None

    def closed(self, now_s: float) -> None:
        """Closed needs one close of this process that is not over, and nothing against it."""
        identity = self.closed_by or self.new_close()
        assert identity, "closed without a command of this process"
        assert identity not in self.over, f"{identity} closes again after its end"
        self.closed_by = identity
        entry = self.rig.journal.entry(identity)
        assert entry is not None
        assert entry.state in {"sending", "sent", "succeeded", "held", "reverted"}, entry
        assert now_s - self.last_s <= GAP_S, "closed after a gap"
        for reason, since_s in self.since.items():
            most_s = LEASE_S if reason == "hung" else RENEWED_S
            assert now_s - since_s <= most_s + 0.01, f"closed in spite of {reason}"
        assert not self.rig.device.control.unsafe

    def new_close(self) -> str:
        """Return the close that begins with this frame: written as `sending` by this process."""
        for event in reversed(self.rig.journal.log(self.process)):
            entry = self.rig.journal.entry(event.command_id or "")
            if entry is not None and event.state == "sending":
                right = entry.command.code is CLOSE and entry.state == "sending"
                assert self.rig.clock.monotonic_s() < entry.command.deadline_s, "closed too late"
                return entry.command.id if right else ""
        return ""


class AnyOrder(RuleBasedStateMachine):
    """A bench to which anything happens."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="held-")
        self.rig = HeldRig(Path(self._folder.name))
        self.judge = Judge(self.rig)
        self.rig.ready()

    def teardown(self) -> None:
        """Repair everything: every command ends, and an open battery stays open."""
        try:
            self.repair("all")
            self.run(SETTLE_S)
            left = {
                identity: entry.state
                for identity in self.rig.offered
                if (entry := self.rig.journal.entry(identity)) and entry.state not in FINAL
            }
            assert left == {}
            held = self.judge.closed_by and self.judge.closed_by not in self.judge.over
            assert self.rig.pack.phase is (Phase.CLOSED if held else Phase.OPEN)
            assert self.rig.journal.verify() == []
        finally:
            self.rig.stop()
            self._folder.cleanup()

    # --- what happens

    @initialize(first=st.sampled_from(["hold", "hold", "close", "deaf close", "rest"]))
    def begin(self, first: str) -> None:
        """Most runs begin where something is at stake."""
        if first == "deaf close":
            self.rig.misbehave("ignore_close")
        if first != "rest":
            self.rig.offer(CLOSE)
            self.run({"hold": 3.0, "close": 0.05}.get(first, 0.5))

    @rule(code=CODES, life_s=LIVES_S, wait_s=WAITS_S)
    def offer(self, code: CommandCode, life_s: float, wait_s: float) -> None:
        """Offer a new command and let time pass."""
        self.rig.offer(code, life_s=life_s)
        self.run(wait_s)

    @rule()
    def close(self) -> None:
        """Bring it to a hold, where that is possible."""
        self.repair("all")
        self.run(4.0)
        self.rig.offer(CLOSE)
        self.run(3.0)

    @rule(again=st.booleans())
    def offer_known(self, *, again: bool) -> None:
        """Offer all known ids again, or withdraw the newest."""
        if again:
            self.rig.offer_again()
        elif self.rig.offered:
            identity = list(self.rig.offered)[-1]
            code = self.rig.offered[identity].command.code
            self.rig.offer(code, identity, life_s=5.0, cancelled=True)

    @rule(seconds=WAITS_S)
    def run(self, seconds: float) -> None:
        """Let time pass; a kill on the way starts the agent anew."""
        try:
            for _ in self.rig.steps(seconds):
                self.note()
        except Killed:
            self.restart(0.3)

    @rule(down_s=st.sampled_from([0.01, 0.3, 2.0, 8.0]))
    def restart(self, down_s: float) -> None:
        """Kill the agent and start it again."""
        self.rig.journal.after = lambda _: None
        self.rig.restart(down_s=down_s)
        self.judge.booted()

    @rule(row=ROWS)
    def kill_at(self, row: str) -> None:
        """The process dies right after it has written a row."""

        def kill(state: str) -> None:
            if state == row:
                raise Killed

        self.rig.journal.after = kill

    @rule(seconds=st.sampled_from([0.05, 0.2, 0.5, 1.5, 6.0]))
    def freeze(self, seconds: float) -> None:
        """The whole process stands still."""
        self.rig.freeze(seconds)

    @rule(row=ROWS, seconds=st.sampled_from([0.1, 0.6, 2.0]))
    def slow_disk(self, row: str, seconds: float) -> None:
        """The disk stalls once, before a row."""

        def stall(state: str) -> None:
            if state == row:
                self.rig.journal.before = lambda _: None
                self.judge.since.setdefault("hung", self.rig.clock.monotonic_s())
                self.rig.bus_goes_on(seconds)
                self.judge.since.pop("hung", None)

        self.rig.journal.before = stall

    @rule(name=st.sampled_from(sorted(EVENTS)))
    def event(self, name: str) -> None:
        """Something happens to the battery."""
        EVENTS[name](self.rig)

    @rule(name=st.sampled_from(sorted(TROUBLES)), wait_s=st.sampled_from([0.0, 0.1, 2.0]))
    def trouble(self, name: str, wait_s: float) -> None:
        """Something goes wrong with bus or box."""
        TROUBLES[name](self.rig)
        if name in {"locked", "hung", "doubt"}:
            self.judge.since.setdefault(name, self.rig.clock.monotonic_s())
        self.run(wait_s)

    @rule()
    def foreign(self) -> None:
        """Another master is heard."""
        self.rig.hear(FOREIGN._replace(at_s=self.rig.clock.monotonic_s()))
        self.judge.foreign = True
        self.run(0.3)

    @rule(what=st.sampled_from(["bus", "loop", "battery", "people"]))
    def repair(self, what: str) -> None:
        """Repair something, or all of it."""
        rig, whole = self.rig, what == "all"
        if whole or what == "bus":
            rig.wire.echo, rig.wire.held, rig.wire.deaf, rig.wire.error = True, False, False, None
            rig.port_is_open, rig.doubt = True, ""
            self.judge.since.pop("doubt", None)
        if whole or what == "loop":
            rig.hung = False
            self.judge.since.pop("hung", None)
        if whole or what == "battery":
            rig.misbehave()
            for key in ("alert_error", "main_fuse_error", "general_warning"):
                rig.pack.clear_alarm(key)
            rig.pack._alarms.reset()
        if (whole or what == "people") and not rig.hung:
            rig.journal.after = rig.journal.before = lambda _: None
            rig.run(0.3)
            rig.journal.clear_lockout("electrician", rig.stamp())
            if rig.device.control.unsafe or rig.device.control.foreign:  # as the local door does
                rig.device.control.clear()
            self.judge.since.pop("locked", None)
            if self.judge.foreign:
                self.judge.foreign = False
                self.judge.listens_from_s = rig.clock.monotonic_s()

    def note(self) -> None:
        """Note what the battery itself says against being held: open, or an alarm."""
        now_s, status = self.rig.clock.monotonic_s(), self.rig.observer.status
        bad = status is not None and any(alarm.blocks_close for alarm in status.alarms)
        for name, there in (("alarm", bad),):
            if there:
                self.judge.since.setdefault(name, now_s)
            else:
                self.judge.since.pop(name, None)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=5,
    stateful_step_count=16,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.proof
def test_any_order_many_times() -> None:
    """The same with many more examples."""
    run_state_machine_as_test(AnyOrder, settings=settings(TestAnyOrder.settings, max_examples=200))
