"""Any order of offers, faults, restarts and time: the promises hold at every frame and step.

The judge is tests/agent/eyewitness.py. A failing run is printed as a program that repeats it.
"""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.errors import JournalFailed
from agent.journal_rows import Stamp
from bms_can.commands import FINAL, CommandState
from bms_can.errors import SendFailed
from bms_can.frame import Frame
from bms_can.profile import CommandCode
from tests.agent.eyewitness import Eyewitness
from tests.agent.rig import CLOSE, OPEN, RESET, Rig, quick_rig

CODES = st.sampled_from([CLOSE, CLOSE, CLOSE, OPEN, OPEN, RESET])
STATES = st.sampled_from(["accepted", "gated", "sending", "sent", "succeeded", "held", "unknown"])
LONGEST_S = 5.0 + 5.0 + 3.0  # window, wait of an open, hold


class Killed(Exception):
    """The process is gone."""


class AnyOrder(RuleBasedStateMachine):
    """A bench to which anything happens."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="machine-")
        self.rig: Rig = quick_rig(Path(self._folder.name))
        self.witness = Eyewitness(self.rig, steady_s=0.3)
        self.ends: dict[str, str] = {}
        self.boots = 1

    def teardown(self) -> None:
        """Repair everything; then every command must come to its end."""
        try:
            self.heal()
            self.pass_time(LONGEST_S)
            self.pass_time(LONGEST_S)
            self.promises_hold()
            assert {
                identity: state for identity, state in self.states() if state not in FINAL
            } == {}
            assert self.rig.journal.verify() == []
        finally:
            self.rig.stop()
            self._folder.cleanup()

    def heal(self) -> None:
        """End every fault."""
        rig = self.rig
        rig.journal.before = rig.journal.after = lambda _: None
        rig.wire.echo, rig.wire.held, rig.wire.deaf, rig.wire.error = True, False, False, None
        rig.port_is_open = True
        rig.misbehave()

    # --- the platform

    @rule(code=CODES, life_s=st.sampled_from([0.0, 0.2, 1.0, 5.0, 10.0]), cancelled=st.booleans())
    def offer(self, code: CommandCode, life_s: float, *, cancelled: bool) -> None:
        """Offer a new command, seldom with its withdrawal."""
        self.rig.offer(code, life_s=life_s, cancelled=cancelled and life_s == 1.0)

    @rule(data=st.data(), cancelled=st.booleans())
    def offer_known(self, data: st.DataObject, *, cancelled: bool) -> None:
        """Offer a known command again, perhaps to withdraw it."""
        if self.rig.offered:
            identity = data.draw(st.sampled_from(sorted(self.rig.offered)))
            code = self.rig.offered[identity].command.code
            self.rig.offer(code, identity, life_s=5.0, cancelled=cancelled)

    @rule(data=st.data(), code=CODES)
    def offer_another_under_a_known_id(self, data: st.DataObject, code: CommandCode) -> None:
        """Offer a known id, mostly as another command."""
        if self.rig.offered:
            self.rig.offer(code, data.draw(st.sampled_from(sorted(self.rig.offered))))

    @rule()
    def offer_everything(self) -> None:
        """Poll."""
        self.rig.offer_again()

    # --- time

    @rule(seconds=st.sampled_from([0.002, 0.03, 0.15, 0.5, 1.0, 3.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass; a kill on the way starts the agent anew."""
        try:
            self.rig.run(seconds)
        except Killed:
            self.restart(reboot=False)

    @rule(reboot=st.booleans())
    def restart(self, *, reboot: bool) -> None:
        """Kill the agent, or the machine, and start it again with everything offered."""
        self.boots += reboot
        self.rig.restart(boot_id=f"boot-{self.boots}" if reboot else "")
        self.witness.restarted()
        self.rig.offer_again()

    # --- the disk

    @rule(at=STATES, after=st.booleans())
    def kill_at(self, at: str, *, after: bool) -> None:
        """Let the next row of this kind be the last thing that the agent does."""
        self._at_next(at, lambda: _raise(Killed()), after=after)

    @rule(at=STATES, after=st.booleans())
    def fail_at(self, at: str, *, after: bool) -> None:
        """Let the next row of this kind not be written, or seem not to be."""
        self._at_next(at, lambda: _raise(JournalFailed("disk I/O error")), after=after)

    @rule(at=STATES, seconds=st.sampled_from([0.3, 2.0, 20.0]))
    def slow_at(self, at: str, seconds: float) -> None:
        """Let the next row of this kind take its time."""
        self._at_next(at, lambda: self.rig.bus_goes_on(seconds), after=True)

    @rule(at=STATES, code=CODES)
    def offer_at(self, at: str, code: CommandCode) -> None:
        """Let a command arrive while a row is being written."""
        self._at_next(at, lambda: _drop(self.rig.offer(code)), after=True)

    @rule(at=STATES)
    def trip_at(self, at: str) -> None:
        """Press the emergency stop while a row is being written."""

        def trip() -> None:
            self.rig.pack.press_emergency_stop()
            self.rig.bus_goes_on(0.25)

        self._at_next(at, trip, after=True)

    def _at_next(self, at: str, action: Callable[[], None], *, after: bool) -> None:
        journal = self.rig.journal

        def happen(state: str) -> None:
            if state == at:
                journal.before = journal.after = lambda _: None
                action()

        if after:
            journal.after = happen
        else:
            journal.before = happen

    # --- the bus

    @rule(echo=st.booleans(), held=st.booleans(), deaf=st.booleans())
    def disturb_wire(self, *, echo: bool, held: bool, deaf: bool) -> None:
        """Lose echoes, hold frames back, keep them from the battery."""
        self.rig.wire.echo, self.rig.wire.held, self.rig.wire.deaf = echo, held, deaf

    @rule(fails=st.booleans(), is_open=st.booleans())
    def disturb_port(self, *, fails: bool, is_open: bool) -> None:
        """Refuse frames, or be gone."""
        self.rig.wire.error = SendFailed("Transmit buffer full") if fails else None
        self.rig.port_is_open = is_open

    @rule()
    def another_master(self) -> None:
        """Hear our close from somebody else."""
        self.rig.master_elsewhere()

    @rule()
    def look_at_bus(self) -> None:
        """A person has looked: queue empty, no other master."""
        self.heal()
        self.rig.wire._queue.clear()
        self.rig.device.control.clear()
        self.witness.cleared()

    # --- the battery

    @rule(
        wrong=st.sets(
            st.sampled_from(
                [
                    *("ignore_close", "ignore_open", "ignore_reset", "refuse_close", "no_ack"),
                    *("welded", "precharge_fails", "reverts=1", "slow=2", "flapping=0.2"),
                    *("silent", "silent=BAU_Alarms", "silent=BAU_State"),
                    *("frozen_counter=BAU_State", "wrong_checksum=BAU_Faults"),
                ]
            ),
            max_size=2,
        )
    )
    def misbehave(self, wrong: set[str]) -> None:
        """Let the battery do something wrong."""
        self.rig.misbehave(*sorted(wrong))

    @rule()
    def be_good(self) -> None:
        """Repair the battery and clear its faults."""
        pack = self.rig.pack
        self.rig.misbehave()
        pack.release_emergency_stop()
        for key in list(pack.alarms):
            pack.clear_alarm(key)
        pack.remote = True
        pack.request_current(0.0)
        pack.command(RESET, self.rig.clock.monotonic_s())

    @rule(what=st.sampled_from(["alarm", "fault", "stop", "local", "load", "close", "open"]))
    def at_the_battery(self, what: str) -> None:
        """Let something happen to the battery that is not our doing."""
        pack, now_s = self.rig.pack, self.rig.clock.monotonic_s()
        actions: dict[str, Callable[[], object]] = {
            "alarm": lambda: pack.raise_alarm("cell_high_temp_alarm", 2),
            "fault": lambda: pack.raise_alarm("machine_fault", 3, latched=True),
            "stop": pack.press_emergency_stop,
            "local": lambda: setattr(pack, "remote", not pack.remote),
            "load": lambda: pack.request_current(120.0),
            "close": lambda: pack.command(CLOSE, now_s),
            "open": lambda: pack.command(OPEN, now_s),
        }
        actions[what]()

    @rule(locked=st.booleans())
    def lock_out(self, *, locked: bool) -> None:
        """Set or clear the local lock-out."""
        if locked:
            self.rig.lock_out()
        elif self.rig.journal.lockout() is not None:
            self.rig.journal.clear_lockout("electrician", Stamp.of(self.rig.clock))

    @initialize(closed=st.booleans())
    def begin(self, *, closed: bool) -> None:
        """Begin with an open or a closed battery."""
        if closed:
            self.rig.close_by_hand()

    # --- what must hold

    def states(self) -> list[tuple[str, CommandState]]:
        """Return all commands of the file, read past our code."""
        with closing(sqlite3.connect(self.rig.folder / "journal.db")) as db:
            rows = db.execute("SELECT id, state FROM command").fetchall()
        return [(identity, CommandState(state)) for identity, state in rows]

    @invariant()
    def promises_hold(self) -> None:
        """No frame that must not be, and what is final stays."""
        assert self.witness.violations == []
        for identity, state in self.states():
            if identity in self.ends:
                assert self.ends[identity] == state
            elif state in FINAL:
                self.ends[identity] = state


def _raise(error: Exception) -> None:
    raise error


def _drop(_: object) -> None:
    """Return nothing."""


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a shorter run takes minutes to find
)


# --- the witness sees


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed."""
    return quick_rig(tmp_path)


def test_the_witness_finds_nothing_wrong_with_a_good_life(rig: Rig) -> None:
    """Close, open, reset as they should be are not complained of."""
    witness = Eyewitness(rig, steady_s=0.0)
    rig.run(1.0)
    rig.do(CLOSE)
    rig.do(OPEN)
    rig.give_work(RESET)
    rig.do(RESET)
    assert witness.violations == []
    assert [code for _, code, _ in witness.sessions] == [CLOSE, OPEN, RESET]


def test_the_witness_sees_what_is_wrong(rig: Rig) -> None:
    """Without interlocks every fault is seen: the witness does not ask our rules."""
    witness = Eyewitness(rig, steady_s=0.3)
    rig.run(1.0)
    rig.gate.checks = lambda *_: ()  # type: ignore[method-assign]  # a gate that lets all through
    rig.executor._session._stops = lambda _: False
    rig.lock_out()
    rig.pack.press_emergency_stop()
    rig.pack.remote = False
    rig.run(0.5)
    rig.misbehave("silent=BAU_Alarms")
    rig.run(1.5)
    rig.do(CLOSE)
    rig.do(CLOSE)
    found = " ".join(witness.violations)
    for part in (
        *("locked out", "BAU_Alarms is", "BAU_State.control_mode = 0"),
        *("BAU_State.emergency_stop = 1", "BAU_Faults.reset_required = 1", "emergency_stop_fault"),
        "s after the last one",
    ):
        assert part in found


def test_the_witness_sees_bare_and_late_and_double_frames(rig: Rig) -> None:
    """A frame that nobody wrote down, one after its deadline, one of an unknown kind."""
    witness = Eyewitness(rig, steady_s=0.0)
    rig.run(1.0)
    good = rig.profile.commands[OPEN].frames[0]
    rig.wire.send(good)
    rig.wire.send(good)
    rig.wire.send(Frame(0.0, good.can_id, extended=True, data=bytes(8)))
    assert witness.violations[0] == "nobody: a frame without a durable row"
    assert "nobody: frame 2 of one session" in witness.violations
    assert "nobody: no frame of the list: 0000000000000000" in witness.violations
