"""One command on the bus: echo, lease, answer, proof, window; through the whole control path."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from agent.echoes import ECHO_S
from agent.session import UNPROVEN
from bms_can.commands import CommandState, Reason
from bms_can.errors import SendFailed
from bms_can.frame import Frame
from bms_can.profile import CommandCode
from tests.agent.rig import (
    CLOSE,
    OPEN,
    RESET,
    Rig,
    ess_bau,
    quick_profile,
    quick_rig,
    warm_rig,
    with_plan,
    with_rules,
)
from tests.bms_can.build import Battery

S, R = CommandState, Reason
WHOLE_LIFE = [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD]
WINDOW_S = 5.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery, ready to be closed, and short waits."""
    return quick_rig(tmp_path)


def gaps_s(frames: list[Frame]) -> list[float]:
    """Return the times between frames [s]."""
    return [after.at_s - before.at_s for before, after in pairwise(frames)]


def counters(frames: list[Frame]) -> list[int]:
    """Return the rolling counters, low nibble of byte 6."""
    return [frame.data[6] & 0x0F for frame in frames]


# --- echo


def test_a_frame_counts_as_sent_only_with_its_echo(rig: Rig) -> None:
    """Until the frame is back the command is "sending", then "sent"."""
    identity = rig.offer(CLOSE)
    rig.wire.held = True
    rig.run(0.03)
    assert rig.state(identity) is S.SENDING
    rig.wire.held = False
    rig.run(0.01)
    assert rig.state(identity) is S.ACKNOWLEDGED
    assert rig.device.control.unsafe == ""


@pytest.mark.parametrize("code", list(CommandCode))
def test_a_lost_echo_fails_the_command_and_latches(rig: Rig, code: CommandCode) -> None:
    """No echo in 50 ms: failed, never sent, and the path is unsafe until a person clears it."""
    rig.give_work(code)
    rig.wire.held = True
    identity = rig.do(code, 0.04)
    assert rig.state(identity) is S.SENDING
    rig.run(0.03)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.FAILED]
    assert rig.entry(identity).reason is R.SEND_FAILED
    assert "may still wait in a queue" in rig.entry(identity).detail
    assert rig.device.control.unsafe.startswith(f"command {identity}: no echo")
    assert len(rig.frames()) == 1


@pytest.mark.parametrize("code", [CLOSE, RESET])
def test_after_a_lost_echo_only_an_open_goes_out(rig: Rig, code: CommandCode) -> None:
    """With a frame lost on the way, closes and resets are refused, opens are sent."""
    rig.wire.echo = False
    rig.do(CLOSE, 0.1)
    rig.wire.echo = True
    if code is RESET:
        rig.give_work(code)
    identity = rig.do(code, 0.1)
    assert rig.outcome(identity) == (S.REJECTED, R.BLOCKED_BY_HEALTH)
    assert "transmit path" in rig.entry(identity).detail
    opening = rig.do(OPEN)
    assert len(rig.frames(OPEN)) == 3
    assert rig.life(opening) == WHOLE_LIFE


def test_a_person_clears_the_latch(rig: Rig) -> None:
    """After a person has looked, a close may go out again."""
    rig.wire.held = True
    rig.do(CLOSE, 0.1)
    rig.wire._queue.clear()  # purged
    rig.wire.held = False
    rig.device.control.clear()
    rig.run(10.0)
    assert rig.life(rig.do(CLOSE)) == WHOLE_LIFE


def test_a_lost_echo_of_a_repetition_ends_the_lease(rig: Rig) -> None:
    """The second frame of a close does not come back: no third one, latched, proof still counts."""
    identity = rig.do(CLOSE, 0.05)
    rig.wire.echo = False
    rig.run(1.0)
    assert len(rig.frames(CLOSE)) == 2
    assert rig.device.control.unsafe.startswith(f"command {identity}")
    rig.run(3.0)
    assert rig.life(identity) == WHOLE_LIFE


def test_one_frame_is_on_its_way_at_most(tmp_path: Path) -> None:
    """A repetition that is due waits for the echo of the frame before it."""
    rig = quick_rig(tmp_path, with_plan(CLOSE, period_s=0.02))
    rig.do(CLOSE, 0.015)
    assert len(rig.frames()) == 1
    rig.wire.held = True
    rig.run(0.045)
    assert len(rig.frames()) == 2
    rig.wire.held = False
    rig.run(0.05)
    assert len(rig.frames()) == 3


def test_an_open_goes_on_without_echoes(tmp_path: Path) -> None:
    """An open repeats its frame all the same: it is the safe direction."""
    rig = quick_rig(tmp_path)
    rig.close_by_hand()
    rig.do(OPEN, 0.05)
    rig.wire.echo = False
    rig.run(1.0)
    assert len(rig.frames(OPEN)) == 3


def test_the_echo_of_a_superseded_command_is_still_awaited(rig: Rig) -> None:
    """A close that an open ended before its echo came: if it never comes, the path is unsafe."""
    rig.wire.held = True
    close = rig.do(CLOSE, 0.01)
    rig.offer(OPEN)
    rig.run(0.01)
    assert rig.outcome(close) == (S.FAILED, R.SUPERSEDED)
    rig.run(0.045)
    assert rig.device.control.unsafe.startswith(f"command {close}")


def test_a_pause_of_the_process_is_no_lost_echo(rig: Rig) -> None:
    """After a standstill the echo gets the time to be read before the path is called unsafe."""
    rig.offer(CLOSE)
    rig.run_until(rig.frames)
    assert rig.state("close-1") is S.SENDING
    rig.clock.advance(5.0)
    rig.loop.step()
    assert rig.device.control.unsafe == ""
    rig.run(1.0)
    assert rig.device.control.unsafe == ""


def test_a_busy_receive_thread_is_no_lost_echo(rig: Rig) -> None:
    """While the receive thread lags behind, the echo may be in the queue: no latch for that."""
    identity = rig.offer(CLOSE)
    rig.run_until(rig.frames)
    rig.lagging = True
    rig.run(0.4)
    assert rig.state(identity) is S.SENDING
    rig.lagging = False
    rig.run(0.02)
    assert rig.state(identity) is S.ACKNOWLEDGED
    assert rig.device.control.unsafe == ""


def test_a_receive_thread_that_never_comes_latches_too(rig: Rig) -> None:
    """Half a second without a look into the queue ends the wait on the safe side."""
    identity = rig.offer(CLOSE)
    rig.run_until(rig.frames)
    rig.lagging = True
    rig.run(0.6)
    assert rig.outcome(identity) == (S.FAILED, R.SEND_FAILED)
    assert rig.device.control.unsafe.startswith(f"command {identity}: no echo")


def test_a_bus_without_echo(tmp_path: Path) -> None:
    """Where the driver gives no own frames back, "sent" says so in its evidence."""
    rig = warm_rig(tmp_path, echo=False)
    rig.wire.echo = False
    identity = rig.do(CLOSE)
    assert rig.life(identity) == WHOLE_LIFE
    assert rig.event(identity, S.SENT).evidence["echo"] is False
    assert rig.event(identity, S.SENT).detail == UNPROVEN
    assert rig.device.control.unsafe == ""


@pytest.mark.parametrize("taken", [True, False])
def test_an_echo_from_the_queue_proves_nothing(tmp_path: Path, taken: bool) -> None:  # noqa: FBT001 - a case
    """An slcan adapter gives a frame back when it was queued: only the BMS proves what comes of it.

    The words stand at each rung, so also where a command ends without an effect.
    """
    rig = quick_rig(tmp_path)
    rig.executor._session._device = replace(rig.device, true_echo=lambda: False)
    rig.wire.deaf = not taken
    identity = rig.do(CLOSE, 2 * WINDOW_S)
    sent = rig.event(identity, S.SENT)
    assert (sent.evidence["echo"], sent.detail) == (False, UNPROVEN)
    end = rig.event(identity, S.SUCCEEDED if taken else S.TIMED_OUT)
    assert UNPROVEN in end.detail
    assert rig.device.control.unsafe == ""


def test_an_echo_from_the_bus_needs_no_words(rig: Rig) -> None:
    """Where the driver tells the truth, its echo is the evidence."""
    identity = rig.do(CLOSE)
    sent = rig.event(identity, S.SENT)
    assert (sent.evidence["echo"], sent.detail) == (True, "")


def test_the_limit_is_50_ms() -> None:
    """The limit is the one of the rule."""
    assert ECHO_S == 0.05


# --- the send itself


def test_a_bus_that_takes_no_frame(rig: Rig) -> None:
    """A first frame that the driver refuses fails the command; nothing is latched, nothing sent."""
    rig.wire.error = SendFailed("Transmit buffer full")
    identity = rig.do(CLOSE, 1.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.FAILED]
    assert rig.entry(identity).reason is R.SEND_FAILED
    assert "Transmit buffer full" in rig.entry(identity).detail
    assert rig.frames() == []
    assert rig.device.control.unsafe == ""


def test_a_bus_that_is_down(rig: Rig) -> None:
    """While the bus is down a command fails at once."""
    rig.port_is_open = False
    identity = rig.do(CLOSE, 1.0)
    assert rig.outcome(identity) == (S.FAILED, R.SEND_FAILED)
    assert "the bus is down" in rig.entry(identity).detail


@pytest.mark.parametrize("down", [True, False])
def test_an_open_waits_for_a_bus_that_is_being_reopened(rig: Rig, down: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Nobody took its first frame: tried again, and once the bus is back it is sent and proven."""
    rig.do(CLOSE, 12.0)
    before = len(rig.frames())
    rig.port_is_open = not down
    rig.wire.error = None if down else SendFailed("Network is down")
    identity = rig.do(OPEN, 2.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING]
    assert len(rig.frames()) == before
    rig.port_is_open, rig.wire.error = True, None
    rig.run(12.0)
    assert rig.life(identity) == WHOLE_LIFE
    assert len(rig.frames()) == before + 3
    details = [event.detail for event in rig.journal.events(identity)]
    assert any("at first the bus did not take it" in detail for detail in details)


def test_an_open_does_not_wait_for_ever(rig: Rig) -> None:
    """Its window ends; then it has failed, no frame went out, and none comes later."""
    rig.port_is_open = False
    rig.do(CLOSE, 1.0)
    identity = rig.do(OPEN, 20.0)
    assert rig.outcome(identity) == (S.FAILED, R.SEND_FAILED)
    assert "the bus is down; tried for " in rig.entry(identity).detail
    rig.port_is_open = True
    rig.run(5.0)
    assert rig.frames() == []


def test_a_frame_that_the_guard_refuses(tmp_path: Path) -> None:
    """What the guard does not list never leaves; the command says which rule it was."""
    profile = quick_profile()
    entries = tuple(entry for entry in profile.guard if entry.name != "close contactor")
    rig = quick_rig(tmp_path, replace(profile, guard=entries))
    identity = rig.do(CLOSE, 1.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.FAILED]
    assert rig.entry(identity).reason is R.GUARD_REFUSED
    assert "unlisted" in rig.entry(identity).detail
    assert rig.frames() == []


@pytest.mark.parametrize("works", [True, False], ids=["battery acts", "battery ignores it"])
def test_a_repetition_that_fails_does_not_end_the_command(
    rig: Rig,
    works: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """The first frame is out: the battery decides what becomes of the command."""
    if not works:
        rig.misbehave("ignore_close")
    identity = rig.do(CLOSE, 0.05)
    rig.wire.error = SendFailed("Transmit buffer full")
    rig.run(6.0)
    assert len(rig.frames()) == 1
    assert rig.state(identity) is (S.HELD if works else S.TIMED_OUT)
    told = rig.event(identity, S.SUCCEEDED if works else S.TIMED_OUT).detail
    assert "frame 2 of 3 did not go out: Transmit buffer full" in told


def test_a_repetition_that_the_guard_refuses(tmp_path: Path) -> None:
    """The rate of the guard ends a lease, not the command."""
    profile = quick_profile()
    limited = tuple(replace(entry, per_minute=2) for entry in profile.guard)
    rig = quick_rig(tmp_path, replace(profile, guard=limited))
    identity = rig.do(CLOSE)
    assert len(rig.frames()) == 2
    assert rig.life(identity) == WHOLE_LIFE
    assert "rate" in rig.event(identity, S.SUCCEEDED).detail


def test_an_open_tries_a_failed_repetition_again(tmp_path: Path) -> None:
    """A bus that fails for a moment costs an open some time, not its frames."""
    rig = quick_rig(tmp_path)
    rig.close_by_hand()
    rig.misbehave("slow=3")
    rig.do(OPEN, 0.05)
    rig.wire.error = SendFailed("Transmit buffer full")
    rig.run(1.0)
    rig.wire.error = None
    rig.run(1.0)
    assert len(rig.frames(OPEN)) == 3


# --- the lease


@pytest.mark.parametrize("code", list(CommandCode))
def test_three_frames_100_ms_apart(rig: Rig, code: CommandCode) -> None:
    """A session is as many frames as the profile says, at its period, and then no more."""
    rig.give_work(code)
    rig.do(code, 6.0)
    assert len(rig.frames()) == 3
    assert gaps_s(rig.frames()) == [pytest.approx(0.1, abs=0.008)] * 2


def test_no_repetition_after_the_deadline(tmp_path: Path) -> None:
    """The last frame comes before the end of the command's life, whatever the plan says."""
    rig = quick_rig(tmp_path, with_plan(CLOSE, repeat=100))
    rig.misbehave("ignore_close")
    start_s = rig.clock.monotonic_s()
    rig.offer(CLOSE, life_s=1.0)
    rig.run(6.0)
    assert len(rig.frames()) == 10
    assert rig.frames()[-1].at_s < start_s + 1.0


def test_repetitions_end_with_the_effect(tmp_path: Path) -> None:
    """Once the proof is there, nothing is repeated any more."""
    rig = quick_rig(tmp_path, with_plan(CLOSE, repeat=100))
    identity = rig.do(CLOSE)
    proven_s = rig.event(identity, S.SUCCEEDED).monotonic_s
    assert 4 <= len(rig.frames()) < 10
    assert rig.frames()[-1].at_s < proven_s


@pytest.mark.parametrize("stop", ["lock-out", "other master", "lost frame", "journal"])
def test_repetitions_stop(tmp_path: Path, stop: str) -> None:
    """A lock-out, another master or a lost frame ends the lease of a close at once."""
    rig = quick_rig(tmp_path, with_plan(CLOSE, repeat=10))
    rig.misbehave("ignore_close")
    rig.do(CLOSE, 0.25)
    assert len(rig.frames()) == 3
    if stop == "lock-out":
        rig.lock_out()
    elif stop == "other master":
        rig.master_elsewhere()
    elif stop == "lost frame":
        rig.device.control.unsafe = "a lost frame"
    else:
        rig.gate.journal_fault = "disk I/O error"
    rig.run(5.0)
    assert len(rig.frames()) == 3


def test_a_lock_out_does_not_stop_an_open(tmp_path: Path) -> None:
    """An open goes on under a lock-out, another master or not."""
    rig = quick_rig(tmp_path)
    rig.close_by_hand()
    rig.do(OPEN, 0.05)
    rig.lock_out()
    rig.master_elsewhere()
    rig.run(1.0)
    assert len(rig.frames(OPEN)) == 3


def test_the_counter_runs_on_over_commands(rig: Rig) -> None:
    """The rolling counter is one higher in each frame, over all commands of a session."""
    for code in (CLOSE, OPEN):
        rig.do(code)
    rig.give_work(RESET)
    rig.do(RESET)
    assert counters(rig.frames()) == list(range(9))
    rig.give_work(RESET)
    rig.do(RESET)
    rig.give_work(RESET)
    rig.do(RESET)
    rig.do(CLOSE)
    assert counters(rig.frames()) == [number % 16 for number in range(18)]


def test_every_frame_passes_the_battery_s_checks(rig: Rig) -> None:
    """Checksum and counter are right: the battery takes one command and two repetitions."""
    rig.do(CLOSE)
    assert dict(rig.simulator.heard) == {"command": 1, "repetition": 2}


# --- answer and proof


def test_the_battery_refuses(rig: Rig) -> None:
    """A refusal by the battery ends the command with its answer as evidence, and the lease."""
    rig.misbehave("refuse_close")
    identity = rig.do(CLOSE, 1.0)
    assert rig.outcome(identity) == (S.FAILED, R.BLOCKED_BY_PROCESS)
    answer = rig.event(identity, S.FAILED).evidence["answer"]
    assert isinstance(answer, list)
    assert len(answer) == 1
    assert len(rig.frames()) == 1


def test_an_answer_alone_is_no_success(rig: Rig) -> None:
    """The battery acknowledges and does nothing: timed out at the window, not a moment earlier."""
    rig.misbehave("slow=30")
    identity = rig.do(CLOSE, WINDOW_S - 0.1)
    assert rig.state(identity) is S.ACKNOWLEDGED
    rig.run(0.2)
    assert rig.outcome(identity) == (S.TIMED_OUT, R.NO_EFFECT)
    assert rig.entry(identity).detail.startswith("the BMS acknowledged it; after 5 s ")
    sent_s = rig.frames()[0].at_s
    timed_out_s = rig.event(identity, S.TIMED_OUT).monotonic_s
    assert timed_out_s - sent_s == pytest.approx(WINDOW_S, abs=0.1)


def test_an_effect_needs_no_answer(rig: Rig) -> None:
    """A battery that acts without a word has acted."""
    rig.misbehave("no_ack")
    identity = rig.do(CLOSE)
    assert rig.life(identity) == [each for each in WHOLE_LIFE if each is not S.ACKNOWLEDGED]


def test_neither_answer_nor_effect(rig: Rig) -> None:
    """A battery that ignores a command leaves it timed out, and unacknowledged."""
    rig.misbehave("ignore_close")
    identity = rig.do(CLOSE, 6.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.TIMED_OUT]
    assert "did not acknowledge" in rig.entry(identity).detail
    assert "operating_status is 1, not 2 or 3 or 4" in rig.entry(identity).detail


def test_a_plan_without_answers(tmp_path: Path) -> None:
    """Where the profile defines no answer, none is awaited and none is missed."""
    rig = quick_rig(tmp_path, with_plan(CLOSE, acknowledged=None, refused=None))
    rig.misbehave("ignore_close")
    identity = rig.do(CLOSE, 6.0)
    assert rig.life(identity) == [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.TIMED_OUT]
    assert rig.entry(identity).detail.startswith("no answer is defined; after 5 s ")


def test_the_wrong_state_is_no_success(rig: Rig) -> None:
    """A precharge that fails leaves the contactor open: timed out, with the fault in the words."""
    rig.misbehave("precharge_fails")
    identity = rig.do(CLOSE, 6.0)
    assert rig.state(identity) is S.TIMED_OUT
    assert "operating_status is 1" in rig.entry(identity).detail


def test_a_welded_contactor(tmp_path: Path) -> None:
    """An open that does not open times out: current and feedback still say closed."""
    rig = quick_rig(tmp_path)
    rig.close_by_hand()
    rig.misbehave("welded")
    identity = rig.do(OPEN, 6.0)
    assert rig.outcome(identity) == (S.TIMED_OUT, R.NO_EFFECT)
    assert "not 1" in rig.entry(identity).detail


def test_a_flapping_feedback_is_no_success(rig: Rig) -> None:
    """Two frames in a row are not three: a feedback that flaps proves nothing."""
    rig.misbehave("flapping=0.2")
    identity = rig.do(CLOSE, 6.0)
    assert rig.outcome(identity) == (S.TIMED_OUT, R.NO_EFFECT)


def test_a_slow_battery(rig: Rig) -> None:
    """An effect inside the window counts, however late."""
    rig.misbehave("slow=3")
    identity = rig.do(CLOSE, 6.0)
    assert rig.life(identity) == WHOLE_LIFE


def test_an_effect_after_the_window_changes_nothing(rig: Rig) -> None:
    """The end is the end: an effect that comes later is in the status, not in the command."""
    rig.misbehave("slow=5")
    identity = rig.do(CLOSE, 10.0)
    assert rig.status.operating == 2
    assert rig.outcome(identity) == (S.TIMED_OUT, R.NO_EFFECT)


def test_feedback_from_before_the_send_never_counts(rig: Rig) -> None:
    """Frames recorded earlier that show "closed" prove nothing when they are heard with old times.

    They are the battery's own frames, valid in every way, only older than the send.
    """
    battery = Battery(*ess_bau())
    battery.values["BAU_State"] |= {"contactor_status": "closed"}
    rig.misbehave("ignore_close")
    identity = rig.do(CLOSE, 0.05)
    rig.misbehave("ignore_close", "silent")
    old_s = rig.frames()[0].at_s - 0.001
    for _ in range(10):
        for message in ("BAU_State", "BAU_Electrical", "BAU_Alarms", "BAU_Faults"):
            rig.loop.take(battery.frame(message, old_s))
    rig.run(0.3)
    assert rig.state(identity) is S.ACKNOWLEDGED or rig.state(identity) is S.SENT
    rig.run(6.0)
    assert rig.state(identity) is S.TIMED_OUT


def test_the_proof_needs_every_message_it_rests_on(rig: Rig) -> None:
    """A status rests on contactor and current: without newer frames of both there is no proof."""
    rig.do(CLOSE, 0.05)
    rig.misbehave("silent=BAU_Electrical")
    rig.run(6.0)
    (identity,) = rig.offered
    assert rig.state(identity) is S.TIMED_OUT
    assert "silent: BAU_Electrical" in rig.entry(identity).detail


def test_a_refusal_belongs_to_its_own_command(tmp_path: Path) -> None:
    """The answer to an earlier close is none to the next one: each is refused by a newer frame."""
    rig = quick_rig(tmp_path, with_rules(quick_profile(), close_interval_s=0.0))
    rig.misbehave("refuse_close")
    first, second = rig.do(CLOSE, 1.0), rig.do(CLOSE, 1.0)
    assert rig.state(first) is rig.state(second) is S.FAILED
    assert rig.event(first, S.FAILED).evidence != rig.event(second, S.FAILED).evidence
    assert len(rig.frames()) == 2


def test_an_echo_is_awaited_from_the_end_of_the_send(rig: Rig) -> None:
    """The box is held up inside the send: no lost frame, for the frame was not on the bus yet."""
    send = rig.wire.send

    def slow(frame: Frame) -> None:
        rig.clock.advance(2 * ECHO_S)
        rig.wire.drained_s = rig.clock.monotonic_s()
        send(frame)
        rig.wire._queue[-1] = frame._replace(at_s=rig.clock.monotonic_s() + 0.01)

    rig.wire.send = slow  # type: ignore[method-assign]  # the wire of a slow box
    identity = rig.do(CLOSE, 1.0)
    assert rig.device.control.unsafe == ""
    assert S.SENT in rig.life(identity)


def test_an_open_that_is_tried_again_can_be_withdrawn(rig: Rig) -> None:
    """No frame has gone out yet: what the platform takes back stays here when the bus works."""
    rig.close_by_hand()
    rig.wire.error = SendFailed("the bus is down")
    identity = rig.do(OPEN, 1.0)
    rig.offer(OPEN, identity, cancelled=True)
    rig.wire.error = None
    rig.run(2.0)
    assert rig.outcome(identity) == (S.CANCELLED, R.CANCELLED_BY_PLATFORM)
    assert rig.frames() == []


# --- a bus in doubt


def doubt_the_bus(rig: Rig) -> None:
    """The controller becomes error-passive."""
    object.__setattr__(rig.device, "bus_doubt", lambda: "error-passive")


@pytest.mark.parametrize(("code", "goes"), [(CLOSE, False), (RESET, False), (OPEN, True)])
def test_on_a_bus_in_doubt_only_an_open_goes_out(rig: Rig, code: CommandCode, goes: bool) -> None:  # noqa: FBT001 - a case
    """A frame could come late there: good for an open, never for a close."""
    rig.give_work(code)
    doubt_the_bus(rig)
    identity = rig.do(code)
    assert bool(rig.frames(code)) is goes
    if not goes:
        assert rig.outcome(identity) == (S.REJECTED, R.BLOCKED_BY_HEALTH)
        assert "error-passive" in rig.entry(identity).detail


@pytest.mark.parametrize("code", [CLOSE, RESET])
def test_a_doubt_during_the_durable_write_stops_it(rig: Rig, code: CommandCode) -> None:
    """The last look is after the disk, and looks at the bus too."""
    rig.give_work(code)
    rig.journal.after = lambda state: doubt_the_bus(rig) if state == S.SENDING else None
    identity = rig.do(code)
    assert rig.outcome(identity) == (S.REJECTED, R.BLOCKED_BY_HEALTH)
    assert rig.frames() == []


def test_a_doubt_after_the_first_frame_ends_the_lease(rig: Rig) -> None:
    """No repetition of a close goes out on a bus that became doubtful."""
    identity = rig.do(CLOSE, 0.05)
    sent = len(rig.frames(CLOSE))
    doubt_the_bus(rig)
    rig.run(3.0)
    assert len(rig.frames(CLOSE)) == sent == 1
    assert rig.state(identity) is not S.REJECTED


def test_what_came_while_the_send_was_held_up_proves_nothing(rig: Rig) -> None:
    """Somebody closes by hand before our frame leaves, and the battery never hears ours."""
    send = rig.wire.send
    left_s: list[float] = []
    rig.wire.deaf = True

    def slow(frame: Frame) -> None:
        if not left_s:
            rig.pack.command(CLOSE, rig.clock.monotonic_s())
            rig.bus_goes_on(2.0)
            left_s.append(rig.clock.monotonic_s())
        send(frame)

    rig.wire.send = slow  # type: ignore[method-assign]  # the wire of a slow box
    identity = rig.do(CLOSE, 3.0)
    assert rig.state(identity) is S.SUCCEEDED
    proof = next(e for e in rig.journal.events(identity) if e.state is S.SUCCEEDED)
    frames = proof.evidence["confirmed_by"]
    assert isinstance(frames, list)
    assert min(each["at_s"] for each in frames) > left_s[0]
