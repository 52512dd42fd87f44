"""A held request on the whole control path: real journal, executor, interlocks, guard, battery."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from agent.errors import JournalFailed
from agent.held import ANEW_S, LAST_FRAMES, LISTEN_S
from bms_can.commands import CommandState, Reason
from bms_can.errors import SendFailed
from bms_can.held import LEASE_S
from bms_can.interlocks import refusal
from bms_can.pack import Phase
from bms_can.simulator_request import State
from tests.agent.held_rig import FOREIGN, HeldRig
from tests.agent.rig import CLOSE, OPEN, RESET


@pytest.fixture
def rig(tmp_path: Path) -> HeldRig:
    """Give a bench."""
    return HeldRig(tmp_path)


def test_it_listens_first_then_rests(rig: HeldRig) -> None:
    """No frame in the first second; then one every period, and the battery goes to standby."""
    rig.run(LISTEN_S)
    assert rig.requests() == []
    assert rig.sender.facts()["asks"] == "nothing"
    rig.run(5.0)
    times = [at_s for at_s, _ in rig.requests()]
    gaps = [b - a for a, b in pairwise(times)]
    assert rig.kinds() == {"rest"}
    assert 0.095 < min(gaps) <= max(gaps) < 0.105
    assert rig.ear.state is State.READY
    assert rig.status.operating == 1
    assert rig.status.alarm_count == 0


def test_another_master_at_the_start(rig: HeldRig) -> None:
    """Heard while listening: silence for good, and still so after a restart."""
    rig.run(0.5)
    rig.hear(FOREIGN._replace(at_s=rig.clock.monotonic_s()))
    rig.run(5.0)
    rig.restart()
    rig.run(5.0)
    assert rig.requests() == []
    rig.device.control.clear()
    rig.run(LISTEN_S - 0.1)
    assert rig.requests() == []  # a person looked; it listens again
    rig.run(1.0)
    assert rig.kinds() == {"rest"}


def test_read_only_sends_nothing(tmp_path: Path) -> None:
    """Whatever is offered."""
    rig = HeldRig(tmp_path, read_only=True)
    for code in (CLOSE, OPEN, RESET):
        identity = rig.do(code, 2.0)
        assert rig.outcome(identity) == (CommandState.REJECTED, Reason.READ_ONLY)
    assert rig.wire.taken == []


def test_a_close_is_held_until_an_open(rig: HeldRig) -> None:
    """The whole ladder, minutes of closed, then open: with the next frame."""
    close = rig.hold()
    states = rig.life(close)
    assert states == ["accepted", "gated", "sending", "sent", "succeeded", "held"]
    rig.run(120.0)
    assert rig.phase == "closed"
    offered_s = rig.clock.monotonic_s()
    opened = rig.do(OPEN, 5.0)
    assert rig.state(opened) is CommandState.HELD
    assert rig.pack.phase is Phase.OPEN
    assert [kind for _, kind in rig.requests(offered_s + 0.02)][:1] == ["rest"]
    (end,) = rig.ends()
    assert end.evidence["command"] == close
    assert str(end.evidence["reason"]).startswith(f"command {opened}")
    assert rig.ear.count == 0
    assert rig.journal.verify() == []


def test_the_row_is_durable_before_the_first_closed_frame(rig: HeldRig) -> None:
    """No closed frame before `sending` is written; a disk that is slow with it delays the frame."""
    rig.ready()
    seen: list[str] = []
    rig.journal.after = seen.append
    rig.journal.before = lambda state: rig.bus_goes_on(0.5) if state == "sending" else None
    identity = rig.offer(CLOSE)
    rig.run(3.0)
    first_s = min(at_s for at_s, kind in rig.requests() if kind == "closed")
    sending = rig.event(identity, CommandState.SENDING)
    assert sending.monotonic_s <= first_s
    assert seen[:3] == ["accepted", "gated", "sending"]


Harm = Callable[[HeldRig], object]


def fail_journal(rig: HeldRig) -> None:
    """The disk fails at reading the lock-out."""

    def broken() -> None:
        raise JournalFailed("disk full")

    rig.on_box_read = broken


HARMS: dict[str, tuple[Harm, float]] = {
    "lock-out": (lambda rig: rig.lock_out(), 0.3),
    "alarm": (lambda rig: rig.pack.raise_alarm("alert_error", 3), 0.5),
    "opened by itself": (lambda rig: rig.pack.switch(OPEN), 0.6),
    "stale": (lambda rig: rig.misbehave("silent"), 1.0),
    "one message stale": (lambda rig: rig.misbehave("silent=BMS_Pack"), 1.0),
    "lost echo": (lambda rig: setattr(rig.wire, "echo", False), 1.0),
    "queue full": (lambda rig: setattr(rig.wire, "error", SendFailed("full")), 0.3),
    "bus down": (lambda rig: setattr(rig, "port_is_open", False), 0.3),
    "bus in doubt": (lambda rig: setattr(rig, "doubt", "error-passive"), 0.2),
    "other master": (lambda rig: rig.hear(FOREIGN), 0.05),
    "loop hangs": (lambda rig: setattr(rig, "hung", True), LEASE_S + 0.15),
    "journal fails": (fail_journal, 0.3),
    "frozen": (lambda rig: rig.freeze(0.5), 0.0),
    "long frozen": (lambda rig: rig.freeze(10.0), 0.0),
}


@pytest.mark.parametrize("name", HARMS)
def test_each_reason_ends_a_hold_for_good(rig: HeldRig, name: str) -> None:
    """Within its time no closed frame any more, the battery opens, and stays open when all is well.

    The end is journalled with its reason.
    """
    harm, within_s = HARMS[name]
    rig.hold()
    harm(rig)
    rig.run(within_s)
    over_s = rig.clock.monotonic_s()
    rig.run(6.0)
    assert "closed" not in rig.kinds(over_s)
    assert rig.pack.phase is Phase.OPEN, rig.pack.phase
    repair(rig)
    rig.run(10.0)
    assert "closed" not in rig.kinds(over_s)
    assert rig.pack.phase is Phase.OPEN
    (end,) = rig.ends()
    assert end.evidence["reason"]
    assert end.evidence["proven"] is True


def repair(rig: HeldRig) -> None:
    """Let all be well again."""
    rig.wire.echo, rig.wire.held, rig.wire.deaf, rig.wire.error = True, False, False, None
    rig.port_is_open, rig.hung, rig.doubt, rig.on_box_read = True, False, "", lambda: None
    rig.pack.clear_alarm("alert_error")
    rig.misbehave()


@pytest.mark.parametrize("what", ["unsafe", "stuck", "doubt", "foreign"])
def test_the_last_look_is_right_before_the_frame(rig: HeldRig, what: str) -> None:
    """Nobody judges any more, yet no closed frame leaves: the sender looks itself."""
    rig.hold()
    rig.hung = True
    if what == "doubt":
        rig.doubt = "error-passive"
    elif what == "foreign":
        rig.hear(FOREIGN)
    else:
        setattr(rig.device.control, what, "lost")
    at_s = rig.clock.monotonic_s()
    rig.run(0.5)
    assert "closed" not in rig.kinds(at_s)


def test_a_lost_closed_frame_latches(rig: HeldRig) -> None:
    """It may still wait in a queue: no close until a person looked, also after a restart."""
    rig.hold()
    rig.wire.held = True
    rig.run(3.0)
    assert "did not come" in str(rig.ends()[0].evidence["reason"]) or "no frame" in str(
        rig.ends()[0].evidence["reason"]
    )
    assert rig.device.control.unsafe
    closed = [kind for _, kind in rig.requests()].count("closed")
    rig.restart()
    rig.wire.held = False  # the stuck frames come out now: closed, then rest
    rig.run(8.0)
    assert [kind for _, kind in rig.requests()].count("closed") == closed
    assert rig.pack.phase is Phase.OPEN
    identity = rig.do(CLOSE, 1.0)
    assert rig.state(identity) is CommandState.REJECTED


def test_at_most_one_closed_frame_is_on_its_way(rig: HeldRig) -> None:
    """Nobody acknowledges any more: one more frame at the most goes into the queue."""
    rig.hold()
    rig.wire.held = True
    at_s = rig.clock.monotonic_s()
    rig.run(5.0)
    kinds = [kind for _, kind in rig.requests(at_s)]
    assert kinds.count("closed") <= 1


def test_a_lost_rest_keeps_closes_off_until_one_is_back(rig: HeldRig) -> None:
    """It latches nothing for good: it asks for nothing."""
    rig.ready()
    rig.wire.held = True
    rig.run(2.0)
    assert rig.device.control.unsafe == ""
    assert rig.device.control.stuck
    identity = rig.do(CLOSE, 0.5)
    assert rig.outcome(identity) == (CommandState.REJECTED, Reason.BLOCKED_BY_HEALTH)
    rig.wire.held = False
    rig.run(5.0)
    assert rig.device.control.stuck == ""
    assert rig.kinds() == {"rest"}


@pytest.mark.parametrize("down_s", [0.05, 0.5, 3.0, 20.0])
def test_a_killed_agent_opens_and_never_closes_again(rig: HeldRig, down_s: float) -> None:
    """Killed while closed: the battery's own time-out, or rest after the start, opens it."""
    rig.hold()
    killed_s = rig.clock.monotonic_s()
    rig.restart(down_s=down_s)
    rig.run(12.0)
    assert rig.kinds(killed_s) == {"rest"}
    assert rig.pack.phase is Phase.OPEN
    assert rig.ear.state is State.READY
    rig.run(3.0)
    rig.offer_again()
    rig.run(3.0)
    assert rig.kinds(killed_s) == {"rest"}


@pytest.mark.parametrize("row", ["gated", "sending", "sent", "succeeded", "held"])
def test_killed_at_each_row_of_a_close(rig: HeldRig, row: str) -> None:
    """Nothing of a close is carried on by the next process; its end is told by watching."""
    rig.ready()
    identity = rig.offer(CLOSE)

    class Killed(Exception):
        pass

    def kill(state: str) -> None:
        if state == row:
            raise Killed

    rig.journal.after = kill
    with pytest.raises(Killed):
        rig.run(10.0)
    rig.restart(down_s=0.2)
    killed_s = rig.clock.monotonic_s()
    rig.run(20.0)
    assert rig.kinds(killed_s) == {"rest"}
    assert rig.pack.phase is Phase.OPEN
    assert rig.state(identity) in ("held", "expired", "failed", "reverted")


def test_a_battery_that_silence_does_not_open(rig: HeldRig) -> None:
    """A build without the timing watch stays closed while the box is dead; rest opens it."""
    rig.hold()
    rig.ear.watched = False
    rig.restart(down_s=10.0)
    assert rig.phase == "closed"
    rig.run(3.0)
    assert rig.pack.phase is Phase.OPEN


def test_a_polite_end_sends_rest_first(rig: HeldRig) -> None:
    """SIGTERM: the hold ends, some rest frames follow, and no close is taken any more."""
    rig.hold()
    at_s = rig.clock.monotonic_s()
    waits: list[float] = []

    def wait(_event: object, seconds: float) -> bool:
        waits.append(seconds)
        HeldRig.run(rig, seconds)
        return False

    rig.clock.wait = wait  # type: ignore[method-assign,assignment]  # the world goes on while main waits
    rig.sender.leave()
    kinds = [kind for _, kind in rig.requests(at_s)]
    assert kinds.count("rest") >= LAST_FRAMES
    assert "closed" not in kinds[-LAST_FRAMES:]
    assert rig.pack.phase in {Phase.OPENING, Phase.OPEN}
    assert rig.ends()[0].evidence["reason"] == "the agent stops"
    rig.sender.leave()  # nothing is held: at once
    identity = rig.offer(CLOSE)
    rig.run(12.0)
    assert rig.state(identity) in ("failed", "rejected")


def test_a_close_that_is_not_proven_falls_back(rig: HeldRig) -> None:
    """Timed out; from then on rest, and the battery that wakes up late is not closed."""
    rig.ready()
    rig.misbehave("ignore_close")
    identity = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(identity) == "timed_out")
    over_s = rig.clock.monotonic_s()
    rig.misbehave()
    rig.run(5.0)
    assert rig.kinds(over_s + 0.001) == {"rest"}
    assert rig.pack.phase is Phase.OPEN
    (end,) = rig.ends()
    assert end.evidence["proven"] is False


def test_an_open_supersedes_a_close_in_flight(rig: HeldRig) -> None:
    """The close has failed, and not one closed frame follows."""
    rig.ready()
    close = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(close) == "sent")
    opened = rig.offer(OPEN)
    rig.run(0.01)
    over_s = rig.clock.monotonic_s()
    rig.run(5.0)
    assert rig.outcome(close) == (CommandState.FAILED, Reason.SUPERSEDED)
    assert rig.state(opened) is CommandState.HELD
    assert rig.kinds(over_s) == {"rest"}


def test_an_open_supersedes_a_close_before_its_frame(rig: HeldRig) -> None:
    """Cancelled, and truly no frame."""
    rig.ready()
    close = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(close) == "sending")
    assert "closed" not in rig.kinds()
    rig.offer(OPEN)
    rig.run(3.0)
    assert rig.outcome(close) == (CommandState.CANCELLED, Reason.SUPERSEDED)
    assert "closed" not in rig.kinds()


@pytest.mark.parametrize("life_s", [0.001, 0.02, 0.05, 0.09, 0.1, 0.11, 0.2])
def test_the_life_of_a_close_ends_before_its_frame(rig: HeldRig, life_s: float) -> None:
    """Either it went out in time, or it never does and is told so."""
    rig.ready()
    end_s = rig.clock.monotonic_s() + life_s
    identity = rig.offer(CLOSE, life_s=life_s)
    rig.run(8.0)
    closed = [at_s for at_s, kind in rig.requests() if kind == "closed"]
    assert rig.state(identity) is (CommandState.HELD if closed else CommandState.EXPIRED)
    assert all(at_s < end_s for at_s in closed[:1])


def test_closed_already_is_true_only_of_a_hold(rig: HeldRig) -> None:
    """A second close while held is a no-op; one for a battery that others closed is refused."""
    rig.hold()
    again = rig.do(CLOSE, 2.0)
    assert rig.outcome(again)[0] is CommandState.HELD
    assert rig.event(again, CommandState.SUCCEEDED).reason is Reason.NO_OP
    assert rig.pack.phase is Phase.CLOSED
    rig.restart(down_s=0.05)
    rig.run(0.3)
    assert rig.status.operating == 2
    early = rig.do(CLOSE, 0.2)
    assert rig.state(early) is CommandState.REJECTED


def test_an_open_of_a_battery_that_is_open_for_good(rig: HeldRig) -> None:
    """A no-op long after; while another process may have closed it, frames are named."""
    rig.ready()
    identity = rig.do(OPEN, 2.0)
    assert rig.event(identity, CommandState.SUCCEEDED).reason is Reason.NO_OP


def test_a_reset_is_for_a_battery_at_rest(rig: HeldRig) -> None:
    """While held it is refused, and says why; at rest so many frames, then plain rest."""
    rig.hold()
    refused = refusal(rig.gate.checks(RESET, rig.gate.situation(rig.clock.monotonic_s())))
    assert refused is not None
    assert (refused.rule, refused.reason) == ("request", Reason.BLOCKED_BY_PROCESS)
    assert "held closed by command" in rig.gate.words(refused)
    rig.pack.raise_alarm("main_fuse_error", 3, latched=True)
    rig.pack.clear_alarm("main_fuse_error")
    rig.run(3.0)
    done = rig.do(RESET, 8.0)
    assert rig.state(done) is CommandState.HELD
    assert [kind for _, kind in rig.requests()].count("reset") in (1, 2, 3)
    assert rig.pack.phase is Phase.OPEN


def test_an_open_goes_out_beside_another_master(rig: HeldRig) -> None:
    """Latched: rest is silent, but an open sends its frames."""
    rig.hold()
    rig.hear(FOREIGN)
    rig.run(0.05)
    at_s = rig.clock.monotonic_s()
    rig.run(0.5)
    assert rig.requests(at_s) == []
    rig.do(OPEN, 5.0)
    assert [kind for _, kind in rig.requests(at_s)] == ["rest"] * 3


def test_an_open_waits_for_a_bus_that_comes_back(rig: HeldRig) -> None:
    """Not taken at first: tried again within its window, as every open is."""
    rig.hold()
    rig.port_is_open = False
    identity = rig.offer(OPEN)
    rig.run(1.0)
    assert rig.state(identity) is CommandState.SENDING
    rig.port_is_open = True
    rig.run(5.0)
    assert rig.state(identity) is CommandState.HELD
    assert "at first the bus did not take it" in rig.event(identity, CommandState.SENT).detail


def test_an_open_that_the_bus_never_takes_fails(rig: HeldRig) -> None:
    """After its window."""
    rig.hold()
    rig.port_is_open = False
    identity = rig.do(OPEN, 8.0)
    assert rig.outcome(identity) == (CommandState.FAILED, Reason.SEND_FAILED)


def test_an_open_without_echo_is_not_sent(rig: HeldRig) -> None:
    """It says so; the battery may have heard it."""
    rig.hold()
    rig.wire.held = True
    identity = rig.do(OPEN, 3.0)
    assert rig.outcome(identity) == (CommandState.FAILED, Reason.SEND_FAILED)


def test_a_close_whose_hold_ends_before_its_proof_has_failed(rig: HeldRig) -> None:
    """With the reason."""
    rig.ready()
    identity = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(identity) == "sent")
    rig.lock_out()
    rig.run(2.0)
    entry = rig.entry(identity)
    assert (entry.state, entry.reason) == (CommandState.FAILED, Reason.INTERRUPTED)
    assert "local lock-out" in entry.detail


def test_closes_are_apart_counted_from_their_frames(rig: HeldRig) -> None:
    """The interval runs from the frame, which leaves up to a period after the row."""
    rig.hold()
    (sent,) = (each for each in rig.gate.sent if each.code is CLOSE)
    first_s = min(at_s for at_s, kind in rig.requests() if kind == "closed")
    assert sent.at_s == pytest.approx(first_s, abs=1e-6)


def test_what_people_see(rig: HeldRig) -> None:
    """Status says what is asked, for whom, and why the last hold ended."""
    identity = rig.hold()
    facts = rig.sender.facts()
    assert (facts["asks"], facts["command"], facts["proven"]) == ("closed", identity, True)
    rig.lock_out()
    rig.run(1.0)
    facts = rig.sender.facts()
    assert (facts["asks"], facts["command"]) == ("rest", "")
    assert "local lock-out" in str(facts["last_end"])


def test_after_a_long_gap_it_listens_anew(rig: HeldRig) -> None:
    """Another master may have taken over while the process stood still."""
    rig.hold()
    rig.freeze(ANEW_S + 1.0)
    after_s = rig.clock.monotonic_s()
    rig.run(LISTEN_S - 0.1)
    assert rig.requests(after_s) == []
    rig.run(5.0)
    assert rig.kinds(after_s) == {"rest"}


def test_who_took_over_during_a_long_gap_is_not_disturbed(rig: HeldRig) -> None:
    """Its first frame in the second of listening silences us."""
    rig.ready()
    rig.freeze(ANEW_S + 1.0)
    after_s = rig.clock.monotonic_s()
    rig.run(0.5)
    rig.hear(FOREIGN._replace(at_s=rig.clock.monotonic_s()))
    rig.run(5.0)
    assert rig.requests(after_s) == []


def test_a_short_gap_is_followed_by_rest_at_once(rig: HeldRig) -> None:
    """A battery whose timing watch is off would else stay closed for a second more."""
    rig.hold()
    rig.freeze(ANEW_S / 2)
    after_s = rig.clock.monotonic_s()
    rig.run(0.3)
    assert rig.kinds(after_s) == {"rest"}
