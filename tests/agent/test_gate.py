"""The gate: every refusal is written down with what decided, and opening stays possible."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from agent.errors import JournalFailed
from agent.gate import CLOSE_MAY_COME_S, REMEMBERED, Box, Gate, sent_before
from agent.journal_rows import Stamp
from bms_can.commands import CommandState, Reason
from bms_can.interlocks import Sent
from bms_can.profile import CommandCode
from bms_can.situation import Check
from tests.agent.rig import CLOSE, OPEN, RESET, Rig, quick_profile, quick_rig, warm_rig, with_rules

S, R = CommandState, Reason


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed."""
    return quick_rig(tmp_path)


class Block(NamedTuple):
    """Something that keeps a close in the box, and what the record says of it.

    Attributes:
        value: part of what was seen; `aged`: its age is in the record.
    """

    name: str
    happen: Callable[[Rig], None]
    rule: str
    reason: Reason
    subject: str
    value: str
    aged: bool = True
    resets: bool = False  # keeps a reset in the box too


def unsafe(rig: Rig) -> None:
    """Latch the transmit path."""
    rig.device.control.unsafe = "no echo"


def passive(rig: Rig) -> None:
    """Let nobody on the bus acknowledge."""
    rig.gate._device = replace(rig.device, bus_doubt=lambda: "error-passive")


def doubt(rig: Rig) -> None:
    """Let the journal be one that rows are missing from."""
    rig.gate._doubt = lambda: "rows are missing"


def half_close(rig: Rig) -> None:
    """Start to close by hand: the feedback is neither open nor closed."""
    rig.pack.command(CLOSE, rig.clock.monotonic_s())
    rig.run(0.2)


def seen(action: Callable[[Rig], None], seconds: float = 0.5) -> Callable[[Rig], None]:
    """Return what does something and waits until the agent has heard of it."""

    def happen(rig: Rig) -> None:
        action(rig)
        rig.run(seconds)

    return happen


def gap(rig: Rig) -> None:
    """Let one message be silent for a moment."""
    rig.misbehave("silent=BAU_Alarms")
    rig.run(1.3)
    rig.misbehave()
    rig.run(0.25)


BLOCKS = [
    Block("lock-out", Rig.lock_out, "local lock-out", R.LOCAL_LOCKOUT, "local lock-out",
          "work on the busbar", aged=False, resets=True),
    Block("journal", doubt, "journal", R.JOURNAL_FAILED, "journal",
        "rows are missing", aged=False, resets=True),
    Block("lost frame", unsafe, "transmit path", R.BLOCKED_BY_HEALTH, "transmit path", "no echo",
          aged=False, resets=True),
    Block("passive", passive, "bus", R.BLOCKED_BY_HEALTH, "bus", "error-passive",
          aged=False, resets=True),
    Block("other master", Rig.master_elsewhere, "only master", R.LOCKED_BY_OTHER_CLIENT,
          "only master", "1811F4E5#0100", aged=False, resets=True),
    Block("gap", gap, "fresh", R.BLOCKED_BY_HEALTH, "BAU_Alarms", "steady for 0."),
    Block("silence", seen(lambda rig: rig.misbehave("silent"), 3.0), "fresh",
          R.BLOCKED_BY_HEALTH, "BAU_State", "steady for"),
    Block("local mode", seen(lambda rig: setattr(rig.pack, "remote", False)),
          "remote mode", R.BLOCKED_BY_MODE, "BAU_State.control_mode", "0", resets=True),
    Block("half closed", half_close, "contactor open", R.BLOCKED_BY_PROCESS,
          "operating_status", "unknown (contactor feedback is neither"),
    Block("emergency stop", seen(lambda rig: setattr(rig.pack, "emergency_stop", True)),
          "emergency stop released", R.BLOCKED_BY_INTERLOCKING, "BAU_State.emergency_stop", "1"),
    Block("alarm", seen(lambda rig: rig.pack.raise_alarm("cell_high_temp_alarm", 2)),
          "no alarm", R.BLOCKED_BY_INTERLOCKING, "alarms", "cell_high_temp_alarm"),
    Block("too many", lambda rig: rig.gate.sent.extend(
        [Sent(code, rig.clock.monotonic_s() - 60.0) for code in (CLOSE, RESET)] * 3),
        "rate", R.RATE_LIMITED, "", "3", aged=False, resets=True),
    Block("too soon", lambda rig: rig.gate.remember(CLOSE, rig.clock.monotonic_s() - 4.0),
          "interval", R.RATE_LIMITED, "close_contactor", "4.0 s ago"),
]  # fmt: skip
EACH = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)


def refused(rig: Rig, code: CommandCode) -> tuple[str, dict[str, object]]:
    """Offer a command that must be refused; return its id and the verdict that decided."""
    identity = rig.offer(code)
    rig.run(0.01)
    assert rig.life(identity) == [S.ACCEPTED, S.REJECTED]
    verdicts = rig.event(identity, S.REJECTED).evidence["interlocks"]
    found = cast("list[dict[str, object]]", verdicts)
    return identity, next(verdict for verdict in found if not verdict["passed"])


def test_read_only_is_said_once(tmp_path: Path) -> None:
    """The reason says it; the words beside it only say why."""
    rig = warm_rig(tmp_path, read_only=True)
    identity, _ = refused(rig, CLOSE)
    entry = rig.entry(identity)
    assert (entry.reason, entry.detail) == (R.READ_ONLY, "listen only")


def test_a_rule_named_like_its_subject_is_said_once() -> None:
    """No "lost frames: lost frames is ..."."""
    check = Check("journal", False, R.JOURNAL_FAILED, "journal", "disk full", None, "in order")  # noqa: FBT003 - field of a tuple
    assert Gate.words(check) == "journal: disk full; wanted in order"


@EACH
def test_a_refused_close_says_what_decided(rig: Rig, block: Block) -> None:
    """Rule, signal, value, age and what was wanted stand in the record and in the words."""
    block.happen(rig)
    identity, verdict = refused(rig, CLOSE)
    entry = rig.entry(identity)
    assert entry.reason is block.reason
    assert verdict["rule"] == block.rule
    assert block.subject in str(verdict["subject"])
    assert str(verdict["value"]).startswith(block.value)
    assert verdict["wanted"]
    assert (verdict["age_s"] is not None) is block.aged
    assert str(verdict["value"]) in entry.detail
    if verdict["age_s"] is not None:
        assert " s old; wanted " in entry.detail
    assert rig.frames() == []


@EACH
def test_a_reset_is_refused_for_its_own_reasons(rig: Rig, block: Block) -> None:
    """A reset needs a safe way out, remote mode and its rate; what it cures does not block it."""
    rig.give_work(RESET)
    rig.run(1.0)
    block.happen(rig)
    identity = rig.offer(RESET)
    rig.run(0.01)
    silent = block.name == "silence"
    assert (rig.state(identity) is S.REJECTED) is (block.resets or silent)
    assert bool(rig.frames()) is not (block.resets or silent)


@EACH
def test_nothing_of_that_keeps_an_open_in(rig: Rig, block: Block) -> None:
    """Whatever blocks a close, an open of a closed battery goes out at once."""
    rig.close_by_hand()
    block.happen(rig)
    rig.do(OPEN, 0.01)
    assert len(rig.frames(OPEN)) == 1


def test_a_battery_never_heard_is_not_closed(tmp_path: Path) -> None:
    """Right after the start nothing is known, and unknown is no."""
    rig = Rig(tmp_path)
    rig.misbehave("silent")
    _, verdict = refused(rig, CLOSE)
    assert (verdict["rule"], verdict["value"], verdict["age_s"]) == ("fresh", "unknown", None)


def test_a_tolerated_alarm(tmp_path: Path) -> None:
    """An alarm that the site tolerates blocks nothing."""
    rig = quick_rig(
        tmp_path, with_rules(quick_profile(), tolerated_alarms=frozenset({"cell_high_temp_alarm"}))
    )
    rig.pack.raise_alarm("cell_high_temp_alarm", 2)
    rig.run(0.5)
    assert rig.state(rig.do(CLOSE)) is S.HELD


def test_the_lock_out_speaks_for_itself(rig: Rig) -> None:
    """A lock-out is told in the words of the person who set it."""
    rig.lock_out("cable work until Friday")
    identity, _ = refused(rig, CLOSE)
    assert rig.entry(identity).detail == "local lock-out: cable work until Friday"


def test_the_box_is_read_where_it_is_not_given(rig: Rig) -> None:
    """A situation for people reads lock-out and journal itself; a given one is taken as it is."""
    now_s = rig.clock.monotonic_s()
    rig.lock_out("busbar")
    assert rig.gate.situation(now_s).lockout == "busbar"
    assert rig.gate.situation(now_s, Box("", "full")).lockout == ""
    assert rig.gate.situation(now_s, Box("", "full")).journal == "full"


def test_a_known_fault_of_the_journal_comes_first(rig: Rig) -> None:
    """What is known to be broken is not asked."""
    rig.gate.journal_fault = "disk I/O error"
    assert rig.gate.box() == Box("", "disk I/O error")


def test_a_lock_out_that_cannot_be_read_stops_the_command(rig: Rig) -> None:
    """Nobody knows whether there is a lock-out: no frame, and the journal counts as failing."""

    def fail() -> None:
        raise JournalFailed("disk I/O error")

    rig.on_box_read = fail
    identity = rig.do(CLOSE, 1.0)
    assert rig.frames() == []
    rig.on_box_read = lambda: None
    rig.run(1.0)
    assert rig.outcome(identity) == (S.EXPIRED, R.INTERRUPTED)


@pytest.mark.parametrize("code", [CLOSE, RESET])
def test_what_stops_a_session_under_way(rig: Rig, code: CommandCode) -> None:
    """Lock-out, lost frame, other master, journal: each stops a close or reset, none an open."""
    for happen in (
        Rig.lock_out,
        unsafe,
        Rig.master_elsewhere,
        lambda rig: setattr(rig.gate, "journal_fault", "full"),
    ):
        assert not rig.gate.stops(code)
        happen(rig)
        assert rig.gate.stops(code)
        assert not rig.gate.stops(OPEN)
        rig.restart()
        rig.device.control.clear()
        if rig.journal.lockout():
            rig.journal.clear_lockout("electrician", Stamp.of(rig.clock))


def test_a_close_may_come_for_a_minute(rig: Rig) -> None:
    """Only a close, only for a while."""
    now_s = rig.clock.monotonic_s()
    assert not rig.gate.may_be_closing(now_s)
    rig.gate.remember(RESET, now_s)
    assert not rig.gate.may_be_closing(now_s)
    rig.gate.remember(CLOSE, now_s)
    assert rig.gate.may_be_closing(now_s + CLOSE_MAY_COME_S - 0.001)
    assert not rig.gate.may_be_closing(now_s + CLOSE_MAY_COME_S + 0.001)


def test_memory_is_bounded(rig: Rig) -> None:
    """The newest commands are remembered, more than any limit counts."""
    for number in range(100):
        rig.gate.remember(CLOSE, float(number))
    assert len(rig.gate.sent) == REMEMBERED
    assert rig.gate.sent[0] == Sent(CLOSE, 36.0)


def test_what_was_sent_before(rig: Rig) -> None:
    """Closes and resets of the journal, oldest first; opens and other devices are left out."""
    rig.give_work(RESET)
    rig.do(RESET)
    rig.do(CLOSE)
    rig.do(OPEN)
    found = sent_before(rig.journal, "BAT-1", rig.clock)
    assert [each.code for each in found] == [RESET, CLOSE]
    sent_s = [rig.event(name, S.SENT).monotonic_s for name in ("fault-1", "close-2")]
    assert [each.at_s for each in found] == sent_s  # the frame left before that, never after
    assert sent_before(rig.journal, "OTHER", rig.clock) == []


def test_what_was_sent_just_before_a_crash(rig: Rig) -> None:
    """A frame whose command has no row after `sending` may have left a moment ago."""

    def die(state: str) -> None:
        if state == S.SENT:
            raise KeyboardInterrupt

    rig.journal.before = die
    with pytest.raises(KeyboardInterrupt):
        rig.do(CLOSE)
    rig.clock.advance(3.0)
    (found,) = sent_before(rig.journal, "BAT-1", rig.clock)
    assert found.at_s == rig.clock.monotonic_s()
    rig.clock.reboot(monotonic_s=10.0)
    (found,) = sent_before(rig.journal, "BAT-1", rig.clock)
    assert found.at_s == 0.0


def test_what_was_sent_before_a_reboot(rig: Rig) -> None:
    """The old monotonic time means nothing: the wall clock tells the age, at least the uptime."""
    rig.do(CLOSE)
    rig.clock.reboot(monotonic_s=10.0)
    rig.clock.step_wall(100.0)
    (found,) = sent_before(rig.journal, "BAT-1", rig.clock)
    assert found.at_s == pytest.approx(10.0 - 100.0 - rig.held_s, abs=0.1)
    rig.clock.step_wall(-(10.0**7))
    (found,) = sent_before(rig.journal, "BAT-1", rig.clock)
    assert found.at_s == 0.0
