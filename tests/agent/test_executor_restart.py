"""A restart sends nothing: killed at every row of every command, on this boot or the next one.

The kill is an error that nothing in the agent catches, thrown before or after the real commit; the
next life starts on the journal as it lies there.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.journal_rows import Stamp
from bms_can.commands import FINAL, CommandState, Reason
from bms_can.profile import CommandCode, Profile
from tests.agent.rig import CLOSE, OPEN, RESET, Rig, quick_profile, quick_rig, with_rules

S, R = CommandState, Reason
WHOLE_LIFE = [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD]
ALL = pytest.mark.parametrize("code", list(CommandCode))
BOOTS = pytest.mark.parametrize("boot_id", ["", "boot-2"], ids=["same boot", "another boot"])


class Killed(Exception):
    """The process is gone."""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed, and short windows."""
    return quick_rig(tmp_path)


def kill_at(rig: Rig, code: CommandCode, at: CommandState, *, after: bool) -> str:
    """Run a command until the write of a state, and no further; return its id."""

    def kill(state: str) -> None:
        if state == at:
            raise Killed

    if after:
        rig.journal.after = kill
    else:
        rig.journal.before = kill
    identity = rig.offer(code)
    with pytest.raises(Killed):
        rig.run(20.0)
    return identity


def start_again(rig: Rig, boot_id: str) -> int:
    """Start the agent anew, with the platform offering everything; return the frames until now."""
    rig.restart(boot_id=boot_id)
    before = len(rig.frames())
    rig.offer_again()
    return before


def without_close(profile: Profile) -> Profile:
    """Return a profile that lost its close."""
    commands = {code: plan for code, plan in profile.commands.items() if code is not CLOSE}
    return replace(profile, commands=commands)


def settle(rig: Rig) -> None:
    """Let time pass while the platform keeps offering what is unfinished."""
    for _ in range(4):
        rig.run(2.0)
        rig.offer_again()


@ALL
@BOOTS
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("at", WHOLE_LIFE[1:])
def test_a_kill_at_any_row(
    rig: Rig,
    code: CommandCode,
    boot_id: str,
    after: bool,  # noqa: FBT001 - a parameter of the table
    at: CommandState,
) -> None:
    """Whatever the last durable row is, the next life sends nothing and finds the true end."""
    rig.give_work(code)
    identity = kill_at(rig, code, at, after=after)
    last = at if after else WHOLE_LIFE[WHOLE_LIFE.index(at) - 1]
    assert rig.life(identity) == WHOLE_LIFE[: WHOLE_LIFE.index(last) + 1]
    sent = start_again(rig, boot_id)
    settle(rig)
    assert len(rig.frames()) == sent
    assert rig.state(identity) in FINAL
    end = rig.life(identity)[WHOLE_LIFE.index(last) + 1 :]
    if last in {S.ACCEPTED, S.GATED}:
        assert end == [S.EXPIRED]
        assert rig.entry(identity).reason is R.INTERRUPTED
    elif last is S.SENDING and not sent:
        assert end == [S.UNKNOWN, S.FAILED]
        assert rig.entry(identity).reason is R.NO_EFFECT
    elif last in {S.SENDING, S.SENT, S.ACKNOWLEDGED}:
        assert end == [S.UNKNOWN, S.SUCCEEDED, S.HELD]
    else:
        assert end == ([S.HELD] if last is S.SUCCEEDED else [])
    assert rig.journal.verify() == []


@ALL
@BOOTS
def test_a_kill_before_anything_was_written(rig: Rig, code: CommandCode, boot_id: str) -> None:
    """A command that left no row was never here: when it is offered again, it goes out, once."""
    rig.give_work(code)
    identity = kill_at(rig, code, S.ACCEPTED, after=False)
    rig.restart(boot_id=boot_id)
    rig.run(5.0)
    assert rig.frames() == []
    for _ in range(6):
        rig.offer_again(life_s=3.0)
        rig.run(1.0)
    assert rig.life(identity) == WHOLE_LIFE
    assert len(rig.frames()) == 3


@ALL
@pytest.mark.parametrize("at", [S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED])
def test_five_restarts_in_a_row(rig: Rig, code: CommandCode, at: CommandState) -> None:
    """A box that keeps falling over sends nothing more and settles when it stays up."""
    rig.give_work(code)
    identity = kill_at(rig, code, at, after=False)
    for number in range(5):
        rig.restart(boot_id="" if number % 2 else f"boot-{number}")
        rig.offer_again()
        rig.run(0.05)
    sent = len(rig.frames())
    settle(rig)
    assert len(rig.frames()) == sent == (3 if at is S.SUCCEEDED and code is CLOSE else sent)
    assert rig.state(identity) is S.HELD
    assert rig.life(identity).count(S.UNKNOWN) <= 1


@ALL
def test_silence_settles_nothing(rig: Rig, code: CommandCode) -> None:
    """An interrupted command stays unknown while the battery is silent, however long."""
    rig.give_work(code)
    identity = kill_at(rig, code, S.SENT, after=False)
    rig.misbehave("silent")
    sent = start_again(rig, "")
    for _ in range(5):
        rig.run(30.0)
        rig.offer_again()
    assert rig.outcome(identity) == (S.UNKNOWN, R.INTERRUPTED)
    rig.misbehave()
    rig.run(3.0)
    assert rig.life(identity)[-2:] == [S.SUCCEEDED, S.HELD]
    assert len(rig.frames()) == sent


def test_the_window_of_an_unknown_command_counts_heard_time_only(rig: Rig) -> None:
    """Without an effect, the end is `failed` after a whole window in which the BMS was heard."""
    rig.wire.deaf = True
    identity = kill_at(rig, CLOSE, S.SENT, after=False)
    start_again(rig, "")
    for _ in range(4):
        rig.run(0.5)
        rig.misbehave("silent")
        rig.run(10.0)
        assert rig.state(identity) is S.UNKNOWN
        rig.misbehave()
    rig.run(5.0)
    assert rig.outcome(identity) == (S.FAILED, R.NO_EFFECT)
    assert "after the interruption: operating_status is 1, not 2 or 3 or 4" in (
        rig.entry(identity).detail
    )


def test_a_pause_of_the_process_is_not_listening(rig: Rig) -> None:
    """A process that stands still for a minute has not listened for a minute."""
    rig.wire.deaf = True
    identity = kill_at(rig, CLOSE, S.SENT, after=False)
    start_again(rig, "")
    rig.run(1.0)
    for _ in range(3):
        rig.bus_goes_on(60.0)
        rig.run(0.2)
    assert rig.state(identity) is S.UNKNOWN


@BOOTS
def test_a_hold_cut_by_a_command_that_was_going_out(rig: Rig, boot_id: str) -> None:
    """Killed between the frame of an open and the end of the close's hold: nothing "reverted"."""
    close = rig.do(CLOSE, 1.0)
    assert rig.state(close) is S.SUCCEEDED
    opening = kill_at(rig, OPEN, S.HELD, after=False)
    assert len(rig.frames(OPEN)) == 1
    start_again(rig, boot_id)
    settle(rig)
    assert rig.life(close) == WHOLE_LIFE
    assert rig.outcome(close) == (S.HELD, R.SUPERSEDED)
    assert rig.life(opening)[-3:] == [S.UNKNOWN, S.SUCCEEDED, S.HELD]
    assert len(rig.frames(OPEN)) == 1


def test_a_new_command_ends_an_unknown_one(rig: Rig) -> None:
    """When a new command goes out, the old one can no longer be told apart from it."""
    rig.wire.deaf = True
    old = kill_at(rig, CLOSE, S.SENT, after=False)
    rig.restart()
    rig.wire.deaf = False
    rig.run(1.0)
    assert rig.state(old) is S.UNKNOWN
    opening = rig.do(OPEN)
    assert rig.outcome(old) == (S.FAILED, R.SUPERSEDED)
    assert opening in rig.entry(old).detail
    assert rig.state(opening) is S.HELD


def test_a_profile_that_lost_a_command(rig: Rig) -> None:
    """What cannot be judged any more is said to be so, and a success stays one."""
    rig.wire.deaf = True
    lost = kill_at(rig, CLOSE, S.SENT, after=False)
    rig.stop()
    rig.wire.deaf = False
    rig.profile = without_close(rig.profile)
    rig.start()
    rig.run(1.0)
    assert rig.outcome(lost) == (S.FAILED, R.INCONSISTENT_PARAMETERS)


def test_a_success_whose_command_the_profile_lost(rig: Rig) -> None:
    """A success stays a success when nothing can tell any more whether it lasts."""
    done = rig.do(CLOSE, 1.0)
    rig.stop()
    rig.profile = without_close(rig.profile)
    rig.start()
    rig.run(5.0)
    assert rig.state(done) is S.SUCCEEDED


# --- rate limits


@pytest.fixture
def worn(tmp_path: Path) -> Rig:
    """Return a bench on which as many closes went out as may: here one a minute."""
    profile = with_rules(quick_profile(), close_max=1, close_window_s=60.0)
    rig = quick_rig(tmp_path, profile)
    assert rig.state(rig.do(CLOSE, 5.5)) is S.HELD
    assert rig.state(rig.do(OPEN, 5.5)) is S.HELD
    return rig


def refused_for_rate(rig: Rig, code: CommandCode = CLOSE) -> bool:
    """Tell whether a command is refused because there were too many."""
    return rig.outcome(rig.do(code, 0.1)) == (S.REJECTED, R.RATE_LIMITED)


def test_a_hundred_closes_in_a_minute(rig: Rig) -> None:
    """However many are asked for, three go out in ten minutes."""
    rig.misbehave("refuse_close")
    for _ in range(100):
        rig.do(CLOSE, 0.6)
    ends = [rig.outcome(identity) for identity in rig.offered]
    assert ends.count((S.FAILED, R.BLOCKED_BY_PROCESS)) == len(rig.frames()) == 3
    assert ends.count((S.REJECTED, R.RATE_LIMITED)) >= 50


def test_the_rate_survives_a_restart(worn: Rig) -> None:
    """A restarted agent knows the closes that went out, also behind a hundred refused ones."""
    assert refused_for_rate(worn)
    for _ in range(100):
        worn.do(CLOSE, 0.01)
    for _ in range(2):
        worn.restart()
        worn.run(5.0)
        assert refused_for_rate(worn)


def test_opens_push_no_close_out_of_memory(worn: Rig) -> None:
    """Opens are not limited, and do not make the box forget closes."""
    for number in range(70):
        worn.gate.remember(OPEN, float(number))
    assert refused_for_rate(worn)


def test_the_rate_survives_a_reboot(worn: Rig) -> None:
    """After a reboot a close is at least as old as the boot, and older by the wall clock."""
    worn.restart(boot_id="boot-2")
    worn.run(5.0)
    assert refused_for_rate(worn)
    worn.run(60.0)
    assert worn.state(worn.do(CLOSE)) is S.HELD


def test_a_wall_clock_set_back_forgives_nothing(worn: Rig) -> None:
    """A clock that says that the closes are yet to come does not make them older."""
    worn.clock.step_wall(-10 * 365 * 86_400.0)
    worn.restart(boot_id="boot-2")
    worn.run(5.0)
    assert refused_for_rate(worn)


def test_the_rate_ends_on_the_same_boot(worn: Rig) -> None:
    """After the window, a close may go out, also by an agent that was restarted meanwhile."""
    worn.restart()
    worn.run(50.0)
    assert worn.state(worn.do(CLOSE)) is S.HELD


@pytest.mark.parametrize("after", [False, True], ids=["before the row", "after the row"])
def test_the_interval_counts_from_the_frame(tmp_path: Path, *, after: bool) -> None:
    """A slow disk between the row and its frame brings no close nearer after a restart.

    Found by the simulation (seed 45): the second frame left 9.884 s after the first one.
    """
    rig = quick_rig(tmp_path, with_rules(quick_profile(), close_interval_s=10.0))
    rig.misbehave("ignore_close")

    def happen(state: str) -> None:
        if state == S.SENDING:
            rig.bus_goes_on(3.0)

    if after:
        rig.journal.before = happen
    else:
        rig.journal.after = happen
    kill_at(rig, CLOSE, S.SENT, after=after)
    (first,) = rig.frames()
    rig.restart()
    while rig.clock.monotonic_s() < first.at_s + 20.0 and len(rig.frames()) == 1:
        rig.do(CLOSE, 0.5)
    assert rig.frames()[1].at_s >= first.at_s + 10.0


def test_what_never_went_out_does_not_count(rig: Rig) -> None:
    """Commands that were stopped after their row `sending` use up no rate, also after a restart."""
    for _ in range(4):
        rig.journal.after = lambda state: rig.lock_out() if state == S.SENDING else None
        assert rig.outcome(rig.do(CLOSE, 0.1)) == (S.REJECTED, R.LOCAL_LOCKOUT)
        rig.journal.clear_lockout("electrician", Stamp.of(rig.clock))
    rig.restart()
    rig.run(5.0)
    assert rig.state(rig.do(CLOSE)) is S.HELD


def test_resets_are_limited_across_a_restart(tmp_path: Path) -> None:
    """Three resets an hour; a restart gives no fourth one."""
    rig = quick_rig(tmp_path, with_rules(quick_profile(), reset_max=1))
    rig.give_work(RESET)
    assert rig.state(rig.do(RESET)) is S.HELD
    rig.restart()
    rig.give_work(RESET)
    assert refused_for_rate(rig, RESET)
