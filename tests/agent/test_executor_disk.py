"""The life of a command on a disk that is slow or fails: no frame without a durable row before it.

What was true before a write is looked at again after it; what cannot be written is not done.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.errors import JournalFailed
from bms_can.commands import FINAL, CommandState, Reason
from bms_can.frame import Frame
from bms_can.pack import Pack
from bms_can.profile import CommandCode
from tests.agent.rig import CLOSE, LIFE_S, OPEN, RESET, Rig, quick_rig

S, R = CommandState, Reason
WHOLE_LIFE = [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD]
ALL = pytest.mark.parametrize("code", list(CommandCode))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed, and short windows."""
    return quick_rig(tmp_path)


def durable_states(rig: Rig, identity: str) -> list[str]:
    """Read the states of a command as another process sees them."""
    with closing(sqlite3.connect(rig.folder / "journal.db")) as db:
        query = "SELECT state FROM event WHERE command_id=? AND kind='command' ORDER BY seq"
        return [state for (state,) in db.execute(query, (identity,))]


def demand_durable_row(rig: Rig) -> list[Frame]:
    """Check at each frame that its row is there for everybody; return the frames without one."""
    bare: list[Frame] = []

    def check(frame: Frame) -> None:
        states = [durable_states(rig, identity) for identity in rig.offered]
        if not any("sending" in found for found in states):
            bare.append(frame)

    rig.wire.on_take = check
    return bare


def slow(rig: Rig, at: CommandState, seconds: float) -> None:
    """Let the commit of a state take so long, while the bus goes on."""

    def wait(state: str) -> None:
        if state == at:
            rig.bus_goes_on(seconds)

    rig.journal.after = wait


# --- slow


@ALL
@pytest.mark.parametrize("at", [S.ACCEPTED, S.GATED, S.SENDING])
def test_a_command_that_dies_during_a_write(rig: Rig, code: CommandCode, at: CommandState) -> None:
    """A life that ends while a row is being written ends without a frame."""
    rig.give_work(code)
    slow(rig, at, LIFE_S[code] + 0.001)
    identity = rig.do(code, 5.0)
    assert rig.outcome(identity) == (S.EXPIRED, R.TIME_LIMIT_OVER)
    assert rig.life(identity) == [*WHOLE_LIFE[: WHOLE_LIFE.index(at) + 1], S.EXPIRED]
    assert rig.frames() == []


@ALL
def test_a_command_that_dies_while_the_lock_out_is_read(rig: Rig, code: CommandCode) -> None:
    """The last look at the clock comes after the last wait for the disk."""
    rig.give_work(code)

    def wait() -> None:
        if rig.journal.unfinished("BAT-1")[0].state is S.SENDING:
            rig.bus_goes_on(LIFE_S[code])

    rig.on_box_read = wait
    identity = rig.do(code, 5.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.EXPIRED]
    assert rig.frames() == []


def test_a_slow_disk_before_the_deadline_does_no_harm(rig: Rig) -> None:
    """A close that is still alive after a slow write, with all interlocks passed, goes out."""
    slow(rig, S.SENDING, 5.0)
    identity = rig.do(CLOSE, 10.0)
    assert rig.life(identity) == WHOLE_LIFE


def test_the_expiry_is_looked_at_right_before_the_frame(rig: Rig) -> None:
    """Even a life that ends between the last judgement and the send ends without a frame."""
    remember = rig.gate.remember

    def late(code: CommandCode, now_s: float) -> None:
        remember(code, now_s)
        rig.clock.advance(LIFE_S[code])

    rig.gate.remember = late  # type: ignore[method-assign]  # the last call before the session
    identity = rig.do(CLOSE, 1.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.EXPIRED]
    assert rig.frames() == []


def test_a_frame_that_left_too_late_is_told(rig: Rig) -> None:
    """A process that stands still inside the send says so in the record."""
    rig.wire.on_take = lambda _: rig.clock.advance(LIFE_S[CLOSE])
    identity = rig.do(CLOSE, 0.01)
    rig.run(1.0)
    assert "held up" in rig.event(identity, S.SENT).detail
    assert len(rig.frames()) == 1


class Flip(NamedTuple):
    """Something that forbids a close, and what the refusal is called."""

    name: str
    happen: Callable[[Rig], None]
    reason: Reason


def on_pack(action: Callable[[Pack], object]) -> Callable[[Rig], None]:
    """Return what does something to the battery."""

    def happen(rig: Rig) -> None:
        action(rig.pack)

    return happen


def set_unsafe(rig: Rig) -> None:
    """Latch the transmit path."""
    rig.device.control.unsafe = "a lost frame"


FLIPS = [
    Flip("emergency stop", on_pack(Pack.press_emergency_stop), R.BLOCKED_BY_INTERLOCKING),
    Flip("local mode", on_pack(lambda pack: setattr(pack, "remote", False)), R.BLOCKED_BY_MODE),
    Flip(
        "alarm",
        on_pack(lambda pack: pack.raise_alarm("cell_high_temp_alarm", 2)),
        R.BLOCKED_BY_INTERLOCKING,
    ),
    Flip("closed by another", on_pack(lambda pack: pack.command(CLOSE, 1e9)), R.BLOCKED_BY_PROCESS),
    Flip("silence", lambda rig: rig.misbehave("silent"), R.BLOCKED_BY_HEALTH),
    Flip("one silent", lambda rig: rig.misbehave("silent=BAU_Alarms"), R.BLOCKED_BY_HEALTH),
    Flip("frozen", lambda rig: rig.misbehave("frozen_counter=BAU_State"), R.BLOCKED_BY_HEALTH),
    Flip("lock-out", Rig.lock_out, R.LOCAL_LOCKOUT),
    Flip("other master", Rig.master_elsewhere, R.LOCKED_BY_OTHER_CLIENT),
    Flip("lost frame", set_unsafe, R.BLOCKED_BY_HEALTH),
]


@pytest.mark.parametrize("flip", FLIPS, ids=lambda flip: flip.name)
def test_an_interlock_that_flips_during_the_write(rig: Rig, flip: Flip) -> None:
    """What forbids a close while its row is being written keeps the frame in the box."""

    def happen(state: str) -> None:
        if state == S.SENDING:
            flip.happen(rig)
            rig.bus_goes_on(2.0)

    rig.journal.after = happen
    identity = rig.do(CLOSE, 0.1)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.REJECTED]
    assert rig.entry(identity).reason is flip.reason
    assert rig.entry(identity).detail.startswith("changed while it was being written: ")
    judged = rig.event(identity, S.REJECTED).evidence["interlocks"]
    assert isinstance(judged, list)
    assert not all(check["passed"] for check in judged)
    assert rig.frames() == []


def test_an_interlock_that_flips_while_the_lock_out_is_read(rig: Rig) -> None:
    """The battery is looked at after the last wait for the disk, not before it."""
    reads: list[float] = []

    def wait() -> None:
        reads.append(rig.clock.monotonic_s())
        if len(reads) == 2:
            rig.pack.press_emergency_stop()
            rig.bus_goes_on(1.0)

    rig.on_box_read = wait
    identity = rig.do(CLOSE, 0.1)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.REJECTED]
    assert rig.frames() == []


def test_a_battery_that_falls_silent_while_the_lock_out_is_read(rig: Rig) -> None:
    """Ages are taken after the last wait for the disk: what was fresh before it is old now."""
    reads: list[float] = []

    def wait() -> None:
        reads.append(rig.clock.monotonic_s())
        if len(reads) == 2:
            rig.clock.advance(2.0)

    rig.on_box_read = wait
    identity = rig.do(CLOSE, 0.1)
    assert rig.outcome(identity) == (S.REJECTED, R.BLOCKED_BY_HEALTH)
    assert len(reads) == 2  # once at each judgement: none waits for the disk without need
    assert rig.frames() == []


def test_ending_an_older_watch_does_not_delay_the_frame(rig: Rig) -> None:
    """The row that ends the hold of an earlier command is written after the frame, not before."""
    rig.give_work(RESET)
    reset = rig.do(RESET, 0.8)
    assert rig.state(reset) is S.SUCCEEDED
    slow(rig, S.HELD, 60.0)
    rig.run(0.1)
    before_s = rig.clock.monotonic_s()
    close = rig.do(CLOSE, 0.01)
    assert rig.life(close)[:3] == [S.ACCEPTED, S.GATED, S.SENDING]
    assert rig.outcome(reset) == (S.HELD, R.SUPERSEDED)
    assert [frame.at_s for frame in rig.frames(CLOSE)] == [pytest.approx(before_s, abs=0.01)]


def test_a_repetition_looks_at_the_clock_after_the_lock_out(rig: Rig) -> None:
    """A slow read of the lock-out before a repetition cannot carry it past the deadline."""
    rig.offer(CLOSE, life_s=1.0)
    rig.run(0.05)
    rig.on_box_read = lambda: rig.bus_goes_on(1.0)
    rig.run(8.0)
    assert len(rig.frames(CLOSE)) == 1


# --- failing


class Failing:
    """Fails the write of one state, before or after its commit, for the given number of times."""

    def __init__(self, rig: Rig, at: CommandState, *, after: bool, times: float) -> None:
        self._at = at
        self._left = times
        if after:
            rig.journal.after = self
        else:
            rig.journal.before = self

    def __call__(self, state: str) -> None:
        """Fail if it is our state."""
        if state == self._at and self._left > 0:
            self._left -= 1
            raise JournalFailed("journal.db: disk I/O error")


# What has certainly not reached the bus when the write of this state fails.
BEFORE_THE_FRAME = {S.ACCEPTED, S.GATED, S.SENDING}


@ALL
@pytest.mark.parametrize("after", [False, True], ids=["not written", "written all the same"])
@pytest.mark.parametrize("at", WHOLE_LIFE)
def test_a_failing_commit(
    rig: Rig,
    code: CommandCode,
    at: CommandState,
    after: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """Whichever row cannot be written: no frame without a row, one session, a true end."""
    rig.give_work(code)
    bare = demand_durable_row(rig)
    Failing(rig, at, after=after, times=2)
    identity = rig.offer(code)
    for _ in range(8):  # the platform offers it again at each poll
        rig.run(1.0)
        rig.offer_again()
    assert bare == []
    assert rig.state(identity) in FINAL
    assert rig.life(identity).count(S.SENDING) <= 1
    lost_before = at in BEFORE_THE_FRAME and not (at is S.ACCEPTED and not after)
    if lost_before:
        assert rig.frames() == []
        assert rig.state(identity) in {S.EXPIRED, S.FAILED}
    else:
        assert 1 <= len(rig.frames()) <= 3
        assert rig.state(identity) is S.HELD
    assert rig.gate.journal_fault == ""
    rig.journal.before = rig.journal.after = lambda _: None
    assert rig.life(rig.do(OPEN, 4.0))[-1] is S.HELD


@ALL
def test_nothing_goes_out_while_the_disk_is_full(rig: Rig, code: CommandCode) -> None:
    """With a journal that takes nothing, no command goes out; when it works again, new ones do."""
    rig.give_work(code)

    def full(_: str) -> None:
        raise JournalFailed("journal.db: database or disk is full")

    rig.journal.before = full
    for _ in range(20):
        rig.offer(code, "one")
        rig.run(0.5)
    assert rig.frames() == []
    assert rig.journal.entry("one") is None
    assert "full" in rig.gate.journal_fault
    rig.journal.before = lambda _: None
    rig.run(1.0)
    assert rig.gate.journal_fault == ""
    rig.offer(code, "one")
    rig.run(4.0)
    assert rig.life("one") == WHOLE_LIFE
    assert len(rig.frames()) == 3
    (note,) = (each for each in rig.journal.log() if each.kind == "journal-failed")
    assert note.evidence == {"error": "journal.db: database or disk is full"}


def test_a_journal_fault_refuses_a_close(rig: Rig) -> None:
    """While the box knows of a fault of its journal, the interlock on it says no."""
    rig.gate.journal_fault = "journal.db: disk I/O error"
    rig.executor._resumed = True
    identity = rig.do(CLOSE, 0.1)
    assert rig.outcome(identity) == (S.REJECTED, R.JOURNAL_FAILED)
    assert rig.frames() == []


def test_repetitions_stop_when_the_lock_out_cannot_be_read(rig: Rig) -> None:
    """A close under way sends no more frames once the journal fails, and is settled by the bus."""
    identity = rig.do(CLOSE, 0.05)

    def fail() -> None:
        raise JournalFailed("journal.db: disk I/O error")

    rig.on_box_read = fail
    rig.run(0.2)
    rig.on_box_read = lambda: None
    rig.run(7.0)
    assert len(rig.frames()) == 1
    assert rig.life(identity) == [*WHOLE_LIFE[:5], S.UNKNOWN, S.SUCCEEDED, S.HELD]
    assert rig.event(identity, S.SUCCEEDED).reason is R.INTERRUPTED


def test_a_fault_while_resuming_is_tried_again(rig: Rig) -> None:
    """A start on a disk that fails sends nothing and goes on as soon as it can."""
    identity = rig.do(CLOSE, 0.05)
    rig.restart()
    Failing(rig, S.UNKNOWN, after=False, times=5)
    rig.run(0.3)
    assert rig.state(identity) is S.ACKNOWLEDGED
    rig.run(7.0)
    assert rig.life(identity) == [*WHOLE_LIFE[:5], S.UNKNOWN, S.SUCCEEDED, S.HELD]
    assert len(rig.frames()) == 1
