"""Attacks on the held request: each was a fault once, or nearly one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent.errors import JournalFailed
from agent.held import LAST_FRAMES
from agent.local_handlers import handlers
from agent.render_commands import event_lines
from bms_can.commands import CommandState, Reason
from bms_can.simulator_request import State
from tests.agent import held_rig
from tests.agent.held_rig import HeldRig, foxbms2
from tests.agent.rig import CLOSE, OPEN


@pytest.fixture
def rig(tmp_path: Path) -> HeldRig:
    """Give a bench."""
    return HeldRig(tmp_path)


def leave(rig: HeldRig) -> None:
    """SIGTERM: main waits while the world goes on."""

    def wait(_event: object, seconds: float) -> bool:
        HeldRig.run(rig, seconds)
        return False

    rig.clock.wait = wait  # type: ignore[method-assign,assignment]  # the world goes on while main waits
    rig.sender.leave()


def test_a_close_that_waits_for_its_frame_dies_with_the_agent(rig: HeldRig) -> None:
    """SIGTERM between the row `sending` and the first frame: no closed frame leaves after it."""
    rig.ready()
    identity = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(identity) == "sending")
    assert "closed" not in rig.kinds()
    leave(rig)
    rig.run(0.5)
    assert "closed" not in rig.kinds()


def test_the_last_word_of_an_agent_that_ends_is_rest(rig: HeldRig) -> None:
    """A hold that ended just before SIGTERM: rest goes out all the same before the bus closes."""
    rig.hold()
    rig.offer(OPEN)
    at_s = rig.clock.monotonic_s()
    rig.run_until(lambda: rig.sender.facts()["asks"] == "rest")
    leave(rig)
    kinds = [kind for _, kind in rig.requests(at_s)]
    assert kinds[-1:] == ["rest"]


def test_expired_never_means_no_frame_when_frames_went_out(rig: HeldRig) -> None:
    """The loop hangs beyond the life of a close whose frames left and whose hold has ended."""
    rig.ready()
    identity = rig.offer(CLOSE, life_s=0.5)
    rig.run_until(lambda: rig.state(identity) == "sending")
    rig.hung = True
    rig.run(3.0)
    rig.hung = False
    rig.run(3.0)
    assert "closed" in rig.kinds()
    entry = rig.entry(identity)
    assert "no frame went out" not in entry.detail, entry
    assert entry.state is CommandState.FAILED


def test_cancelled_never_means_no_frame_when_frames_went_out(rig: HeldRig) -> None:
    """The same with a withdrawal by the platform."""
    rig.ready()
    identity = rig.offer(CLOSE)
    rig.run_until(lambda: rig.state(identity) == "sending")
    rig.hung = True
    rig.run(3.0)
    rig.offer(CLOSE, identity, cancelled=True)
    rig.hung = False
    rig.run(3.0)
    assert "closed" in rig.kinds()
    assert rig.state(identity) is not CommandState.CANCELLED, rig.entry(identity)


@pytest.mark.parametrize("gone", [True, False])
def test_a_lost_closed_frame_latches_though_an_open_came_behind_it(
    rig: HeldRig, *, gone: bool
) -> None:
    """The receive thread lags, so an open's frame goes out before it is known: it must still show.

    Either it vanished while the open's frames come back, or all of them wait in a queue.
    """
    rig.hold()
    at_s = rig.clock.monotonic_s()
    rig.lagging, rig.wire.held = True, True
    rig.run_until(lambda: "closed" in rig.kinds(at_s))
    rig.offer(OPEN)
    rig.run_until(lambda: [kind for _, kind in rig.requests(at_s)].count("rest") >= 1)
    if gone:
        rig.wire._queue = [each for each in rig.wire._queue if each.data[0] != 1]
        rig.wire.held = False
    rig.lagging = False
    rig.run(5.0)
    assert rig.device.control.unsafe


@pytest.mark.parametrize("offset_s", [0.0, 0.01, 0.03, 0.05, 0.07, 0.09])
def test_a_journal_that_fails_once_ends_the_hold(rig: HeldRig, offset_s: float) -> None:
    """An open whose row could not be written is gone: the battery must not stay closed."""
    rig.hold()
    rig.run(1.0 + offset_s)
    failed: list[str] = []

    def fail_once(kind: str) -> None:
        if not failed:
            failed.append(kind)
            raise JournalFailed("disk full")

    rig.journal.before = fail_once
    rig.offer(OPEN)
    rig.run(0.3)
    assert failed == ["accepted"]
    assert rig.sender.facts()["asks"] == "rest"


@pytest.mark.parametrize("when", ["first", "later"])
def test_unlatch_while_a_closed_frame_is_on_its_way(rig: HeldRig, when: str) -> None:
    """A person who clears latches forgets what is awaited: no echo may be claimed for it."""
    if when == "first":
        rig.ready()
        at_s = rig.clock.monotonic_s()
        identity = rig.offer(CLOSE)
    else:
        identity = rig.hold()
        at_s = rig.clock.monotonic_s()
    rig.wire.on_take = lambda frame: setattr(rig.wire, "held", frame.data[0] == 1)
    rig.run_until(lambda: "closed" in rig.kinds(at_s))
    rig.device.control.clear()
    rig.run(2.0)
    assert [kind for _, kind in rig.requests(at_s)].count("closed") == 1
    states = rig.life(identity)
    if when == "first":
        assert "sent" not in states, rig.journal.events(identity)


def test_a_proof_older_than_the_first_frame_is_none(rig: HeldRig) -> None:
    """Life over and frame gone at once: the watch begins at the frame all the same."""
    rig.ready()
    identity = rig.offer(CLOSE, life_s=0.1)
    rig.run_until(lambda: rig.state(identity) == "sending")
    rig.hung = True
    rig.run_until(lambda: "closed" in rig.kinds())
    first_s = rig.clock.monotonic_s()
    rig.run(0.3)
    rig.hung = False
    rig.run(0.01)
    run = rig.executor._current
    assert run is not None
    assert run.frames
    assert run.sent_s == pytest.approx(run.frames[0].at_s), first_s


def test_an_echo_that_proves_nothing_closes_nothing(rig: HeldRig) -> None:
    """An adapter that echoes what it has only queued: rest goes out, no close; an open says so."""
    rig.true_echo = False
    rig.ready()
    identity = rig.do(CLOSE, 2.0)
    assert rig.outcome(identity) == (CommandState.REJECTED, Reason.BLOCKED_BY_HEALTH)
    assert "does not prove" in rig.entry(identity).detail
    assert rig.kinds() == {"rest"}
    rig.true_echo = True
    close = rig.hold()
    rig.true_echo = False
    rig.run(0.15)
    at_s = rig.clock.monotonic_s()
    opened = rig.do(OPEN, 5.0)
    assert "closed" not in rig.kinds(at_s)
    assert rig.event(opened, CommandState.SENT).evidence["echo"] is False
    assert [end.evidence["command"] for end in rig.ends()] == [close]


def test_a_slow_request_has_the_time_for_its_last_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the longest period that a profile may have: rest still goes out before the end."""
    profile, database = foxbms2()
    assert profile.held is not None
    slow = replace(profile, held=profile.held._replace(period_s=1.0))
    monkeypatch.setattr(held_rig, "foxbms2", lambda: (slow, database))
    rig = HeldRig(tmp_path)
    rig.run_until(lambda: rig.ear.state is State.READY and not rig.pack.alarms, 300.0)
    rig.run(5.0)
    rig.hold()
    at_s = rig.clock.monotonic_s()
    leave(rig)
    assert [kind for _, kind in rig.requests(at_s)][-LAST_FRAMES:] == ["rest"] * LAST_FRAMES


def test_why_tells_the_end_of_a_hold(rig: HeldRig) -> None:
    """Whoever asks about a close that was held hears when and why it was not held any more."""
    close = rig.hold()
    rig.run(5.0)
    rig.lock_out()
    rig.run(1.0)
    answers = handlers({}, rig.journal, rig.clock, rig.folder)
    events = cast("list[dict[str, Any]]", answers["events"]({"id": close})["events"])
    assert [event["state"] for event in events][-2:] == ["held", "hold-ended"]
    told = "\n".join(event_lines(events[-1], events[0]))
    assert "local lock-out: work on the busbar" in told
    assert "held for" in told
    assert rig.journal.verify() == []


def test_a_close_that_is_written_while_the_agent_leaves(rig: HeldRig) -> None:
    """SIGTERM while the row `sending` is being written: no frame follows, and it is told so."""
    rig.ready()
    rig.journal.after = lambda state: rig.sender.leave() if state == "sending" else None
    identity = rig.do(CLOSE, 1.0)
    assert "closed" not in rig.kinds()
    assert rig.outcome(identity) == (CommandState.FAILED, Reason.SEND_FAILED)
    assert rig.entry(identity).detail == "the agent stops"
