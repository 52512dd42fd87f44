"""The life of a command: every step in order, one at a time, once."""

import random
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from agent.executor import FAST_S, IDLE_S, Offer
from bms_can.commands import Command, CommandState, Reason
from bms_can.pack import Phase
from bms_can.profile import CommandCode
from tests.agent.rig import (
    CLOSE,
    CONTROL_ID,
    OPEN,
    RESET,
    UID,
    Rig,
    quick_profile,
    quick_rig,
    warm_rig,
)

S, R = CommandState, Reason
WHOLE_LIFE = [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD]
ALL = pytest.mark.parametrize("code", list(CommandCode))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed, and short waits."""
    return quick_rig(tmp_path)


def prepared(rig: Rig, code: CommandCode) -> Rig:
    """Return the bench with something to do for a command."""
    rig.give_work(code)
    return rig


def sent_frames(rig: Rig, code: CommandCode) -> list[dict[str, object]]:
    """Return the frames of a command as the evidence names them."""
    return [
        {"at_s": round(each.at_s, 6), "frame": f"{CONTROL_ID:08X}#{each.data.hex().upper()}"}
        for each in rig.frames(code)
    ]


# --- the straight way


@ALL
def test_a_command_lives_to_held(rig: Rig, code: CommandCode) -> None:
    """Each command goes through every state once, with three frames on the wire."""
    identity = prepared(rig, code).do(code)
    assert rig.life(identity) == WHOLE_LIFE
    assert len(rig.frames(code)) == len(rig.frames()) == 3
    assert rig.journal.verify() == []


@ALL
def test_each_step_carries_its_evidence(rig: Rig, code: CommandCode) -> None:
    """Interlocks at the gate, the frame with its echo, the answer, newer frames as the proof."""
    identity = prepared(rig, code).do(code)
    gated, sent, answered, proven, held = (
        rig.event(identity, state).evidence
        for state in (S.GATED, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD)
    )
    interlocks = gated["interlocks"]
    assert isinstance(interlocks, list)
    assert all(check["passed"] for check in interlocks)
    first = rig.frames()[0]
    assert sent == {"frames": sent_frames(rig, code)[:1], "echo": True}
    for found in (answered["answer"], proven["confirmed_by"], held["confirmed_by"]):
        assert isinstance(found, list)
        assert all(each["at_s"] > first.at_s for each in found)
    assert len(cast("list[object]", proven["confirmed_by"])) >= 3
    assert len(cast("list[object]", proven["frames"])) == 3


@ALL
def test_what_is_so_already_needs_no_frame(rig: Rig, code: CommandCode) -> None:
    """A command whose effect is on the bus succeeds as a no-op, and is still watched."""
    if code is CLOSE:
        rig.close_by_hand()
    identity = rig.offer(code)
    rig.run(0.01)
    assert rig.outcome(identity) == (S.SUCCEEDED, R.NO_OP)
    assert rig.entry(identity).detail == "already so; no frame was sent"
    shown = cast("dict[str, object]", rig.event(identity, S.SUCCEEDED).evidence["status"])
    assert (shown["operating_status"], shown["alarms"]) == (2 if code is CLOSE else 1, [])
    assert shown["contactor"] == ("closed" if code is CLOSE else "open")
    rig.run(3.0)
    assert rig.life(identity) == [S.ACCEPTED, S.SUCCEEDED, S.HELD]
    assert rig.frames() == []


def test_news_is_announced_at_each_row(rig: Rig) -> None:
    """The platform is told of every new row at once."""
    rig.do(CLOSE)
    assert rig.events == len(WHOLE_LIFE)


def test_the_next_look_is_soon_while_a_command_is_in_flight(rig: Rig) -> None:
    """Idle, the executor wants to be called ten times a second; busy, every 5 ms."""
    assert rig.executor.step() == IDLE_S
    rig.offer(CLOSE)
    assert rig.executor.step() == FAST_S
    assert rig.executor.busy


def test_a_silent_battery_is_opened_all_the_same(rig: Rig) -> None:
    """An open needs no fresh frame to go out; without frames it is never called done."""
    rig.close_by_hand()
    rig.misbehave("silent")
    rig.run(2.0)
    identity = rig.do(OPEN, 6.0)
    assert len(rig.frames(OPEN)) == 3
    assert rig.outcome(identity) == (S.TIMED_OUT, R.NO_EFFECT)
    assert "silent" in rig.entry(identity).detail


def test_a_close_is_never_repeated_by_itself(rig: Rig) -> None:
    """A close that the battery ignores times out after one session, and nothing follows."""
    rig.misbehave("ignore_close")
    identity = rig.do(CLOSE, 20.0)
    assert rig.state(identity) is S.TIMED_OUT
    assert len(rig.frames()) == 3


def test_a_command_that_the_profile_lacks_is_refused(tmp_path: Path) -> None:
    """A battery without a fault reset rejects it, whatever is in flight."""
    profile = quick_profile()
    commands = {code: plan for code, plan in profile.commands.items() if code is CLOSE}
    rig = quick_rig(tmp_path, replace(profile, commands=commands))
    reset = rig.do(RESET, 0.1)
    assert rig.outcome(reset) == (S.REJECTED, R.INCONSISTENT_PARAMETERS)
    close = rig.do(CLOSE, 0.1)
    opening = rig.do(OPEN, 0.1)
    assert rig.outcome(opening) == (S.REJECTED, R.COMMAND_ALREADY_IN_EXECUTION)
    rig.run(3.0)
    assert rig.state(close) is S.HELD


# --- expiry


@ALL
def test_a_dead_command_never_starts(rig: Rig, code: CommandCode) -> None:
    """A command whose life was over on arrival expires without a frame."""
    identity = prepared(rig, code).offer(code, life_s=0.0)
    rig.run(1.0)
    assert rig.life(identity) == [S.ACCEPTED, S.EXPIRED]
    assert rig.entry(identity).reason is R.TIME_LIMIT_OVER
    assert rig.frames() == []


@ALL
def test_a_command_of_another_boot_is_dead(rig: Rig, code: CommandCode) -> None:
    """A deadline of another start of the machine says nothing here: the command is over."""
    prepared(rig, code)
    command = Command("old", code, UID, "op", 1, rig.clock.monotonic_s() + 9.0, "boot-0")
    rig.executor.offer(Offer(command))
    rig.run(1.0)
    assert rig.life("old") == [S.ACCEPTED, S.EXPIRED]
    assert "before this start of the machine" in rig.entry("old").detail
    assert rig.frames() == []


# --- one at a time


@pytest.mark.parametrize("first", [CLOSE, RESET, OPEN])
@pytest.mark.parametrize("second", [CLOSE, RESET, OPEN])
def test_a_second_command_is_refused_unless_it_opens(
    rig: Rig, first: CommandCode, second: CommandCode
) -> None:
    """One in flight; another is rejected at once, only an open takes the place of the others."""
    prepared(rig, first)
    if first is RESET:
        rig.gate.remember(CLOSE, rig.clock.monotonic_s())  # so that the open is no no-op
    one = rig.do(first, 0.05)
    assert rig.state(one) is S.ACKNOWLEDGED
    other = rig.do(second, 0.05)
    if second is OPEN and first is not OPEN:
        assert rig.outcome(one) == (S.FAILED, R.SUPERSEDED)
        told = f"1 frames went out; open {other} came before the effect was seen"
        assert rig.entry(one).detail == told
        assert rig.event(one, S.FAILED).evidence["frames"] == sent_frames(rig, first)
        assert len(rig.frames(first)) == 1
        assert len(rig.frames(OPEN)) == 1
    else:
        assert rig.outcome(other) == (S.REJECTED, R.COMMAND_ALREADY_IN_EXECUTION)
        assert rig.entry(other).detail == f"command {one} is under way"
        rig.run(3.0)
        assert rig.state(one) is S.HELD
        assert len(rig.frames(first)) == len(rig.frames()) == 3


@pytest.mark.parametrize("first", [CLOSE, RESET])
@pytest.mark.parametrize("at", [S.ACCEPTED, S.GATED, S.SENDING])
def test_an_open_comes_before_the_first_frame(
    rig: Rig, first: CommandCode, at: CommandState
) -> None:
    """An open that arrives while the other is being written cancels it: no frame of that."""
    prepared(rig, first)
    if first is RESET:
        rig.gate.remember(CLOSE, rig.clock.monotonic_s())  # so that the open is no no-op
    opening: list[str] = []

    def arrive(state: str) -> None:
        if state == at and not opening:
            opening.append(rig.offer(OPEN))

    rig.journal.after = arrive
    one = rig.do(first, 3.0)
    assert rig.outcome(one) == (S.CANCELLED, R.SUPERSEDED)
    assert rig.entry(one).detail == f"open {opening[0]} takes its place; no frame went out"
    assert rig.frames(first) == []
    assert rig.state(opening[0]) is S.HELD


def test_an_open_with_nothing_to_do_ends_no_reset(rig: Rig) -> None:
    """An open that is a no-op leaves a reset alone."""
    reset = prepared(rig, RESET).do(RESET, 0.05)
    opening = rig.do(OPEN)
    assert rig.life(opening) == [S.ACCEPTED, S.SUCCEEDED, S.HELD]
    assert rig.life(reset) == WHOLE_LIFE


def test_an_open_just_after_a_close_is_no_no_op(rig: Rig) -> None:
    """The contactor still shows open when the open comes, yet the close is on its way."""
    close = rig.do(CLOSE, 0.02)
    assert rig.status.operating == 1
    opening = rig.do(OPEN)
    assert rig.outcome(close) == (S.FAILED, R.SUPERSEDED)
    assert rig.life(opening) == WHOLE_LIFE
    assert rig.pack.phase is Phase.OPEN


@pytest.mark.parametrize("doubt", ["lost frame", "other master", "recent close", "unknown close"])
def test_an_open_goes_out_while_a_close_may_come(rig: Rig, doubt: str) -> None:
    """In doubt an open is sent though the battery shows open: it costs nothing."""
    if doubt == "lost frame":
        rig.device.control.unsafe = "a frame of ours may wait in a queue"
    elif doubt == "other master":
        rig.master_elsewhere()
    elif doubt == "recent close":
        rig.misbehave("ignore_close")
        rig.do(CLOSE, 6.0)
    else:
        rig.wire.deaf = True
        rig.do(CLOSE, 0.02)
        rig.restart()
        rig.wire.deaf = False
        rig.run(1.0)
        rig.gate.sent.clear()  # as after a reboot, when the wall clock says that it is long ago
    assert rig.status.operating == 1
    opening = rig.do(OPEN)
    assert len(rig.frames(OPEN)) == 3
    assert rig.life(opening)[-1] is S.HELD


def test_long_after_a_close_an_open_may_be_a_no_op(rig: Rig) -> None:
    """A minute after an ineffective close, what is open is open."""
    rig.misbehave("ignore_close")
    rig.do(CLOSE, 61.0)
    opening = rig.do(OPEN)
    assert rig.life(opening) == [S.ACCEPTED, S.SUCCEEDED, S.HELD]


@pytest.mark.parametrize("dead", ["expired", "cancelled"])
def test_a_dead_open_takes_no_place(rig: Rig, dead: str) -> None:
    """An open that will not go out ends nothing that is under way."""
    close = rig.do(CLOSE, 0.05)
    opening = rig.offer(
        OPEN, life_s=0.0 if dead == "expired" else None, cancelled=dead == "cancelled"
    )
    rig.run(3.0)
    assert rig.state(opening) is (S.EXPIRED if dead == "expired" else S.CANCELLED)
    assert rig.state(close) is S.HELD
    assert len(rig.frames(CLOSE)) == 3


# --- withdrawal


@ALL
def test_a_command_withdrawn_on_arrival(rig: Rig, code: CommandCode) -> None:
    """A command that comes with its withdrawal never starts."""
    identity = prepared(rig, code).offer(code, cancelled=True)
    rig.run(1.0)
    assert rig.outcome(identity) == (S.CANCELLED, R.CANCELLED_BY_PLATFORM)
    assert rig.frames() == []


@ALL
@pytest.mark.parametrize("at", [S.ACCEPTED, S.GATED, S.SENDING])
def test_a_withdrawal_in_time(rig: Rig, code: CommandCode, at: CommandState) -> None:
    """A withdrawal that arrives while a row is being written comes before the frame."""
    prepared(rig, code)

    def withdraw(state: str) -> None:
        if state == at:
            rig.offer(code, "one", cancelled=True)

    rig.journal.after = withdraw
    rig.offer(code, "one")
    rig.run(1.0)
    assert rig.outcome("one") == (S.CANCELLED, R.CANCELLED_BY_PLATFORM)
    assert rig.entry("one").detail == "withdrawn before any frame"
    assert rig.frames() == []


@ALL
def test_a_withdrawal_too_late(rig: Rig, code: CommandCode) -> None:
    """Once a frame is out, a withdrawal changes nothing: the truth is what the battery does."""
    identity = prepared(rig, code).do(code, 0.05)
    for _ in range(5):
        rig.offer(code, identity, cancelled=True)
        rig.run(1.0)
    assert rig.life(identity) == WHOLE_LIFE


# --- the same id again


@ALL
def test_a_command_offered_a_thousand_times_goes_out_once(rig: Rig, code: CommandCode) -> None:
    """Every poll offers what is unfinished again: one session, one life."""
    prepared(rig, code)
    chance = random.Random(7)  # noqa: S311 - spreads the offers
    for _ in range(100):
        for _ in range(10):
            rig.offer(code, "one", life_s=chance.choice((0.0, 5.0, 60.0)) or 60.0)
        rig.run(chance.choice((0.0, 0.003, 0.1)))
    rig.run(5.0)
    assert rig.life("one") == WHOLE_LIFE
    assert len(rig.frames()) == 3


def test_many_ids_in_any_order_many_times(rig: Rig) -> None:
    """Shuffled repetitions of many ids: none has more than one session."""
    chance = random.Random(11)  # noqa: S311 - shuffles the offers
    codes = {f"id-{number}": chance.choice(list(CommandCode)) for number in range(30)}
    for _ in range(40):
        for identity in chance.sample(sorted(codes), 20):
            rig.offer(codes[identity], identity)
        rig.run(chance.choice((0.001, 0.05, 0.5)))
    rig.run(10.0)
    lives = {identity: rig.life(identity) for identity in codes}
    assert all(
        life.count(S.SENDING) <= 1 and len(set(life)) == len(life) for life in lives.values()
    )
    sessions = sum(S.SENT in life for life in lives.values())
    assert sessions <= len(rig.frames()) <= 3 * sessions
    assert rig.unfinished() == []


@pytest.mark.parametrize("later_s", [0.05, 3.0])
def test_the_same_id_for_something_else_changes_nothing(rig: Rig, later_s: float) -> None:
    """An id that comes back as another command is refused and written down, also in flight."""
    rig.offer(CLOSE, "one")
    rig.run(later_s)
    for code in (OPEN, RESET):
        rig.offer(code, "one", cancelled=True)
    rig.run(3.0)
    assert rig.life("one") == WHOLE_LIFE
    assert [each.kind for each in rig.journal.events("one")].count("conflict") == 2
    assert len(rig.frames(CLOSE)) == len(rig.frames()) == 3


def test_the_withdrawal_of_another_command_withdraws_nothing(rig: Rig) -> None:
    """An id with another code is not the command in flight, also when it says "cancelled"."""
    rig.pack.request_current(100.0)
    rig.close_by_hand()
    rig.offer(OPEN, "one")
    rig.run(1.0)
    rig.offer(CLOSE, "one", cancelled=True)
    rig.run(10.0)
    assert rig.life("one") == WHOLE_LIFE


# --- opening under load


def loaded_rig(folder: Path) -> Rig:
    """Return a bench with a battery that is being charged with 100 A."""
    rig = quick_rig(folder)
    rig.close_by_hand()
    rig.pack.request_current(100.0)
    rig.run(2.0)
    return rig


def test_an_open_waits_for_the_current_to_fall(tmp_path: Path) -> None:
    """Under load an open waits; it goes out as soon as the current is low."""
    rig = loaded_rig(tmp_path)
    identity = rig.do(OPEN, 3.0)
    assert rig.frames() == []
    assert rig.executor.busy
    rig.pack.request_current(0.0)
    rig.run(0.2)
    assert rig.frames(OPEN)
    assert "under_load" not in rig.event(identity, S.GATED).evidence
    rig.run(3.0)
    assert rig.life(identity) == WHOLE_LIFE


@pytest.mark.parametrize(("life_s", "wait_s"), [(60.0, 7.0), (3.0, 2.5)])
def test_an_open_goes_out_under_load_at_last(tmp_path: Path, life_s: float, wait_s: float) -> None:
    """After seven seconds, or just before the end of its life, it opens and says under load."""
    rig = loaded_rig(tmp_path)
    offered_s = rig.clock.monotonic_s()
    identity = rig.offer(OPEN, life_s=life_s)
    rig.run(10.0)
    assert rig.frames()[0].at_s == pytest.approx(offered_s + wait_s, abs=0.02)
    (load,) = cast("list[dict[str, object]]", rig.event(identity, S.GATED).evidence["under_load"])
    assert load["value"] == "100 A"
    assert load["subject"] == "BAU_Electrical.total_current"
    assert rig.life(identity) == WHOLE_LIFE


def test_an_unknown_current_does_not_wait(tmp_path: Path) -> None:
    """With the current unknown the open goes out at once: late is worse than blind."""
    rig = loaded_rig(tmp_path)
    rig.misbehave("silent=BAU_Electrical")
    rig.run(1.0)
    rig.do(OPEN, 0.01)
    assert len(rig.frames(OPEN)) == 1


def test_a_waiting_open_can_be_withdrawn(tmp_path: Path) -> None:
    """While it waits for the current, no frame is out: a withdrawal counts."""
    rig = loaded_rig(tmp_path)
    identity = rig.do(OPEN, 3.0)
    rig.offer(OPEN, identity, cancelled=True)
    rig.offer(OPEN, identity)  # an older answer that was on its way changes nothing
    rig.run(10.0)
    assert rig.life(identity) == [S.ACCEPTED, S.CANCELLED]
    assert rig.frames() == []


# --- listening only


@ALL
def test_a_listening_device_sends_nothing(tmp_path: Path, code: CommandCode) -> None:
    """Read-only rejects every command, also one that would be a no-op."""
    rig = warm_rig(tmp_path, read_only=True)
    identity = rig.do(code, 1.0)
    assert rig.outcome(identity) == (S.REJECTED, R.READ_ONLY)
    judged = cast("list[dict[str, object]]", rig.event(identity, S.REJECTED).evidence["interlocks"])
    assert not all(check["passed"] for check in judged)
    assert rig.frames() == []
