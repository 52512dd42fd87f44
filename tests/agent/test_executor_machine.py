"""Any order of offers, faults, restarts and time: the promises hold at every frame and step.

The judge is tests/agent/eyewitness.py. A failing run is printed as a program that repeats it.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Mapping
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
LIVES_S = st.sampled_from([10.0, 10.0, 10.0, 10.0, 1.0, 0.2, 0.0])
WAITS_S = st.sampled_from([0.002, 0.03, 0.15, 0.5, 1.0, 3.0, 11.0])
ROWS = st.sampled_from(["accepted", "gated", "sending", "sent", "succeeded", "held", "unknown"])
SETTLE_S = 26.0  # two windows, two waits of an open, two holds

# What the battery does wrong, see bms_can/misbehaviour.py.
MISDEEDS = (
    *("ignore_close", "ignore_open", "ignore_reset", "refuse_close", "no_ack", "welded"),
    *("precharge_fails", "reverts=1", "slow=2", "flapping=0.2", "silent", "silent=BAU_Alarms"),
    *("silent=BAU_State", "frozen_counter=BAU_State", "wrong_checksum=BAU_Faults"),
)
# What happens to it that is not our doing.
EVENTS: Mapping[str, Callable[[Rig], object]] = {
    "alarm": lambda rig: rig.pack.raise_alarm("cell_high_temp_alarm", 2),
    "fault": lambda rig: rig.pack.raise_alarm("machine_fault", 3, latched=True),
    "stop": lambda rig: rig.pack.press_emergency_stop(),
    "local": lambda rig: setattr(rig.pack, "remote", False),
    "load": lambda rig: rig.pack.request_current(120.0),
    "close": lambda rig: rig.pack.command(CLOSE, rig.clock.monotonic_s()),
    "open": lambda rig: rig.pack.command(OPEN, rig.clock.monotonic_s()),
}
# What goes wrong with bus and box.
TROUBLES: Mapping[str, Callable[[Rig], object]] = {
    "no echo": lambda rig: setattr(rig.wire, "echo", False),
    "held": lambda rig: setattr(rig.wire, "held", True),
    "deaf": lambda rig: setattr(rig.wire, "deaf", True),
    "full": lambda rig: setattr(rig.wire, "error", SendFailed("Transmit buffer full")),
    "down": lambda rig: setattr(rig, "port_is_open", False),
    "master": lambda rig: rig.master_elsewhere(),
    "locked": lambda rig: rig.lock_out(),
}


class Killed(Exception):
    """The process is gone."""


class AnyOrder(RuleBasedStateMachine):
    """A bench to which anything happens."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="machine-")
        self.rig: Rig = quick_rig(Path(self._folder.name))
        self.witness = Eyewitness(self.rig, steady_s=0.3)
        self.rig.run(1.0)  # until the witness has heard the battery as long as the agent must
        self.ends: dict[str, str] = {}
        self.boots = 1

    def teardown(self) -> None:
        """Repair everything; then every command must come to its end."""
        try:
            self.set_right("all")
            self.pass_time(SETTLE_S)
            self.promises_hold()
            open_ends = {identity: state for identity, state in self.states() if state not in FINAL}
            assert open_ends == {}
            assert self.rig.journal.verify() == []
        finally:
            self.rig.stop()
            self._folder.cleanup()

    # --- the platform

    @rule(code=CODES, life_s=LIVES_S, wait_s=WAITS_S)
    def offer(self, code: CommandCode, life_s: float, wait_s: float) -> None:
        """Offer a new command and let time pass."""
        self.rig.offer(code, life_s=life_s)
        self.pass_time(wait_s)

    @rule(data=st.data(), how=st.sampled_from(["again", "withdrawn", "as another", "all"]))
    def offer_known(self, data: st.DataObject, how: str) -> None:
        """Offer a known id again: as it was, withdrawn, as another command; or poll for all."""
        if how == "all":
            self.rig.offer_again()
        elif self.rig.offered:
            identity = data.draw(st.sampled_from(sorted(self.rig.offered)))
            code = self.rig.offered[identity].command.code
            other = data.draw(CODES) if how == "as another" else code
            self.rig.offer(other, identity, life_s=5.0, cancelled=how != "again")

    # --- time

    @rule(seconds=WAITS_S)
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

    # --- while a row is being written

    @rule(
        code=CODES,
        at=ROWS,
        what=st.sampled_from(["kill", "fail", "slow", "slower", "offer", "withdraw", *EVENTS]),
        after=st.booleans(),
        wait_s=WAITS_S,
    )
    def offer_and(
        self, code: CommandCode, at: str, what: str, wait_s: float, *, after: bool
    ) -> None:
        """Offer a command; something happens while one of its rows is being written."""
        rig, journal = self.rig, self.rig.journal
        identity = f"crossed-{len(rig.offered)}"
        actions: dict[str, Callable[[], object]] = {
            "kill": lambda: _raise(Killed()),
            "fail": lambda: _raise(JournalFailed("disk I/O error")),
            "slow": lambda: rig.bus_goes_on(0.4),
            "slower": lambda: rig.bus_goes_on(12.0),
            "offer": lambda: rig.offer(OPEN if code is CLOSE else CLOSE),
            "withdraw": lambda: rig.offer(code, identity, cancelled=True),
        }

        def happen(state: str) -> None:
            if state == at:
                journal.before = journal.after = lambda _: None
                if what in EVENTS:
                    EVENTS[what](rig)
                    rig.bus_goes_on(0.25)
                else:
                    actions[what]()

        if after:
            journal.after = happen
        else:
            journal.before = happen
        rig.offer(code, identity)
        self.pass_time(wait_s)

    # --- battery, bus, box

    @rule(what=st.sampled_from([*MISDEEDS, *EVENTS, *TROUBLES]))
    def disturb(self, what: str) -> None:
        """Let something go wrong, until it is set right."""
        if what in MISDEEDS:
            self.rig.misbehave(what)
        else:
            {**EVENTS, **TROUBLES}[what](self.rig)

    @rule(what=st.sampled_from(["battery", "bus", "box", "all", "all", "all"]))
    def set_right(self, what: str) -> None:
        """Repair the battery; look at the bus and clear what is latched; end the lock-out."""
        rig, pack = self.rig, self.rig.pack
        if what in {"battery", "all"}:
            rig.misbehave()
            pack.release_emergency_stop()
            for key in list(pack.alarms):
                pack.clear_alarm(key)
            pack.remote = True
            pack.request_current(0.0)
            pack.command(RESET, rig.clock.monotonic_s())
        if what in {"bus", "all"}:
            rig.wire.echo, rig.wire.held, rig.wire.deaf, rig.wire.error = True, False, False, None
            rig.port_is_open = True
            rig.wire._queue.clear()
            rig.device.control.clear()
            self.witness.cleared()
        if what in {"box", "all"}:
            rig.journal.before = rig.journal.after = lambda _: None
            if rig.journal.lockout() is not None:
                rig.journal.clear_lockout("electrician", Stamp.of(rig.clock))
        self.pass_time(1.0)

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


SIZE = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a shorter run takes minutes to find
)


class AnyOrderAtLength(AnyOrder):
    """The same with more lives: hypothesis keeps one test case for each class."""


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = SIZE
TestAnyOrderAtLength = pytest.mark.proof(AnyOrderAtLength.TestCase)
TestAnyOrderAtLength.settings = settings(SIZE, max_examples=150)


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
